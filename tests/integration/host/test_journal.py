"""Fence, deadline, journal, detachment: what makes a command safe to send twice, late, or through a dying carrier."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rollwave.host import driver_source
from tests.integration.host.site import SUPERVISE, finish

if TYPE_CHECKING:
    from tests.integration.host.site import Site


class Gate:
    """Holds a start command until the test opens it: both sides meet at a named pipe."""

    def __init__(self, site: Site) -> None:
        self._path = site.deploy_path / "gate"
        os.mkfifo(self._path)
        self.runs = site.deploy_path / "runs"
        self.start = ["/bin/sh", "-c", 'echo run >> runs; cat gate; exec "$@"', "sh"]
        self.start += [*SUPERVISE, "start", "{deploy_path}", "{port}"]

    def reach(self) -> Any:
        """Return once the start command waits at the gate; closing what is returned lets it go."""
        return self._path.open("wb")

    @property
    def run_count(self) -> int:
        return len(self.runs.read_text().splitlines())


def gated(site: Site, version: str = "1.0") -> tuple[Gate, dict[str, Any]]:
    """Return a gate, and a plan that is downloaded and will stop at it when it is installed."""
    gate = Gate(site)
    plan = site.plan(site.build(version), start=gate.start)
    assert site.run("download", plan)["state"] == "succeeded"
    return gate, plan


def worker_of(site: Site, verb: str) -> int:
    """Return the process id of the detached worker: the one that runs the verb in a session of its own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                is_detached = os.getsid(int(entry.name)) != os.getsid(0)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if (
                verb.encode() in words
                and any(word.startswith(os.fsencode(site.root)) for word in words)
                and is_detached
            ):
                return int(entry.name)
    raise AssertionError("no worker")


def kill_and_await(pid: int) -> None:
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    import select

    assert select.select([handle], [], [], 20)[0]
    os.close(handle)


def test_a_repeated_command_returns_the_recorded_result(site: Site) -> None:
    """I11: Salt may deliver twice; the second changes nothing and says the same."""
    plan = site.release(site.build("1.0"))
    pid = (site.deploy_path / "shared/app.pid").read_text()

    first, second = site.run("install", plan), site.run("install", plan)

    assert first == second
    assert (site.deploy_path / "shared/app.pid").read_text() == pid


def test_a_recorded_result_can_be_had_after_the_deadline(site: Site) -> None:
    """The deadline forbids to begin; it does not turn a success into a failure."""
    plan = site.release(site.build("1.0"))

    assert site.run("install", plan, deadline=1)["state"] == "succeeded"
    assert site.run("status", plan, verb="install", deadline=1)["state"] == "succeeded"


def test_a_failure_is_recorded_too(site: Site) -> None:
    """The same attempt fails the same way even if the cause is gone; a new attempt tries again."""
    package = site.build("1.0")
    hidden = package.archive.rename(package.archive.with_suffix(".hidden"))
    failed = site.run("download", site.plan(package))
    hidden.rename(package.archive)

    assert site.run("download", site.plan(package)) == failed
    assert site.run("download", site.plan(package), attempt=2)["state"] == "succeeded"


def test_a_command_past_its_deadline_is_refused(site: Site) -> None:
    """A frozen agent may deliver it half a minute late; nothing begins, and nothing is recorded."""
    plan = site.plan(site.build("1.0"))

    late = site.run("download", plan, deadline=time.time() - 1)

    assert late["code"] == "host.deadline_passed"
    assert site.run("status", plan, verb="download")["state"] == "absent"
    assert site.run("download", plan)["state"] == "succeeded"


def test_a_lower_fence_is_refused_whatever_the_verb(site: Site) -> None:
    """I9: once a newer controller was here, the older one can neither do nor ask anything."""
    plan = site.plan(site.build("1.0"))
    site.run("status", plan, verb="install", fence=7)

    assert site.run("download", plan, fence=6)["code"] == "host.fenced"
    assert site.run("status", plan, verb="download", fence=6)["code"] == "host.fenced"
    assert site.run("download", plan, fence=7)["state"] == "succeeded"


def test_two_commands_at_once_do_the_work_once(site: Site) -> None:
    """The second joins the first and gets its result."""
    gate, plan = gated(site)
    first = site.start("install", plan)
    opened = gate.reach()
    second = site.start("install", plan)
    opened.close()

    assert finish(first) == finish(second)
    assert gate.run_count == 1


def test_a_killed_carrier_loses_nothing(site: Site) -> None:
    """The worker goes on without the command that began it, and its result can be read back."""
    gate, plan = gated(site)
    carrier = site.start("install", plan)
    with gate.reach():
        carrier.kill()
        carrier.communicate()
        running = site.run("status", plan, verb="install")

    assert running["state"] == "running"
    assert site.run("install", plan)["state"] == "succeeded"
    assert gate.run_count == 1


def test_a_command_waits_no_longer_than_it_was_told(site: Site) -> None:
    """--wait ends with a report in state running; the verb goes on."""
    gate, plan = gated(site)
    first = site.start("install", plan)
    with gate.reach():
        assert site.run("install", plan, wait=0)["state"] == "running"

    assert finish(first)["state"] == "succeeded"


def test_a_killed_worker_is_absent_and_interrupted_then_done_again(site: Site) -> None:
    """kill -9 and reboots: status says that nothing goes on any more, and the repeated command finishes the work."""
    gate, plan = gated(site)
    carrier = site.start("install", plan)
    with gate.reach():
        kill_and_await(worker_of(site, "install"))
        told = finish(carrier)
        status = site.run("status", plan, verb="install", fence=2)

    assert (told["state"], status["state"]) == ("absent", "absent")
    assert told["detail"]["interrupted"] is status["detail"]["interrupted"] is True
    again = site.start("install", plan, fence=2)
    gate.reach().close()
    assert finish(again)["state"] == "succeeded"
    assert gate.run_count == 2


