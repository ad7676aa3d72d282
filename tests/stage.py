"""
A release on a stage: the real store and the real decisions, with hosts that do what a test says, when it says so.

To be used in a process of its own over a data directory that others serve, or in that of a test.
"""

from __future__ import annotations

import random  # noqa: TID251  # seeded: which target moves next is of no matter, only that it is the same one each time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rollwave.domain.commands import Settlement, SliceReported
from rollwave.domain.model import Course, Entry, Failure, Kind, PackageRef, Progress, Stage, Standing
from rollwave.engine.releases import Releases
from rollwave.ports.store import Claim, SliceRecord, Transition
from rollwave.store import models
from rollwave.store.django_store import DjangoStore
from rollwave.system import SystemClock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from rollwave.domain import commands as cmd
    from rollwave.domain.commands import Command
    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.model import State

CHAIN = (Stage.MARKDOWN, Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY, Stage.MARKUP)

UNWELL = Failure(
    code="health.timeout",
    message="shop/fra-017:8080 did not answer /healthz well within 30 s; last seen: status 503",
    stage=Stage.VERIFY,
)
FULL = Failure(code="host.disk_full", message="No space left on device: /srv/shop/releases", stage=Stage.DOWNLOAD)
FORGED = Failure(
    code="package.checksum_mismatch", message="sha256 is 9f2c.., the manifest says 41aa..", stage=Stage.DOWNLOAD
)


def make_group(name: str, count: int, *, app: str = "shop", stable: str = "4.17.2", goal: str = "4.18.0") -> PackageRef:
    """Register *count* instances that run *stable*, and two packages; return the one to release."""
    clock = SystemClock()
    row = models.App.objects.get_or_create(name=app)[0]
    group = models.Group.objects.create(
        app=row, name=name, deploy_path="/srv/{server}", start=["start"], stop=["stop"], executor="local"
    )
    sites = ("fra2", "iad1", "sin1", "syd1", "gru1", "nrt1")
    servers = models.Server.objects.bulk_create(
        (
            models.Server(name=f"{name}-{sites[one % 6]}-{one:05}", address="127.0.0.1", site=sites[one % 6])
            for one in range(count)
        ),
        batch_size=5_000,
    )
    models.Instance.objects.bulk_create(
        (models.Instance(group=group, server=one, port=8080, new=False, version=stable) for one in servers),
        batch_size=5_000,
    )
    packages = [
        models.Package.objects.get_or_create(
            app=row,
            version=version,
            defaults={
                "sha256": "0" * 64,
                "size": 41_200_000,
                "manifest": b"{}",
                "signature": b"",
                "key_id": "0",
                "url": "file:///",
                "pushed_by": "ci",
                "pushed_at": clock.now(),
            },
        )[0]
        for version in (stable, goal)
    ]
    # What runs was released once: that is what a rollback goes back to.
    models.Deployment.objects.create(
        group=group, kind="rollout", goal=packages[0], config={}, initial=True, starts=True, phase="success",
        batches=[], actor="ci", created_at=clock.now() - timedelta(days=9), ended_at=clock.now() - timedelta(days=9),
    )  # fmt: skip
    return PackageRef(id=packages[1].pk, version=goal)


