"""Laws of the database store about many threads on one file: whoever comes second is told so, and nothing is torn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from rollwave.domain import commands as cmd
from rollwave.domain.errors import (
    CommandRepeatedError,
    DeploymentActiveError,
    FencedError,
    RecalledError,
    RollwaveError,
    StateConflictError,
)
from rollwave.domain.model import BrakeCause, Stage
from rollwave.ports.store import CommandKey
from rollwave.store import models
from tests.contract.store.crew import LEASE, NOON, Crew, planned

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 4
KEY = CommandKey(key="once", digest="a" * 64)
BRAKE = cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Make every call in a thread of its own, all let go together; return what each returned, or was refused with."""
    ready = threading.Barrier(len(calls), timeout=30)

    def run(call: Callable[[], object]) -> object:
        try:
            ready.wait()
            return call()
        except RollwaveError as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return list(pool.map(run, calls))


def count(found: list[object], kind: type) -> int:
    return sum(isinstance(one, kind) for one in found)


@pytest.fixture
def goal(django_world):
    """Package 2.0, and a group of four instances."""
    django_world.add_group("shop")
    for number in range(4):
        django_world.add_instance("shop", f"s{number}")
    return django_world.add_package("2.0")


def test_of_decisions_at_once_one_wins(django_world, goal):
    """The others were made on what is no more, and are refused (optimistic, by version)."""
    crew = Crew.begin(django_world, "shop", goal)
    decisions = [crew.decide(BRAKE) for _ in range(THREADS)]

    found = at_once(*[lambda one=one: crew.store.commit([one], at=NOON) for one in decisions])

    assert count(found, tuple) == 1
    assert count(found, StateConflictError) == THREADS - 1


def test_of_claims_at_once_one_wins(django_world, goal):
    """The others go home."""
    crew = Crew.begin(django_world, "shop", goal)

    found = at_once(*[lambda one=one: crew.claim(1, owner=f"worker {one}") for one in range(THREADS)])

    assert found.count(None) == THREADS - 1


def test_of_creations_at_once_one_wins(django_world, goal):
    """The database keeps I5, and names the winner to the others."""
    plan = planned(django_world, "shop", goal)

    found = at_once(*[lambda: django_world.store.create(plan, at=NOON)] * THREADS)

    (created,) = [one for one in found if isinstance(one, int)]
    refused = [one for one in found if isinstance(one, DeploymentActiveError)]
    assert [one.facts["deployment_id"] for one in refused] == [created] * (THREADS - 1)
    assert models.Deployment.objects.count() == 1


def test_the_same_command_at_once_creates_once(django_world, goal):
    """Every caller gets the same deployment (I22)."""
    plan = planned(django_world, "shop", goal)

    found = at_once(*[lambda: django_world.store.create(plan, at=NOON, command=KEY)] * THREADS)

    assert len(set(found)) == 1
    assert models.Deployment.objects.count() == 1


def test_the_same_command_at_once_happens_once(django_world, goal):
    """One is accepted; the others are told that it was, even where their decision was void anyway (I22)."""
    crew = Crew.begin(django_world, "shop", goal)
    decisions = [crew.decide(BRAKE) for _ in range(THREADS)]

    found = at_once(*[lambda one=one: crew.store.commit([one], at=NOON, command=KEY) for one in decisions])

    assert count(found, tuple) == 1
    assert count(found, CommandRepeatedError) == THREADS - 1
    assert [one.phase for one in (crew.state.deployment,)] == [crew.phase]


def test_a_fenced_worker_records_nothing_more(django_world, goal):
    """However its write and the takeover race: what it wrote was written before it lost the slice (I9)."""
    crew = Crew.begin(django_world, "shop", goal)
    first = crew.claim(1)
    one = crew.jobs(first)[0].target.instance_id
    seen = crew.record(first, crew.saw(one, Stage.MARKDOWN), lease_until=NOON)

    written, second = at_once(
        lambda: crew.store.commit([], [seen], at=NOON),
        lambda: crew.claim(1, owner="bob", now=NOON + LEASE),
    )

    stood = next(job.target.stage for job in crew.jobs(second) if job.target.instance_id == one)
    assert stood is (None if isinstance(written, FencedError) else Stage.MARKDOWN)
    with pytest.raises(FencedError):
        crew.store.commit([], [seen], at=NOON)


def test_a_recalled_worker_begins_nothing_more(django_world, goal):
    """However its write and the hold race: after the hold nothing is recorded until the worker has looked (I23)."""
    crew = Crew.begin(django_world, "shop", goal)
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    seen = crew.record(claim, crew.saw(one, Stage.MARKDOWN))

    written, _ = at_once(
        lambda: crew.store.commit([], [seen], at=NOON),
        lambda: crew.store.set_hold(one, hold=True, actor="ann", reason="", at=NOON),
    )

    assert crew.target(one).stage is (None if isinstance(written, RecalledError) else Stage.MARKDOWN)
    with pytest.raises(RecalledError):
        crew.store.commit([], [seen], at=NOON)


def test_workers_that_write_at_once_leave_no_gap(django_world, goal):
    """Every acknowledged record is in the log, which is numbered without a gap (I21, checked for every test here)."""
    crew = Crew.begin(django_world, "shop", goal)
    claim = crew.claim(1)
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    before = len(django_world.log(crew.id))
    seen = {instance: crew.record(claim, crew.saw(instance, Stage.MARKDOWN)) for instance in (one, other)}

    at_once(
        *[
            lambda record=seen[instance]: [crew.store.commit([], [record], at=NOON) for _ in range(10)]
            for instance in (one, other)
        ]
    )

    assert len(django_world.log(crew.id)) == before + 20


def test_a_reader_never_sees_half_a_commit(django_world, goal):
    """Deployment and targets are of the same instant, and a reader waits for no writer."""
    crew = Crew.begin(django_world, "shop", goal)
    release = cmd.Resume(actor="ann")

    def write():
        for turn in range(20):
            crew.act(release if turn % 2 else BRAKE)

    def read():
        return [crew.store.load(crew.id) for _ in range(20)]

    _, loaded = at_once(write, read)

    for one in loaded:
        # Every decision raises both, and only decisions do.
        assert one.group_versions["shop"] - one.version == loaded[0].group_versions["shop"] - loaded[0].version
        assert (one.state.deployment.brake is not None) is (one.version % 2 == 0)


def test_a_traffic_reservation_and_an_admission_exclude_each_other(django_world, goal):
    """Whichever comes first: either the wish is refused, or the worker that comes hears of the reservation."""
    crew = Crew.create(django_world, "shop", goal)
    wish = next(iter(django_world.store.wishes()))
    start = crew.decide(cmd.Start(actor="ann"))

    reserved, _ = at_once(
        lambda: crew.store.reserve_traffic(wish, now=NOON, until=NOON + timedelta(seconds=6)),
        lambda: crew.store.commit([start], at=NOON),
    )

    job = next(job for job in crew.jobs(crew.claim(1)) if job.target.instance_id == wish.instance_id)
    assert job.not_before == (NOON + timedelta(seconds=6) if reserved else None)
