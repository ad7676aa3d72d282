"""The run: one release after the other under client load, one or two faults in each, and the laws after each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from demo.chaos.faults import Deck, Fault, Scene
from demo.chaos.lab import LIMIT
from demo.chaos.laws import Laws, Requests, Stops
from demo.chaos.watch import Watch, Watcher
from demo.chaos.windows import Windows
from demo.lab import GROUP
from demo.processes import LabError, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from demo.chaos.lab import ChaosLab

REST_S: Final = 240.0
"""How long a release may take until it is over or waits for an operator, faults and a loaded machine included (I19)."""

FINAL: Final = ("succeeded", "aborted")
WAITING: Final = ("waiting", "braked", "failed")

HELP: Final = ("retry", "resume", "rollout", "bake", "next")
"""What an operator does with a release that waits, the first that is open."""

PATIENCE: Final = 5
"""How often an operator does so before giving the release up."""

TWO_FAULTS: Final = 1 / 3
"""How many releases have two."""


@dataclass
class Findings:
    """
    What came of it.

    Attributes:
        releases: How many there were, beside the first one in quiet.
        faults: Those that struck, by kind.
        too_late: Those whose moment came when nothing was left of the release, by kind.
        requests: What clients saw.
        recovery_s: From a worker's death until the release went on.
        takeover_s: From a worker's death until another one had its work.
        remembered_s: From the return of an HAProxy until it knew again who is out of traffic.
        stops: When applications were stopped and started.
        looks: How often an HAProxy was asked who is out.
        most_out: The most that one of them was told to keep out at a time.
        violations: Every law that was broken.
    """

    releases: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    too_late: Counter[str] = field(default_factory=Counter)
    requests: Requests = field(default_factory=Requests)
    recovery_s: list[float] = field(default_factory=list)
    takeover_s: list[float] = field(default_factory=list)
    remembered_s: list[float] = field(default_factory=list)
    stops: Stops = field(default_factory=Stops)
    looks: int = 0
    most_out: int = 0
    violations: list[str] = field(default_factory=list)


class Run:
    """
    Carries out releases in a lab.

    Args:
        lab: Where; it runs.
        seed: What faults are picked by.
        say: Told one line per release, for a person.
        findings: What came of it is put there.
    """

    def __init__(self, lab: ChaosLab, *, seed: int, say: Callable[[str], None], findings: Findings) -> None:
        self._lab = lab
        self._say = say
        self._chance = random.Random(seed)
        self._deck = Deck(self._chance)
        self._windows = Windows()
        self._laws = Laws(lab, self._windows)
        self._watch = Watch(limit=LIMIT)
        self._told = 0
        self.findings = findings

    def play(self, releases: int) -> None:
        """Carry out *releases*, after a first one in quiet."""
        self._lab.register({})
        self._release("1.0", ())
        self._lab.start_load()
        with Watcher(self._watch, edges=self._lab.edges, hosts=self._lab.hosts):
            for number in range(1, releases + 1):
                faults = self._deck.deal(2 if self._chance.random() < TWO_FAULTS else 1)
                self._release(f"1.{number}", faults)
                self.findings.releases += 1
        self._lab.stop_load()
        self._judge_requests(Story())

    def _release(self, version: str, faults: Sequence[Fault]) -> None:
        hit = [self._victims() for _ in faults]
        self._lab.push(version)
        began = time.monotonic()
        deployment = int(self._lab.tell("/api/v1/deployments", {"group": GROUP, "version": version})["id"])
        story = Story()
        resting = threading.Event()
        scenes = [Scene(lab=self._lab, windows=self._windows, deployment=deployment, **one) for one in hit]
        threads = [
            threading.Thread(target=self._cause, args=(fault, scene, resting), name=fault.name)
            for fault, scene in zip(faults, scenes, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            self._rest(deployment)
        except LabError as error:
            self.findings.violations.append(str(error))
            story.wrong.append(str(error))
        finally:
            resting.set()
            for thread in threads:
                thread.join()
        rested_at = time.time()
        for fault in faults:
            if fault.error is not None:
                raise fault.error
        self._count(deployment, story, faults=faults, scenes=scenes, before=rested_at)
        end = self._help_to_the_end(deployment, story)
        seconds = time.monotonic() - began
        self._judge(deployment, story, version=version, succeeded=end == "succeeded")
        ended = f"{end} after {seconds:.0f} s"
        self._say(_line(version, faults, ended, story))

    def _victims(self) -> dict[str, Any]:
        chance = self._chance
        return {
            "host": chance.choice(self._lab.hosts),
            "worker": chance.randrange(1, 3),
            "web": chance.randrange(2),
            "edge": chance.choice(self._lab.edges),
        }

    def _cause(self, fault: Fault, scene: Scene, resting: threading.Event) -> None:
        while not resting.is_set() and self._lab.rollwave.seq(scene.deployment) < fault.moment:
            time.sleep(0.02)
        if not resting.is_set():
            fault.happen(scene, resting=resting)

    # --- what an operator does ---

    def _rest(self, deployment: int) -> str:
        """Wait until the release is over or waits for an operator, with nothing in flight; return its status."""
        seen: dict[str, Any] = {}

        def rests() -> bool:
            seen.update(self._lab.ask(f"/api/v1/deployments/{deployment}"))
            is_idle = not seen["counts"].get("in_flight")
            return seen["status"] in FINAL or (seen["status"] in WAITING and is_idle)

        try:
            until(rests, what="rest", timeout_s=REST_S, every_s=0.3)
        except LabError:
            status, sentence = seen.get("status"), seen.get("sentence")
            message = f"deployment {deployment} did not come to rest within {REST_S:g} s: {status}: {sentence}"
            raise LabError(message) from None
        return str(seen["status"])

    def _help_to_the_end(self, deployment: int, story: Story) -> str:
        """Do what an operator would, with all faults over, until the release is; return how it ended."""
        for _ in range(PATIENCE):
            status = self._rest(deployment)
            if status in FINAL:
                return status
            one = self._lab.ask(f"/api/v1/deployments/{deployment}")
            action = next((action for action in HELP if action in one["available_actions"]), None)
            if action is None:
                break
            story.helped.append(f"{action} ({one['sentence']})")
            self._act(deployment, action)
        story.helped.append("abort")
        self._act(deployment, "abort")
        return self._rest(deployment)

    def _act(self, deployment: int, action: str) -> None:
        self._lab.tell(f"/api/v1/deployments/{deployment}/actions/{action}", {"reason": "chaos"})

    # --- what is judged ---

    def _judge(self, deployment: int, story: Story, *, version: str, succeeded: bool) -> None:
        wrong = [
            *self._laws.of_traffic(),
            *self._laws.of_log(deployment),
            *self._laws.of_canary(deployment, version),
            *self._laws.of_stops(),
            *self._laws.of_installs(),
            *self._laws.of_fences(),
            *self._laws.of_hosts(goal=version if succeeded else None),
            *self._seen_meanwhile(),
        ]
        self.findings.violations += wrong
        story.wrong += wrong
        self.findings.stops = self._laws.stops
        self.findings.looks, self.findings.most_out = self._watch.looks, self._watch.most_out
        self._judge_requests(story)

    def _seen_meanwhile(self) -> list[str]:
        """Return what the watch has noted since it was last asked."""
        told = self._watch.broken[self._told :]
        self._told += len(told)
        return told

    def _judge_requests(self, story: Story) -> None:
        before = self.findings.requests
        now, wrong = self._laws.of_requests()
        self.findings.requests = now
        self.findings.violations += wrong
        story.wrong += wrong
        story.sent, story.failed = now.sent - before.sent, now.failed - before.failed
        story.moved = now.moved - before.moved

    # --- what is measured ---

    def _count(
        self, deployment: int, story: Story, *, faults: Sequence[Fault], scenes: Sequence[Scene], before: float
    ) -> None:
        """Count the faults that struck: after which the release still did something by itself, before that time."""
        events = [datetime.fromisoformat(event["at"]).timestamp() for event in self._lab.events(deployment)]
        for fault, scene in zip(faults, scenes, strict=True):
            later = [] if fault.began_at is None else [at for at in events if fault.began_at < at < before]
            fault.struck = bool(later)
            (self.findings.faults if fault.struck else self.findings.too_late)[fault.name] += 1
            story.remembered_s += scene.remembered_s
            story.wrong += scene.wrong
            self.findings.violations += scene.wrong
            if fault.name == "worker killed" and fault.began_at is not None and later and scene.held:
                story.recovery_s.append(min(later) - fault.began_at)
                taken = [at for at, number in self._lab.rollwave.takeovers(deployment) if number in scene.held]
                story.takeover_s += sorted(at - fault.began_at for at in taken if at > fault.began_at)[:1]
        self.findings.recovery_s += story.recovery_s
        self.findings.takeover_s += story.takeover_s
        self.findings.remembered_s += story.remembered_s


@dataclass
class Story:
    """What happened in one release."""

    sent: int = 0
    failed: int = 0
    moved: int = 0
    recovery_s: list[float] = field(default_factory=list)
    takeover_s: list[float] = field(default_factory=list)
    remembered_s: list[float] = field(default_factory=list)
    helped: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def _line(version: str, faults: Sequence[Fault], ended: str, story: Story) -> str:
    happened = "; ".join(_told_of(fault) for fault in faults)
    parts = [f"{version:5} {happened or 'no fault'}: {ended}"]
    parts += [f"next event {one:.1f} s after the death" for one in story.recovery_s]
    parts += [f"taken over after {one:.1f} s" for one in story.takeover_s]
    parts += [f"put right {one:.1f} s after its return" for one in story.remembered_s]
    if story.sent:
        parts.append(f"{story.sent:,} requests, {story.failed} failed")
    if story.moved:
        parts.append(f"{story.moved} taken to the other HAProxy")
    parts += [f"operator: {one}" for one in story.helped]
    parts += [f"VIOLATION: {one}" for one in story.wrong]
    return ", ".join(parts)


def _told_of(fault: Fault) -> str:
    if not fault.struck:
        return f"{fault.name} (too late: event {fault.moment})"
    return f"{fault.name} ({fault.victim}, event {fault.moment}, {fault.hold_s:.0f} s)"
