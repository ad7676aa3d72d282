"""What a minion's module answers, and what becomes of it: without Salt, in this process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from rollwave.executors.plan_file import plan_file
from rollwave.executors.salt import SaltExecutor
from rollwave.host import SALT_MODULE_PATH
from rollwave.ports.executor import HostQuestion, HostState, HostUnknownError, HostUnreachableError
from rollwave.system import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from rollwave.ports.executor import HostCommand

DRIVER = """
import json, os, sys
detail = {"words": sys.argv[1:], "environment": sorted(os.environ)}
print(json.dumps({
    "state": "succeeded", "code": "", "message": "", "running_version": None, "current_version": None,
    "detail": detail, "deployment": None, "attempt": 1, "verb": sys.argv[1],
}))
"""
SHA256 = hashlib.sha256(DRIVER.encode()).hexdigest()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the module as Salt does, with what Salt's loader brings."""
    spec = importlib.util.spec_from_file_location("rollwave_of_salt", SALT_MODULE_PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__opts__ = {"id": "web-1"}
    module.__salt__ = {"config.get": {"rollwave:python": sys.executable}.get}
    return module


@pytest.fixture
def deploy_path(tmp_path: Path) -> Path:
    return tmp_path / "server" / "shop"


def packed(*texts: str) -> str:
    files = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    return base64.b64encode(zlib.compress(json.dumps(files).encode())).decode()


PLAN = "{}"
PLAN_SHA256 = hashlib.sha256(PLAN.encode()).hexdigest()


def document(deploy_path: Path | str, **changes: object) -> dict[str, Any]:
    entry = {"deploy_path": str(deploy_path), "plan": PLAN_SHA256, "options": ["--attempt", "1"], "limit_s": 60}
    commands = {"web-1": entry, "web-2": {"deploy_path": "/elsewhere"}}
    return {"format": 1, "driver": SHA256, "keys": {}, "commands": commands, "files": packed(DRIVER, PLAN)} | changes


class TestTheModule:
    def test_it_runs_the_driver_with_its_own_verb_and_the_plan(
        self, module: ModuleType, deploy_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy_path.parent.mkdir()
        monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/saltstack/salt/lib")

        answer = module.install(document(deploy_path), __pub_fun="rollwave.install", __pub_jid="1")

        assert answer["exit_code"] == 0, answer
        detail = json.loads(answer["stdout"])["detail"]
        plan = deploy_path / ".rollwave" / "plans" / f"{PLAN_SHA256}.json"
        assert detail["words"] == ["install", str(plan), "--attempt", "1"]
        assert "LD_LIBRARY_PATH" not in detail["environment"]

    def test_what_is_missing_is_named_and_nothing_is_done(self, module: ModuleType, deploy_path: Path) -> None:
        deploy_path.parent.mkdir()

        assert module.install(document(deploy_path, files=None)) == {"missing": [SHA256, PLAN_SHA256]}
        assert module.install(document(deploy_path, files=packed(PLAN))) == {"missing": [SHA256]}
        assert "stdout" in module.install(document(deploy_path, files=packed(DRIVER)))
        assert "stdout" in module.install(document(deploy_path, files=None))

    def test_exactly_the_keys_of_the_last_command_are_trusted(self, module: ModuleType, deploy_path: Path) -> None:
        deploy_path.parent.mkdir()
        first, second = "1" * 16, "2" * 16

        module.status(document(deploy_path, keys={first: "one", second: "two"}))
        module.status(document(deploy_path, keys={second: "other"}))

        keys = deploy_path / ".rollwave" / "keys"
        assert {path.name: path.read_text() for path in keys.iterdir()} == {f"{second}.pem": "other"}

    def test_a_changed_driver_is_not_run(self, module: ModuleType, deploy_path: Path) -> None:
        deploy_path.parent.mkdir()
        module.status(document(deploy_path))
        driver = deploy_path / ".rollwave" / "drivers" / f"{SHA256}.py"
        driver.write_text("raise SystemExit(9)")

        answer = module.status(document(deploy_path))

        assert (answer["code"], answer["path"]) == ("host.file_changed", str(driver))

    def test_a_disk_that_is_not_there_is_named(self, module: ModuleType, deploy_path: Path) -> None:
        answer = module.status(document(deploy_path))

        assert (answer["code"], answer["path"]) == ("host.no_deploy_path", str(deploy_path.parent))

    def test_what_the_operating_system_refuses_is_named(self, module: ModuleType, deploy_path: Path) -> None:
        deploy_path.parent.mkdir()
        deploy_path.touch()

        for verb in (module.status, module.drain):
            answer = verb(document(deploy_path))

            assert answer["code"] == "host.io_error"
            assert str(deploy_path) in answer["message"]

    @pytest.mark.parametrize(
        "broken",
        [
            {"files": base64.b64encode(zlib.compress(b'{"%s": "other"}' % SHA256.encode())).decode()},
            {"driver": "../../etc/passwd"},
            {"keys": {"../x": "pem"}},
            {"commands": {"web-1": {"deploy_path": "shop", "plan": PLAN_SHA256, "options": [], "limit_s": 1}}},
            {"commands": {"web-1": {"deploy_path": "/a/../b", "plan": PLAN_SHA256, "options": [], "limit_s": 1}}},
        ],
    )
    def test_nonsense_is_refused(self, module: ModuleType, deploy_path: Path, broken: dict[str, object]) -> None:
        deploy_path.parent.mkdir()

        with pytest.raises(ValueError):  # noqa: PT011  each has its own message
            module.install(document(deploy_path) | broken)

    def test_the_drain_file_comes_and_goes(self, module: ModuleType, deploy_path: Path) -> None:
        """Idempotent in both directions, also on a host that nothing was released to yet."""
        assert module.drained(document(deploy_path))["code"] == "host.no_deploy_path"
        deploy_path.parent.mkdir()
        file = deploy_path / "shared" / "drain"

        for verb in ("undrain", "drained", "drain", "drain", "drained", "undrain", "undrain", "drained"):
            assert getattr(module, verb)(document(deploy_path)) == {"drained": file.exists()}
            assert verb == "drained" or file.exists() is (verb == "drain")

    def test_it_is_not_part_of_a_compound_call(self, module: ModuleType, deploy_path: Path) -> None:
        with pytest.raises(ValueError, match="compound"):
            module.install(document(deploy_path), __pub_fun=["rollwave.install", "cmd.run"])
        assert not deploy_path.parent.exists()

    def test_another_format_is_for_another_module(self, module: ModuleType, deploy_path: Path) -> None:
        assert module.install(document(deploy_path, format=2))["code"] == "host.salt_module"


# -- The executor ------------------------------------------------------------------------------------------------------


NEVER = object()
"""The return is lost."""


class Jobs:
    """Answers of minions, one after the other."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.files: list[Mapping[str, str]] = []
        self.verbs: list[str] = []

    async def tell(
        self, verb: str, *_told: object, files: Mapping[str, str], told: asyncio.Event, **_named: object
    ) -> Any:
        told.set()
        self.files.append(files)
        self.verbs.append(verb)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is NEVER:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def call(command: HostCommand, jobs: Jobs, method: str = "run", **options: object) -> Any:
    executor = SaltExecutor(
        "http://salt",
        user="u",
        password="p",
        eauth="pam",
        driver=DRIVER.encode(),
        trusted_keys={},
        clock=SystemClock(),
        minion_id="{server}.example.com",
        **options,
    )
    executor._session = lambda: jobs
    return asyncio.run(getattr(executor, method)(command))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("'rollwave.install' is not available.", "host.salt_module"),
        ({"code": "host.salt_module", "message": "reads format 1", "path": "/m.py"}, "host.salt_module"),
        ({"code": "host.file_changed", "message": "changed", "path": "/d.py"}, "host.file_changed"),
        ({"code": "host.disk_full", "message": "full", "path": "/d.py"}, "host.disk_full"),
        ({"code": "host.no_deploy_path", "message": "/srv is not a directory", "path": "/srv"}, "host.no_deploy_path"),
        ({"code": "host.io_error", "message": "read-only file system", "path": "/srv"}, "host.io_error"),
    ],
)
def test_a_host_that_cannot_be_prepared_is_a_failure_of_run_and_unknown_for_status(
    command: HostCommand, answer: object, code: str
) -> None:
    """Nothing was begun; and what an earlier command did cannot be read until somebody has looked."""
    report = call(command, Jobs(answer))

    assert (report.state, report.code) == (HostState.FAILED, code)
    with pytest.raises(HostUnknownError) as caught:
        call(command, Jobs(answer), "status")
    assert caught.value.code == code


def test_a_dead_minion_is_not_asked_to_look_at_itself(command: HostCommand) -> None:
    """That may take long: first it is asked whether it is there."""
    question = HostQuestion(
        host=command.plan.host, app="shop", start=("a",), stop=("b",), health_path="/", free_bytes=1
    )
    jobs = Jobs(HostUnreachableError("minion x did not answer"))

    with pytest.raises(HostUnreachableError):
        call(question, jobs, "check")
    assert jobs.verbs == ["ping"]


@pytest.mark.parametrize("said", ["The minion function caused an exception: KeyError: 'commands'", None, 3, [], ""])
def test_anything_else_is_no_answer(command: HostCommand, said: object) -> None:
    with pytest.raises(HostUnknownError, match="journal has to be read") as caught:
        call(command, Jobs(said))
    assert caught.value.code == "host.unknown"


def test_only_what_is_missing_is_brought_and_not_for_ever(command: HostCommand) -> None:
    sha256 = plan_file(command.plan).sha256
    jobs = Jobs({"missing": [sha256]})

    with pytest.raises(HostUnknownError, match="do not stay"):
        call(command, jobs, "status")

    assert [sorted(files) for files in jobs.files] == [[], [sha256], [sha256]]


def test_an_unreachable_minion_is_named_with_its_server(command: HostCommand) -> None:
    with pytest.raises(HostUnreachableError) as caught:
        call(command, Jobs(HostUnreachableError("minion x did not answer")))
    server = command.plan.host.server
    assert caught.value.facts == {
        "server": server,
        "instance": command.plan.host.instance,
        "minion": f"{server}.example.com",
    }


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file:///data/packages/blobs/sha256/ab/abcd", "https://packages/rw/ab/abcd"),
        ("https://store/ab.tar.zst", "https://store/ab.tar.zst"),
    ],
)
def test_servers_fetch_archives_where_they_are_told(command: HostCommand, url: str, told: str) -> None:
    """The store's disk is not theirs; a package that is behind HTTP already stays where it is."""
    plan = replace(command.plan, package=replace(command.plan.package, url=url))
    seen = replace(plan, package=replace(plan.package, url=told))
    jobs = Jobs({"missing": [plan_file(seen).sha256]}, "over")

    with pytest.raises(HostUnknownError, match="over"):
        call(replace(command, plan=plan), jobs, "status", packages_url="https://packages/rw/")

    assert jobs.files[-1] == {plan_file(seen).sha256: plan_file(seen).content.decode()}


def test_what_has_begun_is_not_failed_by_a_host_that_cannot_be_asked(command: HostCommand) -> None:
    """Its files were changed meanwhile: the verb may have done everything, and somebody has to look."""
    jobs = Jobs(NEVER, {"code": "host.file_changed", "message": "changed", "path": "/d.py"})

    with pytest.raises(HostUnknownError, match="changed; its journal has to be read") as caught:
        call(command, jobs, look_s=0.01)
    assert caught.value.code == "host.unknown"


def reported(command: HostCommand, state: str) -> dict[str, object]:
    """Return what the module answers when the driver says nothing but *state*."""
    report = {"state": state, "code": "", "message": "", "running_version": None, "current_version": None}
    told = report | {"detail": {}, "deployment": None, "attempt": command.attempt, "verb": "install"}
    return {"exit_code": 0, "stdout": json.dumps(told), "stderr": ""}


def test_a_verb_whose_worker_was_killed_has_no_result(command: HostCommand) -> None:
    """The driver that waited for it says that it is absent: that is neither success nor failure."""
    with pytest.raises(HostUnknownError, match="ended without a result"):
        call(command, Jobs(reported(command, "absent")))


def test_a_minion_that_answers_and_knows_nothing_is_asked_twice(command: HostCommand) -> None:
    """A question may overtake the command."""
    jobs = Jobs(NEVER, reported(command, "absent"))

    with pytest.raises(HostUnknownError, match="knows nothing of it"):
        call(command, jobs, look_s=0.01)
    assert len(jobs.files) == 3
