"""The last lines that machines read: of the demo, the benchmark of the engine and the simulator, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from demo.processes import processes_of, until

ROOT = Path(__file__).parents[2]


def last_line(*module: str, timeout_s: float = 600) -> dict[str, Any]:
    """Run a module to its end, which has to be a good one; return the object on its last line."""
    argv = [sys.executable, "-m", *module]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_demo_loses_no_request_and_says_so() -> None:
    """Releases under load, one braked and rolled back, one whose engine is killed: every figure was measured."""
    result = last_line("demo", "--json")

    assert (result["ok"], result["wrong"], result["requests_failed"]) == (True, [], 0)
    assert result["requests_sent"] > 1_000
    assert min(result["recovery_s"], result["rollback_s"], result["out_of_traffic_s_p50"]) > 0
    assert [one["phase"] for one in result["releases"]].count("success") == 6
    assert {one["kind"] for one in result["releases"]} == {"rollout", "rollback"}


def test_a_demo_that_is_stopped_says_so_and_leaves_nothing() -> None:
    """Whoever reads the last line reads the same keys; nothing that was started goes on."""
    with tempfile.TemporaryDirectory(prefix="rw-") as folder:
        environment = {**os.environ, "TMPDIR": folder}
        argv = [sys.executable, "-u", "-m", "demo", "--json"]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=environment) as demo:
            while "Release 1.0" not in demo.stderr.readline():
                assert demo.poll() is None, "it ended by itself"
            demo.send_signal(signal.SIGTERM)
            out, _ = demo.communicate(timeout=120)

        result = json.loads(out.splitlines()[-1])
        assert (demo.returncode, result["ok"], result["wrong"]) == (1, False, ["stopped before its end"])
        assert {"requests_sent", "requests_failed", "recovery_s", "rollback_s", "out_of_traffic_s_p50"} <= result.keys()
        until(lambda: not processes_of(Path(folder)), what="the end of all that was started")


def test_the_benchmark_of_the_engine_names_speed_limit_and_memory() -> None:
    """Of the size that was asked for; how fast is for a quiet machine to say, not for a test."""
    result = last_line("tests.bench.engine", "--targets", "200", "--only", "--rounds", "1")

    assert {"targets", "transitions_per_s", "limit_per_s", "ratio", "peak_rss_mb"} <= result.keys()
    assert result["targets"] == 200
    assert min(result["transitions_per_s"], result["limit_per_s"], result["ratio"], result["peak_rss_mb"]) > 0
    assert [one["targets"] for one in result["sizes"]] == [200]


def test_the_simulator_counts_worlds_and_violations() -> None:
    """Exit code 0 is that of no violation, and the hash is that of these very worlds."""
    result = last_line("rollwave.testing.simulate", "--seeds", "2")

    assert (result["seeds"], result["violations"]) == (2, 0)
    assert result["releases"] > 0
    assert result["hash"] == last_line("rollwave.testing.simulate", "--seeds", "2", "--jobs", "2")["hash"]