def test_after_absent_no_older_command_can_begin(site: Site) -> None:
    """A command that queued behind another one is fenced out by a status that came meanwhile."""
    gate, plan = gated(site)
    first = site.start("install", plan)
    opened = gate.reach()
    queued = site.start("verify", plan)
    while site.run("status", plan, verb="verify")["state"] == "absent":
        assert queued.poll() is None
    seen = site.run("status", plan, verb="verify", fence=2)
    opened.close()

    assert (seen["state"], seen["detail"]["has_begun"]) == ("running", False)
    assert finish(first)["state"] == "succeeded"
    assert finish(queued)["code"] == "host.fenced"
    assert site.run("status", plan, verb="verify", fence=2)["state"] == "absent"


def test_a_newer_fence_does_not_break_a_running_verb(site: Site) -> None:
    """Half an install is worse than a whole one: the newer controller's commands wait for its end."""
    gate, plan = gated(site)
    first = site.start("install", plan, fence=1)
    opened = gate.reach()
    newer = site.start("verify", plan, fence=9)
    while site.run("status", plan, verb="verify", fence=9)["state"] == "absent":
        assert newer.poll() is None
    opened.close()

    assert finish(first)["state"] == "succeeded"
    assert finish(newer)["state"] == "succeeded"


def test_the_same_attempt_cannot_be_about_another_package(site: Site) -> None:
    """A recorded success must not vouch for another goal."""
    site.run("download", site.plan(site.build("1.0")))

    assert site.run("download", site.plan(site.build("1.1")))["code"] == "host.plan_mismatch"


def test_a_changed_plan_is_refused(site: Site) -> None:
    """The plan's bytes are what was commanded, or nothing happens."""
    argv = site.argv("download", site.plan(site.build("1.0")))
    Path(argv[5]).write_bytes(Path(argv[5]).read_bytes().replace(b"1.0", b"1.1"))

    assert finish(subprocess.Popen(argv, stdout=-1, stderr=-1))["code"] == "host.plan_mismatch"


def test_a_plan_that_is_not_there_is_named(site: Site) -> None:
    """A carrier learns that it has to bring the plan first."""
    argv = site.argv("download", site.plan(site.build("1.0")))
    Path(argv[5]).unlink()

    report = finish(subprocess.Popen(argv, stdout=-1, stderr=-1))

    assert (report["code"], report["deployment"]) == ("host.plan_missing", None)


def test_a_mistyped_deploy_path_is_not_created(site: Site) -> None:
    """Only directories that an operator made are used."""
    plan = site.plan(site.build("1.0"), deploy_path=str(site.root / "typo"))

    assert site.run("download", plan)["code"] == "host.no_deploy_path"
    assert not (site.root / "typo").exists()


@pytest.mark.parametrize("file", ["fence", "journal/1-1-1-download.json"])
def test_unreadable_state_is_not_guessed(site: Site, file: str) -> None:
    """A fence or a record that somebody damaged stops the driver until a person looks."""
    plan = site.plan(site.build("1.0"))
    site.run("download", plan)
    (site.state / file).write_text("?")

    assert site.run("download", plan)["code"] == "host.state_corrupt"


def test_old_deployments_are_forgotten(site: Site) -> None:
    """The journal stays small: the last fifty deployments, with their logs."""
    site.run("download", site.plan(site.build("1.0")))
    for number in range(2, 70):
        for place in (
            site.state / "journal" / f"{number}-{number}-1-verify.json",
            site.state / "log" / f"{number}-{number}-1-verify.log",
        ):
            place.write_text("{}")
    site.deployment_id = 70

    site.run("download", site.plan(site.build("1.1")))

    kept = {int(path.name.split("-")[0]) for path in (site.state / "journal").iterdir()}
    assert kept == set(range(21, 71))
    assert kept >= {int(path.name.split("-")[0]) for path in (site.state / "log").iterdir()}


def test_unusable_arguments_end_with_2(site: Site) -> None:
    """There is no report then; the reason is on stderr."""
    good = site.argv("download", site.plan(site.build("1.0")))
    for spoil in (
        ["--attempt", "-1"],
        ["--fence", "-1"],
        ["--deadline", "nan"],
        ["--verb", "install"],
        ["--unknown"],
        ["--wait"],
    ):
        done = subprocess.run([*good, *spoil], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"error" in done.stderr


def test_a_bug_in_a_verb_is_loud_and_readable(site: Site) -> None:
    """Exit code 70 and a traceback for whoever ran it; a failed report for whoever reads the journal."""
    broken = site.root / "driver.py"
    broken.write_bytes(
        driver_source().replace(b"clear_leftovers(layout, keep", b"1 / 0 or clear_leftovers(layout, keep")
    )
    plan = site.plan(site.build("1.0"))
    argv = site.argv("download", plan)
    argv[3] = str(broken)

    done = subprocess.run(argv, capture_output=True, check=False)

    assert done.returncode == 70
    assert b"ZeroDivisionError" in done.stderr
    assert json.loads(done.stdout)["code"] == "host.driver_bug"
    assert site.run("status", plan, verb="download")["code"] == "host.driver_bug"


def test_status_is_quick(site: Site) -> None:
    """It imports nothing that only the verbs need."""
    argv = site.argv("status", site.plan(site.build("1.0")), verb="install")
    done = subprocess.run([sys.executable, "-X", "importtime", *argv[1:]], capture_output=True, check=True)
    imported = {line.rsplit(b"|", 1)[1].strip().decode() for line in done.stderr.splitlines() if b"|" in line}

    assert not imported & {"tarfile", "subprocess", "http.client", "urllib.request", "ssl"}
