"""A whole distributed set-up, as a person starts it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.installation import BIN, BROKERS
from demo.processes import processes_of
from demo.services import Postgres
from tests.needs import needs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("broker", BROKERS)
def test_up_says_how_to_talk_to_it_and_leaves_nothing(broker: str) -> None:
    """The line that it prints works against every web process, and Ctrl-C ends all that was started."""
    needs(Postgres, BROKERS[broker])
    with tempfile.TemporaryDirectory(prefix="rw-") as folder:
        argv = [sys.executable, "-m", "demo.up", "--broker", broker, "--folder", folder]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
            said = []
            for line in up.stdout:
                said.append(line.strip())
                if line.startswith("Stop with"):
                    break
            assert said[-1].startswith("Stop with"), said

            (line,) = (one for one in said if one.startswith("./dev rollwave get"))
            _, _, *arguments = shlex.split(line)
            endpoints = [one.split()[-1] for one in said if one.startswith("API")]
            assert len(endpoints) == 2
            for endpoint in endpoints:
                place = ["--endpoint", endpoint, "--token-file", f"{folder}/rollwave/token"]
                words = [BIN / "rollwave", *arguments, "--json", *place]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                assert json.loads(done.stdout) == []

            up.send_signal(signal.SIGINT)
            assert up.wait(timeout=60) == 0
        assert not processes_of(Path(folder))