class Play:
    """
    One release, played step by step.

    Args:
        group: Name of the group.
        goal: What is released.
        config: Settings of the release.
        actor: Who asks for everything.
        seed: The same seed plays the same.

    Attributes:
        id: The release.
        begun: How often a target began.
    """

    def __init__(
        self, group: str, goal: PackageRef, *, config: DeploymentConfig, actor: str = "Lin Wei", seed: int = 1
    ) -> None:
        self.clock = SystemClock()
        self.releases = Releases(DjangoStore())
        self.actor = actor
        self.begun = 0
        self._random = random.Random(seed)
        self._claims: dict[int, Claim] = {}
        self._places: dict[int, int] = {}
        planned = self.releases.plan(
            group, kind=Kind.ROLLOUT, config=config, goal=goal, starts=True, actor=actor, reason="weekly release"
        )
        self.id = self.releases.create(planned, now=self.clock.now())

    @property
    def state(self) -> State:
        """The release as it stands."""
        return self.releases.load(self.id).state

    def act(self, command: type[Any], **facts: Any) -> State:
        """Give a command; return the state after it."""
        return self._decide(command(actor=self.actor, **facts))

    def flying(self) -> dict[int, int]:
        """Return how far each target is that is in flight: the place in the chain of the stage it is in."""
        state = self.state
        for number, one in state.deployment.slices.items():
            if number not in self._claims:
                self._claims[number] = self._claim(number)
                if one.course is Course.PRESTAGE:
                    self._decide(SliceReported(slice=number, done=True))
        flying = {one.instance_id for one in state.targets.values() if one.standing is Standing.IN_FLIGHT}
        self._places = {one: place for one, place in self._places.items() if one in flying}
        begun = flying - self._places.keys()
        self.begun += len(begun)
        for one in begun:
            self._places[one] = 4 if state.targets[one].entry is Entry.BAKE else 0
        self._record(state, [self._seen(state, one, CHAIN[self._places[one]], Progress.RUNNING) for one in begun])
        return self._places

    def step(self, count: int, *, failures: dict[int, Failure] | None = None) -> int:
        """Let *count* targets in flight do one step; return how many did. *failures*: those that fail, and why."""
        flying = self.flying()
        chosen = self._random.sample(sorted(flying), min(count, len(flying)))
        self.advance(chosen, failures or {})
        return len(chosen)

    def advance(self, chosen: Iterable[int], failures: dict[int, Failure]) -> None:
        """Let targets in flight do one step."""
        state = self.state
        seen: list[Transition] = []
        settled: list[Settlement] = []
        for one in chosen:
            place = self._places[one]
            target = state.targets[one]
            course = state.deployment.slices[target.slice or 0].course
            last = CHAIN.index(Stage.VERIFY) if course is Course.CANARY else len(CHAIN) - 1
            if one in failures:
                failure = failures[one]
                for stage in CHAIN[place : CHAIN.index(failure.stage)]:
                    seen += [self._seen(state, one, stage, how) for how in (Progress.RUNNING, Progress.SUCCESS)]
                seen.append(self._seen(state, one, failure.stage, Progress.RUNNING))
                seen.append(self._seen(state, one, failure.stage, Progress.FAILURE, failure))
                settled.append(_settled(one, Standing.FAILED, failure.stage, failure=failure, version="4.17.2"))
                continue
            seen.append(self._seen(state, one, CHAIN[place], Progress.SUCCESS))
            if place == last:
                standing = Standing.VERIFIED if course is Course.CANARY else Standing.SUCCESS
                settled.append(_settled(one, standing, CHAIN[place], version=state.deployment.goal.version))
            else:
                self._places[one] = place + 1
                seen.append(self._seen(state, one, CHAIN[place + 1], Progress.RUNNING))
        self._record(state, seen)
        for number in sorted({state.targets[one.instance_id].slice or 0 for one in settled}):
            mine = tuple(one for one in settled if state.targets[one.instance_id].slice == number)
            self._decide(SliceReported(slice=number, settled=mine))

    def unanswered(self, chosen: Collection[int]) -> None:
        """Let the stages of targets in flight go without an answer."""
        state = self.state
        self._record(state, [self._seen(state, one, CHAIN[self._places[one]], Progress.UNKNOWN) for one in chosen])

    def finish(self) -> None:
        """Let all that is in flight go through to its end, and what follows, until nothing moves."""
        while self.step(1_000_000):
            pass

    def until(self, done: int) -> None:
        """Go on until *done* targets are done, or nothing moves."""
        while sum(one.standing is Standing.SUCCESS for one in self.state.targets.values()) < done:
            if not self.step(max(1, len(self.flying()) // 3)):
                return

    def _claim(self, number: int) -> Claim:
        now = self.clock.now()
        claim = self.releases.store.claim(
            (self.id, number), owner="stage", now=now, lease_until=now + timedelta(hours=9)
        )
        assert claim is not None
        return claim

    def _seen(
        self, state: State, one: int, stage: Stage, progress: Progress, failure: Failure | None = None
    ) -> Transition:
        return Transition(
            instance_id=one,
            attempt=state.targets[one].attempt,
            stage=stage,
            progress=progress,
            at=self._now(),
            failure=failure,
        )

    def _record(self, state: State, seen: Sequence[Transition]) -> None:
        by_slice: dict[int, list[Transition]] = {}
        for one in seen:
            by_slice.setdefault(state.targets[one.instance_id].slice or 0, []).append(one)
        records = [
            SliceRecord(
                key=(self.id, number),
                epoch=self._claims[number].epoch,
                recalls=self._claims[number].recalls,
                lease_until=self._now() + timedelta(hours=9),
                transitions=tuple(mine),
            )
            for number, mine in by_slice.items()
        ]
        if records:
            self.releases.store.commit([], records, at=self._now())

    def _decide(self, event: Command | SliceReported | cmd.TimeCame) -> State:
        loaded = self.releases.act(self.id, event, now=self._now())
        self.releases.remember(loaded)
        return loaded.state

    def _now(self) -> datetime:
        return self.clock.now()


def _settled(one: int, standing: Standing, stage: Stage, *, version: str, failure: Failure | None = None) -> Settlement:
    progress = Progress.FAILURE if failure else Progress.SUCCESS
    return Settlement(
        instance_id=one, standing=standing, stage=stage, progress=progress, failure=failure, version=version
    )
