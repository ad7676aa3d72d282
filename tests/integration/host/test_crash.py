"""
I11, I15, I16: the driver is killed at every single step that changes the disk or starts a program.

After each kill `current` leads to a complete version (or is absent, if it was), no version that is needed is missing,
and the same command, sent again, ends well. A second round tears every write in the middle.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rollwave.host import DRIVER_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.host.site import Built, Site

HARNESS = Path(__file__).with_name("crash_harness.py")


class Killer:
    """The harness: runs a command of the driver and kills it at a chosen step."""

    def __init__(self) -> None:
        argv = [sys.executable, "-I", "-S", str(HARNESS), str(DRIVER_PATH)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, argv: list[str], *, kill_at: int = 0, torn: bool = False) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"argv": argv[4:], "kill_at": kill_at, "torn": torn}) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def killer() -> Iterator[Killer]:
    made = Killer()
    yield made
    made.close()


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One command, in a place where it matters; *goal* is current afterwards, *needed* is never missing."""

    verb: str
    plan: dict[str, Any]
    packages: dict[str, Built]
    goal: str | None
    needed: set[str]
    left: set[str]
    least: int = 20
    """So many steps it has, or hardly anything was counted."""

    @property
    def had_current(self) -> bool:
        return bool(self.plan["previous_version"])


def three_packages(site: Site) -> dict[str, Built]:
    sizes = {"1.0": 1000, "1.1": 2000, "1.2": 3000}
    return {version: site.build(version, files={"lib/data": b"x" * size}) for version, size in sizes.items()}


def quiet(site: Site, package: Built, **changes: Any) -> dict[str, Any]:
    """Return a plan whose lifecycle commands take a millisecond and leave a mark."""
    start = ["/bin/sh", "-c", "cat current/VERSION > shared/started"]
    return site.plan(package, start=start, stop=["/bin/rm", "-f", "shared/started"], **changes)


def prepare(killer: Killer, site: Site, plan: dict[str, Any], *verbs: str) -> None:
    for verb in verbs:
        answer = killer.run(site.argv(verb, plan))
        assert answer["report"]["state"] == "succeeded", answer
    site.deployment_id += 1


def first_download(_killer: Killer, site: Site) -> Scene:
    packages = three_packages(site)
    plan = quiet(site, packages["1.0"])
    return Scene(verb="download", plan=plan, packages=packages, goal=None, needed=set(), left={"1.0"})


def first_install(killer: Killer, site: Site) -> Scene:
    packages = three_packages(site)
    plan = quiet(site, packages["1.0"])
    prepare(killer, site, plan, "download")
    return Scene(verb="install", plan=plan, packages=packages, goal="1.0", needed={"1.0"}, left={"1.0"})


def upgrade(killer: Killer, site: Site) -> Scene:
    packages = three_packages(site)
    prepare(killer, site, quiet(site, packages["1.0"]), "download", "install")
    plan = quiet(site, packages["1.1"])
    prepare(killer, site, plan, "download")
    needed = {"1.0", "1.1"}
    return Scene(verb="install", plan=plan, packages=packages, goal="1.1", needed=needed, left=needed)


def download_that_cleans_up(killer: Killer, site: Site) -> Scene:
    packages = three_packages(site)
    prepare(killer, site, quiet(site, packages["1.0"]), "download", "install")
    prepare(killer, site, quiet(site, packages["1.1"]), "download", "install")
    plan = quiet(site, packages["1.2"], keep_versions=2)
    return Scene(verb="download", plan=plan, packages=packages, goal="1.1", needed={"1.1"}, left={"1.1", "1.2"})


def restore(killer: Killer, site: Site) -> Scene:
    packages = three_packages(site)
    prepare(killer, site, quiet(site, packages["1.0"]), "download", "install")
    plan = site.plan(packages["1.1"])
    prepare(killer, site, plan, "download", "install")
    needed = {"1.0", "1.1"}
    return Scene(verb="restore", plan=plan, packages=packages, goal="1.0", needed=needed, left=needed)


def install_of_an_older_one_that_is_still_there(killer: Killer, site: Site) -> Scene:
    """What a rollback does: no download."""
    packages = three_packages(site)
    prepare(killer, site, quiet(site, packages["1.0"]), "download", "install")
    prepare(killer, site, quiet(site, packages["1.1"]), "download", "install")
    plan, needed = quiet(site, packages["1.0"]), {"1.0", "1.1"}
    return Scene(verb="install", plan=plan, packages=packages, goal="1.0", needed=needed, left=needed)


