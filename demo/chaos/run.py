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
from demo.chaos.laws import Laws, Requests
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
    """What came of it."""

    releases: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    requests: Requests = field(default_factory=Requests)
    recovery_s: list[float] = field(default_factory=list)
    takeover_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Run:
    """
    Carries out releases in a lab.

    Args:
        lab: Where; it runs.
        seed: What faults are picked by.
        say: Told one line per release, for a person.
    """

    def __init__(self, lab: ChaosLab, *, seed: int, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._say = say
        self._chance = random.Random(seed)
        self._deck = Deck(self._chance)
        self._windows = Windows()
        self._laws = Laws(lab, self._windows)
        self.findings = Findings()

    def play(self, releases: int) -> None:
        """Carry out *releases*, after a first one in quiet."""
        self._lab.register({})
        self._release("1.0", ())
        self._lab.start_load()
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
        for fault in faults:
            self.findings.faults[fault.name] += 1
            if fault.error is not None:
                raise fault.error
        end = self._help_to_the_end(deployment, story)
        seconds = time.monotonic() - began
        self._judge(deployment, story, goal=version if end == "succeeded" else None)
        self._measure(deployment, story, faults=faults, scenes=scenes)
        ended = f"{end} after {seconds:.0f} s"
        self._say(_line(version, faults, ended, story))

    def _victims(self) -> dict[str, Any]:
        chance = self._chance
        return {"host": chance.choice(self._lab.hosts), "worker": chance.randrange(1, 3), "web": chance.randrange(2)}

    def _cause(self, fault: Fault, scene: Scene, resting: threading.Event) -> None:
        while not resting.is_set() and self._lab.rollwave.seq(scene.deployment) < fault.moment:
            time.sleep(0.02)
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

    def _judge(self, deployment: int, story: Story, *, goal: str | None) -> None:
        wrong = [
            *self._laws.of_traffic(),
            *self._laws.of_log(deployment),
            *self._laws.of_installs(),
            *self._laws.of_hosts(goal=goal),
        ]
        self.findings.violations += wrong
        story.wrong += wrong
        self._judge_requests(story)

    def _judge_requests(self, story: Story) -> None:
        before = self.findings.requests
        now, wrong = self._laws.of_requests()
        self.findings.requests = now
        self.findings.violations += wrong
        story.wrong += wrong
        story.sent, story.failed = now.sent - before.sent, now.failed - before.failed

    def _measure(self, deployment: int, story: Story, *, faults: Sequence[Fault], scenes: Sequence[Scene]) -> None:
        """Note when the release went on after a worker's death, and when another worker had the work of the dead."""
        for fault, scene in zip(faults, scenes, strict=True):
            killed_at = fault.began_at
            if fault.name != "worker killed" or killed_at is None:
                continue
            times = (datetime.fromisoformat(event["at"]).timestamp() for event in self._lab.events(deployment))
            story.recovery_s += sorted(at - killed_at for at in times if at > killed_at)[:1]
            takeovers = self._lab.rollwave.takeovers(deployment)
            took = [at - killed_at for at, number in takeovers if number in scene.held and at > killed_at]
            story.takeover_s += sorted(took)[:1]
        self.findings.recovery_s += story.recovery_s
        self.findings.takeover_s += story.takeover_s


@dataclass
class Story:
    """What happened in one release."""

    sent: int = 0
    failed: int = 0
    recovery_s: list[float] = field(default_factory=list)
    takeover_s: list[float] = field(default_factory=list)
    helped: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def _line(version: str, faults: Sequence[Fault], ended: str, story: Story) -> str:
    happened = "; ".join(f"{one.name} ({one.victim}, event {one.moment}, {one.hold_s:.0f} s)" for one in faults)
    parts = [f"{version:5} {happened or 'no fault'}: {ended}"]
    parts += [f"next event {one:.1f} s after the death" for one in story.recovery_s]
    parts += [f"taken over after {one:.1f} s" for one in story.takeover_s]
    if story.sent:
        parts.append(f"{story.sent:,} requests, {story.failed} failed")
    parts += [f"operator: {one}" for one in story.helped]
    parts += [f"VIOLATION: {one}" for one in story.wrong]
    return ", ".join(parts)
