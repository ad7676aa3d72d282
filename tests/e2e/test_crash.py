"""
The engine is killed with kill -9 at random moments of real releases, under client load, and started again.

Everything is real: the server process, the host driver, a supervisor, Caddy, the application and its clients.
"""

from __future__ import annotations

import random  # noqa: TID251  # seeded: which moments is of no matter, only that they are many
import tempfile
from pathlib import Path

import pytest

from demo.lab import GROUP, Lab
from demo.processes import until

RELEASES = 20
VERSIONS = ("1.0", "1.1")
MOMENTS = 60
"""A release of six targets writes some 80 events; a kill comes after one of the first 60."""


@pytest.fixture
def lab():
    # Not tmp_path: the path of a unix socket has to be short.
    with tempfile.TemporaryDirectory(prefix="rw-") as folder:
        config = {"max_unavailable_percent": 50, "startup_timeout_s": 20, "bake_policy": "auto"}
        lab = Lab(Path(folder), sites={"north": 3, "south": 3}, config=config)
        try:
            lab.start()
            lab.register(dict.fromkeys(VERSIONS, ()))
            yield lab
        finally:
            lab.stop()


def phase_of(lab: Lab, deployment: int) -> str:
    return str(lab.ask(f"/api/v1/deployments/{deployment}")["phase"])


def finish(lab: Lab, deployment: int) -> None:
    until(lambda: phase_of(lab, deployment) == "success", what=f"success of deployment {deployment}", timeout_s=120)


def test_a_release_survives_the_death_of_the_engine_at_any_moment(lab: Lab) -> None:
    """Each release ends in success, no request fails, every target is installed once, and the log has no gap."""
    moments = random.Random(20261122)
    first = lab.cli("deploy", GROUP, VERSIONS[0])["id"]
    finish(lab, first)
    lab.start_load()

    for number in range(1, RELEASES + 1):
        deployment = lab.cli("deploy", GROUP, VERSIONS[number % 2])["id"]
        moment = moments.randrange(1, MOMENTS)
        until(
            lambda: lab.ask(f"/api/v1/deployments/{deployment}")["seq"] >= moment,  # noqa: B023  # used at once
            what=f"event {moment} of deployment {deployment}",
            timeout_s=60,
            every_s=0.01,
        )
        lab.rollwave.crash(deployment)
        lab.rollwave.recover()
        finish(lab, deployment)
        seqs = [event["seq"] for event in lab.events(deployment)]
        assert seqs == list(range(1, len(seqs) + 1))

    lab.stop_load()
    load = lab.load_report()
    assert load["failed"] == 0, load["causes"]
    assert load["sent"] > 100 * RELEASES
    assert set(lab.running_versions().values()) == {VERSIONS[RELEASES % 2]}
    installed = [VERSIONS[number % 2] for number in range(RELEASES + 1)]
    for server in lab.servers:
        starts = (lab.deploy_path(server) / "shared" / "starts.log").read_text(encoding="utf-8").split()
        assert starts == installed, f"{server.name} was started {len(starts)} times in {len(installed)} releases"
