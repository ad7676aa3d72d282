"""
The story that the demo tells, step by step, through the command line that anybody would use.

First release, a good upgrade, a bad one that brakes itself, its rollback, a ``kill -9`` of what drives a release, a
hold. Clients send requests from the first release to the end.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from demo.lab import GROUP, Lab
from demo.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")
BROKEN_SITES = {"1.2": ["south"]}
"""1.2 does not come up in site south: its canary, in north, knows nothing of it."""


@dataclass
class Findings:
    """What was measured on the way."""

    recovery_s: float | None = None
    rollback_s: float | None = None
    out_of_traffic_s: list[float] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Story:
    """
    Plays the demo in a lab.

    Args:
        lab: Where.
        say: Told what happens, for a person.
        shows_tree: Whether the live tree of every release goes to the terminal.
    """

    def __init__(self, lab: Lab, *, say: Callable[[str], None], shows_tree: bool) -> None:
        self._lab = lab
        self._say = say
        self._shows_tree = shows_tree
        self.findings = Findings()

    def play(self) -> None:
        """Play all of it."""
        self._lab.register({version: BROKEN_SITES.get(version, ()) for version in VERSIONS})
        self._say("Release 1.0: the first one, to twelve empty servers")
        self._release("1.0")
        self._lab.start_load()
        self._say("Release 1.1 under client load: canary, verify, bake, batches")
        self._release("1.1")
        self._say("Release 1.2, which does not come up in site south: it brakes itself")
        self._bad_release("1.2")
        self._say(f"Release 1.3, and kill -9 of {self._lab.rollwave.victim} in the middle of it")
        self._release_with_a_crash("1.3")
        self._say("Release 1.4 with one server held by an operator, who gives it back afterwards")
        self._release_with_a_hold("1.4", held="s6")
        self._check("1.4")

    # --- steps ---

    def _release(self, version: str) -> None:
        deployment = self._deploy(version)
        with self._tree(deployment):
            self._promote_to_the_end(deployment)
        self._note(deployment, expected="success")

    def _bad_release(self, version: str) -> None:
        deployment = self._deploy(version)
        with self._tree(deployment):
            self._promote(deployment)
            self._promote(deployment)
            self._wait(deployment, lambda one: one["brake"] is not None and not one["counts"].get("in_flight"))
            self._say("It has braked; roll it back")
            began = time.monotonic()
            self._lab.cli("rollback", GROUP, "--reason", "1.2 does not come up in south")
            self._wait(deployment, lambda one: one["followed_by"] is not None)
        rollback = self._get(deployment)["followed_by"]
        with self._tree(rollback):
            self._wait(rollback, lambda one: one["phase"] == "success")
        self.findings.rollback_s = time.monotonic() - began
        self._note(deployment, expected="aborted")
        self._note(rollback, expected="success")

    def _release_with_a_crash(self, version: str) -> None:
        deployment = self._deploy(version)
        self._promote(deployment)
        self._promote(deployment)
        self._wait(deployment, lambda one: one["counts"].get("success", 0) >= 4 and one["counts"].get("in_flight"))
        killed_at = self._lab.rollwave.crash(deployment)
        self._say(f"Killed. {self._lab.rollwave.afterwards}")
        self._lab.rollwave.recover()
        with self._tree(deployment):
            self._wait(deployment, lambda one: one["phase"] == "success")
        self._lab.rollwave.start()
        after = [at for at in map(_at, self._lab.events(deployment)) if at > killed_at]
        self.findings.recovery_s = min(after) - killed_at
        self._note(deployment, expected="success")

    def _release_with_a_hold(self, version: str, *, held: str) -> None:
        self._lab.cli("hold", GROUP, held, "--reason", "disk replaced")
        deployment = self._deploy(version)
        with self._tree(deployment):
            self._promote_to_the_end(deployment)
        self._note(deployment, expected="success")
        self._lab.cli("unhold", GROUP, held, "--reason", "disk is fine")
        self._say("The held server comes back; the others are proven where they stand, and left alone")
        catch_up = self._deploy(version)
        with self._tree(catch_up):
            self._promote_to_the_end(catch_up)
        self._note(catch_up, expected="success")

    # --- what the steps are made of ---

    def _tree(self, deployment: int) -> _Tree:
        return _Tree(self._lab, deployment, shown=self._shows_tree)

    def _deploy(self, version: str) -> int:
        return int(self._lab.cli("deploy", GROUP, version, "--reason", f"demo of {version}")["id"])

    def _get(self, deployment: int) -> dict[str, Any]:
        answer = self._lab.ask(f"/api/v1/deployments/{deployment}")
        assert isinstance(answer, dict)
        return answer

    def _wait(self, deployment: int, condition: Callable[[dict[str, Any]], Any]) -> None:
        until(lambda: bool(condition(self._get(deployment))), what=f"deployment {deployment}", timeout_s=180)

    def _promote(self, deployment: int) -> None:
        """Do whatever is next, as soon as it is open."""
        self._wait(deployment, lambda one: {"bake", "rollout"} & set(one["available_actions"]))
        self._lab.cli("promote", str(deployment))

    def _promote_to_the_end(self, deployment: int) -> None:
        self._promote(deployment)
        self._promote(deployment)
        self._wait(deployment, lambda one: one["phase"] == "success")

    def _note(self, deployment: int, *, expected: str) -> None:
        one = self._get(deployment)
        if one["phase"] != expected:
            self.findings.wrong.append(f"deployment {deployment} ended as {one['phase']}, not {expected}")
        self.findings.out_of_traffic_s += _times_out_of_traffic(self._lab.events(deployment))
        self.findings.releases.append(
            {
                "id": deployment,
                "kind": one["kind"],
                "version": one["goal_version"],
                "phase": one["phase"],
                "batches": [batch["counts"]["total"] for batch in one["batches"]],
                "seconds": _seconds_between(one["created_at"], one["ended_at"]),
            }
        )

    def _check(self, goal: str) -> None:
        """Ask the processes themselves, not the engine."""
        for server, version in self._lab.running_versions().items():
            if version != goal:
                self.findings.wrong.append(f"{server} runs {version or 'nothing'}, not {goal}")


class _Tree:
    """Shows the live tree of a release while the story goes on."""

    def __init__(self, lab: Lab, deployment: int, *, shown: bool) -> None:
        self._argv = lab.rollwave.argv("get", str(deployment), "--watch")
        self._shown = shown
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if self._shown:
            self._process = subprocess.Popen(self._argv)

    def __exit__(self, *_exception: object) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout=10)  # it ends by itself when the deployment does
            except subprocess.TimeoutExpired:
                self._process.terminate()
                self._process.wait()


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _seconds_between(begin: str, end: str | None) -> float | None:
    if end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _times_out_of_traffic(events: list[dict[str, Any]]) -> list[float]:
    """Return, for every target that was pulled out and put back, how long it was out, in seconds."""
    out_since: dict[str, float] = {}
    times = []
    for event in events:
        if event["kind"] != "Transition":
            continue
        step = (event["data"]["stage"], event["data"]["progress"])
        if step == ("markdown", "running"):
            out_since.setdefault(event["instance"], _at(event))
        elif step == ("markup", "success") and event["instance"] in out_since:
            times.append(_at(event) - out_since.pop(event["instance"]))
    return times


def median(values: list[float]) -> float | None:
    """Return the median, None of nothing."""
    return statistics.median(values) if values else None
