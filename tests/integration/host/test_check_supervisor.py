"""``driver.py check``: whether sudo, systemd and supervisord would do what a group's commands ask of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.processes import until
from rollwave.host import DRIVER_PATH
from tests.account import an_account
from tests.integration.host.asking import a_question, findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.account import Account

BIN = Path(sys.executable).parent
SUPERVISORCTL = str(BIN / "supervisorctl")


def program(folder: Path, name: str, text: str) -> Path:
    """Put a small program there that stands for one of the server's."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    return tmp_path / "srv"


def of_start(server: Path, start: list[str], *programs: Path) -> tuple[str, str]:
    """Return verdict and message about the start command, with *programs* first on PATH."""
    path = ":".join([*(str(one.parent) for one in programs), os.environ["PATH"]])
    found = findings(a_question(server, start=start), PATH=path)["start"]
    return found["verdict"], found["message"]


# -- supervisord -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a real one that knows shop-80 and the group fleet; yield its configuration."""
    with tempfile.TemporaryDirectory(prefix="rw-sv-") as name:
        folder = Path(name)
        config = folder / "supervisord.conf"
        config.write_text(
            f"[supervisord]\nlogfile={folder}/log\npidfile={folder}/pid\n"
            f"[unix_http_server]\nfile={folder}/sock\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{folder}/sock\n"
            "[group:fleet]\nprograms=one,two\n"
            + "".join(
                f"[program:{name}]\ncommand=/bin/sleep 600\nautostart=false\n" for name in ("one", "two", "shop-80")
            )
        )
        process = subprocess.Popen([BIN / "supervisord", "-n", "-c", config], stdout=subprocess.DEVNULL)
        try:
            until((folder / "sock").exists, what="the start of supervisord")
            yield config
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("name", ["shop-80", "fleet:*", "fleet:one", "all", "{app}-{port}"])
def test_a_program_that_supervisord_knows(server: Path, supervisord: Path, name: str) -> None:
    """Stopped as it is; what stands for the instance is put in, as the driver does."""
    question = a_question(server, start=[SUPERVISORCTL, "-c", str(supervisord), "start", name], port=80)

    found = findings(question)["start"]

    assert found["verdict"] == "ok", found
    assert "supervisord knows" in found["message"]


@pytest.mark.parametrize("name", ["shop-81", "fleet:three", "shop:*"])
def test_a_program_that_supervisord_does_not_know_is_named(server: Path, supervisord: Path, name: str) -> None:
    verdict, message = of_start(server, [SUPERVISORCTL, "-c", str(supervisord), "start", name])

    assert verdict == "missing"
    assert f"no program {name.removesuffix(':*')}:" in message


def test_a_supervisord_that_does_not_run_is_named(server: Path, tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"

    verdict, message = of_start(server, [SUPERVISORCTL, "-s", url, "start", "shop"])

    assert verdict == "missing"
    assert "cannot be asked for shop" in message
    assert "nobody.sock" in message


# -- systemd -----------------------------------------------------------------------------------------------------------


def systemctl(folder: Path, *, knows: str) -> Path:
    """Answer ``show`` as systemd does for a unit of its own and for any other."""
    return program(
        folder,
        "systemctl",
        f'echo "$*" >>{folder}/asked\nfor unit; do case $unit in {knows}) echo LoadState=loaded; echo;; '
        "masked.service) echo LoadState=masked; echo;; *.service) echo LoadState=not-found; echo;; esac; done",
    )


def test_a_unit_that_systemd_knows(server: Path, tmp_path: Path) -> None:
    """It is asked as whom it is commanded: the options of the command line stay."""
    fake = systemctl(tmp_path / "bin", knows="shop@80.service")

    verdict, _ = of_start(server, [str(fake), "--user", "--no-block", "start", "shop@{port}.service"], fake)
    assert verdict == "missing"
    found = findings(
        a_question(server, start=[str(fake), "--user", "--no-block", "start", "shop@{port}.service"], port=80)
    )

    assert found["start"]["verdict"] == "ok", found["start"]
    asked = (tmp_path / "bin" / "asked").read_text().splitlines()
    assert asked[-1] == "--user --no-block show --property=LoadState -- shop@80.service"


@pytest.mark.parametrize(("unit", "state"), [("other.service", "not-found"), ("masked.service", "masked")])
def test_a_unit_that_cannot_be_started_is_named(server: Path, tmp_path: Path, unit: str, state: str) -> None:
    fake = systemctl(tmp_path / "bin", knows="shop.service")

    verdict, message = of_start(server, ["systemctl", "start", unit], fake)

    assert verdict == "missing"
    assert f"unit {unit} is {state}" in message


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "missing"),
        ("Failed to connect to bus: Permission denied", "note"),
    ],
)
def test_a_systemd_that_does_not_say_is_no_proof(server: Path, tmp_path: Path, said: str, verdict: str) -> None:
    """Neither is it called ready: what could not be asked is said."""
    fake = program(tmp_path / "bin", "systemctl", f'echo "{said}" >&2; exit 1')

    found = of_start(server, ["systemctl", "start", "shop"], fake)

    assert found[0] == verdict
    assert said in found[1]


