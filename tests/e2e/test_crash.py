"""
The engine is killed with kill -9 at random moments of real releases, under client load, and started again.

Everything is real: the server process, the host driver, a supervisor, Caddy, the application and its clients.
"""

from __future__ import annotations

import random  # noqa: TID251  # seeded: which moments is of no matter, only that they are many
import tempfile
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.lab import GROUP, Lab
from demo.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("1.0", "1.1")
BAD = "1.2"
"""Does not come up in site south: its canary, in north, knows nothing of it; the failures there brake it."""

CAMPAIGNS = {("retry", "abort"): 10, ("rollback",): 9}
"""
What a person does about the bad version, which is the sixth release of each, and how many releases there are: with the
rollback, which follows and is disturbed as well, twenty in all.
"""

BAD_ONE = 6

CLIENTS = 4
"""A quarter of the demo's: what is tried is the engine, and these take a processor of it."""

MOMENTS = 60
"""A release of six targets writes some 80 events; a kill comes after one of the first 60."""

EARLY_MOMENTS = 25
"""A rollback, or what is braked, writes fewer."""

UNDISTURBED = 1
"""Of each campaign so many may be over when the kill comes: the machine may be busy, and the engine is not."""


@pytest.fixture
def lab():
    # Not tmp_path: the path of a unix socket has to be short.
    with tempfile.TemporaryDirectory(prefix="rw-") as folder:
        config = {"max_unavailable_percent": 50, "startup_timeout_s": 20, "bake_policy": "auto"}
        lab = Lab(Path(folder), sites={"north": 3, "south": 3}, config=config)
        try:
            lab.start()
            lab.register({**dict.fromkeys(VERSIONS, ()), BAD: ["south"]})
            yield lab
        finally:
            lab.stop()


class Campaign:
    """Releases in a lab, each of which loses its engine."""

    def __init__(self, lab: Lab, *, seed: int) -> None:
        self.lab = lab
        self.moments = random.Random(seed)
        self.undisturbed = 0
        self.deployments: list[int] = []

    def ask(self, deployment: int) -> Any:
        return self.lab.ask(f"/api/v1/deployments/{deployment}")

    def deploy(self, version: str, *settings: str) -> int:
        given = [word for setting in settings for word in ("--set", setting)]
        return int(self.lab.cli("deploy", GROUP, version, *given)["id"])

    def wait(self, deployment: int, condition: Callable[[Any], Any], *, every_s: float = 0.2) -> Any:
        what = f"what was waited for in deployment {deployment}"
        until(lambda: bool(condition(self.ask(deployment))), what=what, timeout_s=180, every_s=every_s)
        return self.ask(deployment)

    def disturb(self, deployment: int, *, before: int) -> None:
        """Kill the engine after one of the deployment's first events, and start it again."""
        self.deployments.append(deployment)
        moment = self.moments.randrange(1, before)
        self.wait(deployment, lambda one: one["seq"] >= moment, every_s=0.02)
        killed_at = self.lab.rollwave.crash(deployment)
        self.lab.rollwave.recover()
        rest = self.wait(deployment, _is_at_rest)
        after = [
            one for one in self.lab.events(deployment) if datetime.fromisoformat(one["at"]).timestamp() > killed_at
        ]
        self.undisturbed += not after
        assert rest["phase"] == "success" or rest["goal_version"] == BAD, rest["sentence"]

    def suffer(self, course: tuple[str, ...]) -> None:
        """Release the bad version, which brakes itself, and do something about it."""
        bad = self.deploy(BAD, "startup_timeout_s=4")
        self.disturb(bad, before=EARLY_MOMENTS)
        assert self.ask(bad)["brake"]["cause"] == "failures"
        for verb in course:
            self.lab.cli(verb, str(bad))
            if verb == "retry":
                assert self.wait(bad, _is_at_rest)["phase"] != "success"
        assert self.wait(bad, lambda one: one["phase"] == "aborted")
        if course[-1] == "rollback":
            self.disturb(self.wait(bad, lambda one: one["followed_by"])["followed_by"], before=EARLY_MOMENTS)

    def installed(self) -> dict[str, list[str]]:
        """What was installed where, by the logs: each attempt that came through an install has one."""
        found: dict[str, list[str]] = {}
        for deployment in self.deployments:
            version, events = self.ask(deployment)["goal_version"], self.lab.events(deployment)
            assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
            for one in events:
                data = one["data"]
                if one["kind"] == "Transition" and (data["stage"], data["progress"]) == ("install", "success"):
                    found.setdefault(one["instance"], []).append(version)
        return found


def _is_at_rest(one: Any) -> bool:
    return one["phase"] in ("success", "failure") or (one["brake"] and not one["counts"]["in_flight"])


@pytest.mark.parametrize(("course", "releases"), CAMPAIGNS.items(), ids=["retry and abort", "rollback"])
def test_a_release_survives_the_death_of_the_engine_at_any_moment(
    lab: Lab, course: tuple[str, ...], releases: int
) -> None:
    """Each ends as it should, no request fails, every attempt has one effective install, and no log has a gap."""
    campaign = Campaign(lab, seed=20261122 + releases)
    first = campaign.deploy(VERSIONS[0])
    campaign.deployments.append(first)
    campaign.wait(first, _is_at_rest)
    lab.start_load(clients=CLIENTS)

    # Each time the other version: what runs already is proven, which writes too little to be disturbed.
    good = cycle(reversed(VERSIONS))
    version = VERSIONS[0]
    for number in range(1, releases + 1):
        if number == BAD_ONE:
            campaign.suffer(course)
        else:
            version = next(good)
            campaign.disturb(campaign.deploy(version), before=MOMENTS)

    lab.stop_load()
    load = lab.load_report()
    assert load["failed"] == 0, load["causes"]
    assert load["sent"] > 100 * releases
    assert set(lab.running_versions().values()) == {version}
    assert campaign.undisturbed <= UNDISTURBED
    installed = campaign.installed()
    for server in lab.servers:
        starts = (lab.deploy_path(server) / "shared" / "starts.log").read_text(encoding="utf-8").split()
        (name,) = (one for one in installed if one.startswith(f"{GROUP}/{server.name}:"))
        assert starts == installed[name], f"{server.name} was started {len(starts)} times"
