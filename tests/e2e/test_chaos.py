"""A short chaos run, as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.chaos.network import BRIDGE, NAMESPACES, PREFIX, require_tools
from demo.processes import processes_of
from demo.services import Postgres, RabbitMQ
from tests.needs import needs

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs(Postgres, RabbitMQ)
    if os.geteuid() != 0:
        pytest.skip("only root may build networks")
    require_tools()


def start(*arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "demo.chaos", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)


def assert_nothing_is_left(folder: Path) -> None:
    assert not folder.exists()
    assert processes_of(folder) == []
    assert [*NAMESPACES.glob(PREFIX + "*")] == []
    assert not Path("/sys/class/net", BRIDGE).exists()
    assert str(folder) not in Path("/proc/self/mounts").read_text(encoding="utf-8")


def folder_in(line: str) -> Path:
    folder = Path(line.rsplit(maxsplit=1)[-1])
    assert folder.is_relative_to(tempfile.gettempdir())
    return folder


def test_a_short_run_breaks_no_law_and_leaves_nothing() -> None:
    """A worker, a host and an HAProxy are killed, and no client notices; its last line tells machines so."""
    with start("--releases", "3", "--seed", "20261516") as run:
        lines = run.communicate(timeout=900)[0].splitlines()

    result = json.loads(lines[-1])
    assert (run.returncode, result["violations"], result["releases"]) == (0, 0, 3), "\n".join(lines)
    assert result["faults"] == {"HAProxy killed": 1, "host killed": 1, "worker killed": 1}
    assert result["requests_failed"] == 0
    assert result["requests_moved"] > 0, "no client has met the HAProxy that was dead"
    assert result["requests_sent"] > 1000
    assert result["looks"] > 0, "nobody looked who is out of traffic"
    assert result["stops_seen"] > 0, "nobody saw an application be stopped"
    assert_nothing_is_left(folder_in(lines[0]))


def test_an_interrupted_run_leaves_nothing() -> None:
    """Ctrl-C in the middle of a release ends all that was started."""
    with start("--releases", "9", "--seed", "20261123") as run:
        folder = folder_in(run.stdout.readline())
        while not run.stdout.readline().startswith("1.0"):
            pass
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=120)

    assert run.returncode == 130
    assert_nothing_is_left(folder)
