"""Programs that the demo, the tests and the measurements run: handled together with all that they started."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from demo.processes import LabError, Program, free_ports, until

FAMILY = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# A child that leaves our process group, as PostgreSQL's do.
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(folder / "child.new").write_text(str(child.pid))
(folder / "child.new").rename(folder / "child")
time.sleep(600)
"""


@pytest.fixture
def program(tmp_path: Path):
    program = Program([sys.executable, "-c", FAMILY, tmp_path], log=tmp_path / "log")
    yield program
    program.kill()


def test_no_port_is_given_twice() -> None:
    """What is to listen later is not in the way of what asks for a port meanwhile."""
    given = [port for _ in range(100) for port in free_ports(5)]

    assert len(set(given)) == 500


def child_of(program: Program, folder: Path) -> int:
    until((folder / "child").exists, what="the start of the child")
    return int((folder / "child").read_text())


def state_of(pid: int) -> str:
    """Return the state as in ps(1), empty for one that is gone; what nobody has collected yet is gone."""
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state == "Z" else state


@pytest.mark.parametrize("end", [Program.stop, Program.kill])
def test_nothing_of_a_program_outlives_its_end(program: Program, tmp_path: Path, end) -> None:
    """Neither stop nor kill leaves what the program started, though that has left its process group."""
    program.start()
    child = child_of(program, tmp_path)
    # What does not end by itself is not waited for.
    end(program, **({"timeout_s": 0} if end is Program.stop else {}))

    assert not program.is_running
    assert state_of(child) == ""


def test_a_program_that_ignores_its_stop_is_killed(tmp_path: Path) -> None:
    """SIGTERM asks; after the timeout SIGKILL tells."""
    program = Program([sys.executable, "-c", FAMILY, tmp_path, "deaf"], log=tmp_path / "log")
    program.start()
    child = child_of(program, tmp_path)
    program.stop(timeout_s=0)

    assert not program.is_running
    assert state_of(child) == ""


def test_a_crash_takes_the_program_alone(program: Program, tmp_path: Path) -> None:
    """What a crashed program had started lives on: host verbs do."""
    program.start()
    child = child_of(program, tmp_path)
    program.crash()

    assert not program.is_running
    assert state_of(child) in {"R", "S"}
    os.kill(child, signal.SIGKILL)


def test_a_paused_program_stands_still_with_all_that_it_started(program: Program, tmp_path: Path) -> None:
    """As a machine that hangs; afterwards it goes on, and it can be ended at any time."""
    program.start()
    pids = [program.pid, child_of(program, tmp_path)]
    program.pause()
    until(lambda: [state_of(pid) for pid in pids] == ["T", "T"], what="the pause")
    program.resume()
    until(lambda: [state_of(pid) for pid in pids] == ["S", "S"], what="the end of the pause")
    program.pause()
    program.stop(timeout_s=0)

    assert [state_of(pid) for pid in pids] == ["", ""]


def test_what_has_ended_says_why(tmp_path: Path) -> None:
    """The error carries the exit code and the end of the log."""
    program = Program([sys.executable, "-c", "print('no disk'); raise SystemExit(3)"], log=tmp_path / "log")
    program.start()
    assert program.wait() == 3
    with pytest.raises(LabError, match=r"(?s)exit code 3.*no disk"):
        program.check()
