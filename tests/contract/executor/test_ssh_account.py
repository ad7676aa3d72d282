"""
The account of docs/ssh.md: it owns the deploy path, may start and stop one unit as root, and nothing else.

Real sshd, real sudo, and the very rule of the documentation. Where systemd is not what runs the machine, a program
of its name stands for it, which passes on to a real supervisord.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollwave.ports.executor import HostQuestion, HostState, HostVerb, Verdict
from tests.account import an_account
from tests.contract.executor.local_world import open_fleet, program_of
from tests.contract.executor.ssh_world import SshWorld, open_servers
from tests.contract.executor.world import Order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rollwave.ports.executor import Host
    from tests.account import Account

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "ssh.md"
SYSTEMCTL = "/usr/bin/systemctl"


def documented_rule() -> str:
    """Return the line that docs/ssh.md has administrators put into sudoers."""
    (rule,) = (line for line in GUIDE.read_text().splitlines() if line.startswith("deploy ALL=(root) NOPASSWD:"))
    assert f"{SYSTEMCTL} start shop.service" in rule
    return rule


@dataclass(frozen=True, kw_only=True)
class Place:
    """One server: the account there, the instance, and what passes for systemctl."""

    world: SshWorld
    account: Account
    host: Host
    systemctl: str

    def order(self, verb: HostVerb, version: str, **other: object) -> Order:
        words = ("sudo", "-n", self.systemctl)
        plan = {"start": (*words, "start", "shop.service"), "stop": (*words, "stop", "shop.service")}
        return Order(host=self.host, verb=verb, version=version, **{"plan": plan} | other)


@pytest.fixture(scope="module")
def open_place() -> Iterator[tuple[SshWorld, Account, Host, str]]:
    # Not a folder of pytest, which is closed to other accounts.
    with tempfile.TemporaryDirectory(prefix="rw-account-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        systemctl = folder / "systemctl"
        rule = documented_rule().replace("deploy", "USER").replace(SYSTEMCTL, str(systemctl))
        with (
            an_account(rule) as account,
            open_fleet(folder / "fleet") as fleet,
            open_servers(folder / "site") as servers,
        ):
            world = SshWorld(fleet, servers, user=account.name)
            host = world.host()
            control = world.lifecycle(host)["start"][:-2]
            systemctl.write_text(
                "#!/bin/sh\n"
                f'case "$1 $2" in\n  "start shop.service" | "stop shop.service")\n'
                f"    exec {' '.join(control)} $1 {program_of(host)} ;;\n"
                '  "show --property=LoadState") echo LoadState=loaded ;;\n'
                '  *) echo "unknown: $*"; exit 1 ;;\nesac\n'
            )
            systemctl.chmod(0o755)
            shutil.chown(Path(host.deploy_path).parent, account.name)
            yield world, account, host, str(systemctl)


@pytest.fixture
async def place(open_place: tuple[SshWorld, Account, Host, str]) -> AsyncIterator[Place]:
    world, account, host, systemctl = open_place
    yield Place(world=world, account=account, host=host, systemctl=systemctl)
    await world.executor.close()


async def test_a_release_and_the_way_back_need_nothing_but_the_documented_rule(place: Place) -> None:
    """All that a release writes belongs to the account; only the app is started by root."""
    world, host = place.world, place.host
    for deployment, (version, previous) in enumerate((("1.0", None), ("2.0", "1.0")), start=1):
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL, HostVerb.VERIFY):
            report = await world.run(place.order(verb, version, previous=previous, deployment=deployment))
            assert report.state is HostState.SUCCEEDED, report
        assert world.running(host) == version

    report = await world.run(place.order(HostVerb.RESTORE, "2.0", previous="1.0", deployment=2))

    assert report.state is HostState.SUCCEEDED, report
    assert world.running(host) == "1.0"
    assert owners_below(Path(host.deploy_path)) == {place.account.uid}


@pytest.mark.parametrize("unit", ["shop.service", "other.service"])
async def test_the_check_says_what_the_rule_permits_as_a_release_would_find_it(place: Place, unit: str) -> None:
    """What it calls missing is refused, by sudo itself, and what it calls ready is done."""
    world, host = place.world, place.host
    start, stop = (("sudo", "-n", place.systemctl, verb, unit) for verb in ("start", "stop"))
    question = HostQuestion(host=host, app="shop", start=start, stop=stop, health_path="/healthz", free_bytes=1)

    answer = await world.executor.check(question)

    found = {one.name: one for one in answer.findings}
    permitted = unit == "shop.service"
    assert found["directory"].verdict is Verdict.OK, found
    assert {found[name].verdict for name in ("start", "stop")} == {Verdict.OK if permitted else Verdict.MISSING}, found
    order = {"deployment": 8 if permitted else 9, "plan": {"start": start, "stop": stop}}
    assert (await world.run(place.order(HostVerb.DOWNLOAD, "1.0", **order))).state is HostState.SUCCEEDED
    report = await world.run(place.order(HostVerb.INSTALL, "1.0", **order))
    assert report.state is (HostState.SUCCEEDED if permitted else HostState.FAILED), report
    assert permitted or report.code.startswith("lifecycle.")


async def test_the_account_may_do_nothing_else_as_root(place: Place) -> None:
    """Not even with a word more."""
    program = place.systemctl
    for words in (["id"], ["-s"], [program, "start", "shop.service", "--root=/tmp"], [program, "status"]):
        assert has_failed(["sudo", "-n", *words], place.account), words


def has_failed(command: list[str], account: Account) -> bool:
    return subprocess.run(command, user=account.uid, cwd="/", capture_output=True, check=False).returncode != 0


def owners_below(folder: Path) -> set[int]:
    # What Python leaves of the app belongs to who runs the app.
    return {path.lstat().st_uid for path in folder.rglob("*") if "__pycache__" not in path.parts}