def test_a_supervisor_that_hangs_is_given_up_in_time(server: Path, tmp_path: Path) -> None:
    """Once for both commands: the answer to the check comes before an executor gives up on it."""
    fake = program(tmp_path / "bin", "systemctl", f"echo asked >>{tmp_path}/asked; exec sleep 600")
    words = ["systemctl", "start", "shop"]

    found = findings(a_question(server, start=words, stop=words), PATH=f"{fake.parent}:{os.environ['PATH']}")

    for name in ("start", "stop"):
        assert found[name]["verdict"] == "note"
        assert "did not answer within" in found[name]["message"]
    assert (tmp_path / "asked").read_text().count("asked") == 1


# -- sudo --------------------------------------------------------------------------------------------------------------

LISTED = """Matching Defaults entries for deploy on web-1:
    env_reset, secure_path=/usr/sbin\\:/usr/bin

User deploy may run the following commands on web-1:
    (root) NOPASSWD: /usr/bin/systemctl start shop.service, /usr/bin/systemctl stop
        shop.service
    (root) /usr/bin/id
    (shop) SETENV: NOPASSWD: /usr/bin/python3
"""


@pytest.mark.parametrize(
    ("rules", "command", "needs_none"),
    [
        (LISTED, "/usr/bin/systemctl start shop.service", True),
        (LISTED, "/usr/bin/systemctl stop shop.service", True),
        (LISTED, "/usr/bin/id", False),
        (LISTED, "/usr/bin/python3", True),
        (LISTED, "/usr/bin/systemctl start shop", None),
        ("(root) NOPASSWD: /a, PASSWD: /b", "/b", False),
        ("(root) /a\n(ALL : ALL) NOPASSWD: ALL", "/a", True),
        ("(root) NOPASSWD: /a\n(ALL : ALL) ALL", "/a", False),
        ("Matching Defaults entries: !authenticate\n(ALL) ALL", "/a", True),
    ],
)
def test_the_last_rule_about_a_command_says_whether_a_password_is_asked(
    rules: str, command: str, needs_none: bool | None
) -> None:
    names: dict[str, Any] = {"__name__": "driver"}
    exec(compile(DRIVER_PATH.read_bytes(), DRIVER_PATH, "exec"), names)

    assert names["is_passwordless"](rules, command) is needs_none


@pytest.mark.parametrize(
    ("words", "verdict", "said"),
    [
        (["sudo", "-n", "{systemctl}", "start", "shop.service"], "ok", "sudo permits"),
        (["sudo", "-n", "--", "{systemctl}", "start", "shop.service"], "ok", "systemd knows shop.service"),
        (["sudo", "-n", "{systemctl}", "start", "other.service"], "missing", "mend the sudoers rule"),
        (["sudo", "-n", "{systemctl}", "stop", "gone.service"], "missing", "unit gone.service is not-found"),
        (["sudo", "-n", "-u", "nobody", "{systemctl}", "start", "shop.service"], "missing", "mend the sudoers rule"),
        (["sudo", "-nu", "root", "{systemctl}", "start", "shop.service"], "ok", "sudo permits"),
        (["sudo", "-n", "/usr/bin/id"], "missing", "wants a password"),
        (["sudo", "-n", "/no/such/program"], "missing", "'/no/such/program' is not there"),
        (["sudo", "-n", "{systemctl}", "start", "shop-{version}.service"], "note", "with a version alone"),
    ],
)
def test_sudo_is_asked_whether_it_would_do_it_without_a_password(
    sudoer: Account, server_of_sudoer: Path, words: list[str], verdict: str, said: str
) -> None:
    """As the account that a release would have, with the real sudo; and nothing is done."""
    systemctl = server_of_sudoer.parent / "bin" / "systemctl"
    start = [word.replace("{systemctl}", str(systemctl)) for word in words]

    found = findings(a_question(server_of_sudoer, start=start), python="/usr/bin/python3", user=sudoer.uid)["start"]

    assert found["verdict"] == verdict, found
    assert said in found["message"]


@pytest.fixture(scope="module")
def server_of_sudoer() -> Iterator[Path]:
    """A server in a place that every account gets to, with a systemd that knows two units."""
    with tempfile.TemporaryDirectory(prefix="rw-sudo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "srv").mkdir()
        fake = systemctl(folder / "bin", knows="shop.service|other.service")
        fake.write_text(fake.read_text().replace(f'echo "$*" >>{folder}/bin/asked', ""))
        yield folder / "srv"


@pytest.fixture(scope="module")
def sudoer(server_of_sudoer: Path) -> Iterator[Account]:
    """An account that may start one unit and stop another, and run id with a password."""
    systemctl = server_of_sudoer.parent / "bin" / "systemctl"
    rules = (
        "USER ALL=(root) /usr/bin/id, /no/such/program\n"
        f"USER ALL=(root) NOPASSWD: {systemctl} start shop.service, {systemctl} stop gone.service"
    )
    with an_account(rules) as account:
        yield account