def look(killer: Killer, site: Site, verb: str) -> Scene:
    packages = three_packages(site)
    plan = site.plan(packages["1.0"], version_path="/version")
    prepare(killer, site, plan, "download", "install", "verify")
    plan = site.plan(packages["1.0"], version_path="/version")
    return Scene(verb=verb, plan=plan, packages=packages, goal="1.0", needed={"1.0"}, left={"1.0"}, least=10)


def verify(killer: Killer, site: Site) -> Scene:
    return look(killer, site, "verify")


def prove(killer: Killer, site: Site) -> Scene:
    return look(killer, site, "prove")


SCENERIES = [
    first_download,
    first_install,
    upgrade,
    install_of_an_older_one_that_is_still_there,
    download_that_cleans_up,
    restore,
    verify,
    prove,
]


def visible(site: Site) -> set[str]:
    releases = site.deploy_path / "releases"
    return {name for name in site.releases if not name.startswith(".")} if releases.exists() else set()


def assert_sound(site: Site, scene: Scene) -> None:
    for version in visible(site):
        assert site.content(version) == scene.packages[version].files
        assert (site.deploy_path / "releases" / version / ".rollwave-package").exists()
    assert scene.needed <= visible(site)
    assert (site.deploy_path / "current").is_symlink() or not scene.had_current
    assert site.current is None or site.current in visible(site)


def reset(site: Site, saved: Path) -> None:
    shutil.rmtree(site.deploy_path)
    shutil.copytree(saved, site.deploy_path, symlinks=True)


@pytest.mark.parametrize("torn", [False, True], ids=["killed", "torn"])
@pytest.mark.parametrize("scenery", SCENERIES)
def test_a_kill_at_any_step_breaks_nothing(
    site: Site, killer: Killer, scenery: Callable[[Killer, Site], Scene], torn: bool
) -> None:
    """Sound after the kill, whole after the repetition, for every step there is."""
    scene = scenery(killer, site)
    saved = site.root / "saved"
    shutil.copytree(site.deploy_path, saved, symlinks=True)
    argv = site.argv(scene.verb, scene.plan)
    again = site.argv(scene.verb, scene.plan, fence=2)
    kill_at = 1
    while killer.run(argv, kill_at=kill_at, torn=torn)["report"] is None:
        assert_sound(site, scene)

        repeated = killer.run(again)["report"]

        assert repeated["state"] == "succeeded", (kill_at, repeated)
        assert_sound(site, scene)
        assert site.current == scene.goal
        assert site.releases == scene.left
        site.stop_app() if scene.verb == "restore" else None
        reset(site, saved)
        kill_at += 1

    assert kill_at > (2 if torn else scene.least), "hardly anything was counted"


def test_what_gets_a_name_is_durable_first(site: Site, killer: Killer) -> None:
    """
    A kill leaves the kernel's memory, a power cut does not: order is everything.

    Every file that was written is fsynced before the rename that publishes it, and the folder with the new name is
    fsynced before the next program is started and before the answer.
    """
    scene = upgrade(killer, site)
    trace = []
    for verb in ("download", "install"):
        plan = quiet(site, scene.packages["1.2"])
        trace += killer.run(site.argv(verb, plan))["trace"] + [["answer", "", ""]]

    unsynced: set[str] = set()
    unsynced_folders: set[str] = set()
    published = []
    for name, first, second in trace:
        if name == "write" and not first.startswith("pipe:"):
            unsynced.add(first)
        elif name == "fsync":
            unsynced.discard(first)
            unsynced_folders.discard(first)
        elif name in ("rename", "replace"):
            assert not [path for path in unsynced if path == first or path.startswith(first + "/")], (first, second)
            unsynced_folders.add(str(Path(second).parent))
            published.append(second)
        elif name in ("start", "answer"):
            assert not unsynced_folders, name
    assert str(site.deploy_path / "releases" / "1.2") in published
    assert str(site.deploy_path / "current") in published


def test_an_effect_comes_after_its_record(site: Site, killer: Killer) -> None:
    """The begun record is durable before the first lifecycle command, the fence before the record."""
    scene = upgrade(killer, site)
    trace = killer.run(site.argv(scene.verb, scene.plan, fence=3))["trace"]

    order = [second.rsplit("/", 1)[1] if name == "replace" else name for name, _, second in trace]
    journal = f"{scene.plan['deployment_id']}-{scene.plan['created_us']}-1-install.json"

    marks = [word for word in order if word in ("fence", journal, "start", "current")]
    assert marks == ["fence", journal, "start", "current", "start", journal]
