"""Laws of what is counted: every number is checked against what a release in virtual time is known to have done."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from rollwave.domain.errors import FencedError
from rollwave.domain.model import BrakeCause, Course, Phase, Progress, Stage
from rollwave.ports.store import Claim
from rollwave.ports.telemetry import Census, Part
from rollwave.telemetry.prometheus import Prometheus
from tests.contract.store.worlds import NOON
from tests.unit.telemetry.scene import INSTALL_S, VERIFY_S, Scene

QUIET = Census(phases={}, brakes={}, waiting=0, held=0, abandoned=0, oldest_s=0.0)


class Stopped:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self):
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def clock():
    return Stopped()


def value(metrics: Prometheus, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"rollwave_{name}", labels)


def test_what_a_release_has_done_is_what_is_counted(scene):
    """Transitions as the log has them, each stage as long as it took, slices and phases as they came."""
    metrics = Prometheus(clock=scene.clock)

    deployment = scene.release(metrics)

    logged = Counter((one.stage, one.progress) for one in scene.world.log(deployment) if hasattr(one, "stage"))
    assert logged[Stage.INSTALL, Progress.SUCCESS] == 4
    for stage in Stage:
        for progress in Progress:
            counted = value(metrics, "transitions_total", stage=stage.value, progress=progress.value)
            assert counted == logged[stage, progress]
    for stage, took_s in ((Stage.INSTALL, INSTALL_S), (Stage.VERIFY, VERIFY_S)):
        labels = {"stage": stage.value, "outcome": "success"}
        assert value(metrics, "stage_seconds_count", **labels) == 4
        assert value(metrics, "stage_seconds_sum", **labels) == pytest.approx(4 * took_s, rel=0.01)
    assert value(metrics, "stage_seconds_bucket", stage="install", outcome="success", le="2.5") == 0
    assert value(metrics, "stage_seconds_bucket", stage="install", outcome="success", le="5.0") == 4
    assert value(metrics, "commit_transitions_sum") == sum(logged.values())
    assert value(metrics, "slices_opened_total") == value(metrics, "slices_ended_total", outcome="done") == 2
    assert value(metrics, "slices_sent_total") == value(metrics, "queue_lag_seconds_count") == 2
    assert value(metrics, "phases_entered_total", phase="success") == 1
    assert value(metrics, "slices_driven") == 0


def test_a_brake_is_counted_by_its_cause(scene):
    """Two failures use the budget up; that a stage failed is in its outcome."""
    metrics = Prometheus(clock=scene.clock)
    scene.executor.break_version("2.0")

    scene.release(metrics)

    assert value(metrics, "brakes_total", cause="failures") == 1
    assert value(metrics, "brakes_total", cause="operator") == 0
    assert value(metrics, "stage_seconds_count", stage="verify", outcome="failure") == 2
    assert value(metrics, "phases_entered_total", phase="success") == 0


def test_a_lost_lease_and_the_takeover_are_counted_by_those_who_see_them(scene):
    """
    A worker that hears nothing of its lease loses its slice; the one that takes over waited for nobody in the queue.

    What the first has begun and the second ends is not measured as a stage: the time is the death of the first.
    """
    first, second = Prometheus(clock=scene.clock), Prometheus(clock=scene.clock)

    async def story() -> None:
        ann, bob = scene.engine(first, owner="ann"), scene.engine(second, owner="bob")
        deployment = scene.create(ann)
        key = (deployment, 1)
        await ann.queue.send(key)
        # Somebody who knows that she is gone takes her slices away.
        await asyncio.sleep(1)
        scene.world.store.release()
        await bob.queue.send(key)
        await asyncio.sleep(100)

    scene.run(story())

    assert value(first, "slices_ended_total", outcome="lease_lost") == 1
    assert value(first, "slices_ended_total", outcome="done") == 0
    assert value(first, "slices_taken_over_total") == 0
    assert value(first, "queue_lag_seconds_count") == 1
    assert value(second, "slices_ended_total", outcome="done") == 1
    assert value(second, "slices_taken_over_total") == 1
    assert value(second, "queue_lag_seconds_count") == 0
    assert value(second, "stage_seconds_count", stage="install", outcome="success") == 0
    assert value(second, "stage_seconds_count", stage="verify", outcome="success") == 2


def a_claim(**changes: object) -> Claim:
    known = {"key": (1, 1), "course": Course.FULL, "epoch": 7, "recalls": 0, "instance_ids": (1,), **changes}
    return Claim(**known)


def test_the_queue_lag_is_from_open_to_claimed(clock):
    """A clock that is behind the one that opened it makes no lag of less than nothing."""
    metrics = Prometheus(clock=clock)

    for seconds in (4, -2):
        with metrics.slice(a_claim(opened_at=NOON), now=NOON + timedelta(seconds=seconds)):
            assert value(metrics, "slices_driven") == 1

    assert value(metrics, "queue_lag_seconds_sum") == 4
    assert value(metrics, "queue_lag_seconds_count") == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FencedError(deployment_id=1, slice_number=1), "lease_lost"),
        (ExceptionGroup("", [ExceptionGroup("", [FencedError(deployment_id=1, slice_number=1)])]), "lease_lost"),
        (asyncio.CancelledError(), "stopped"),
        (ValueError(), "broke"),
        (ExceptionGroup("", [ValueError()]), "broke"),
    ],
)
def test_how_a_slice_ended_is_told_from_its_error(clock, error, outcome):
    """And the error goes on to whom it concerns."""
    metrics = Prometheus(clock=clock)

    with pytest.raises(type(error)), metrics.slice(a_claim(), now=NOON):
        raise error

    assert value(metrics, "slices_ended_total", outcome=outcome) == 1


def test_what_fails_and_what_is_put_right_is_counted(clock):
    """By part, and by direction."""
    metrics = Prometheus(clock=clock)

    metrics.failed(Part.BROKER)
    metrics.conflicted()
    metrics.put_right(in_traffic=True, done=True)
    metrics.put_right(in_traffic=False, done=False)

    assert value(metrics, "engine_failures_total", part="broker") == 1
    assert value(metrics, "conflicts_total") == 1
    assert value(metrics, "traffic_repairs_total", direction="in", outcome="done") == 1
    assert value(metrics, "traffic_repairs_total", direction="out", outcome="failed") == 1


def test_gauges_are_what_the_store_says_when_it_is_asked(clock):
    """And it is asked at most once a second, however many scrape."""
    asked = []

    def census() -> Census:
        asked.append(clock.time)
        return Census(
            phases={Phase.CANARY: 2},
            brakes={BrakeCause.FAILURES: 1},
            waiting=len(asked),
            held=5,
            abandoned=1,
            oldest_s=9,
        )

    metrics = Prometheus(clock=clock, census=census)
    assert not asked

    metrics.page()
    metrics.page()
    assert len(asked) == 1
    clock.time += timedelta(seconds=1)

    assert value(metrics, "slices_open", state="waiting") == 2
    assert value(metrics, "store_up") == 1
    assert value(metrics, "deployments", phase="canary") == 2
    assert value(metrics, "deployments", phase="baking") == 0
    assert value(metrics, "deployments_braked", cause="failures") == 1
    assert value(metrics, "queue_oldest_seconds") == 9
    assert len(asked) == 2


def test_a_store_that_is_down_is_said_to_be_and_hides_nothing_else(clock):
    """What this process has counted is still told, and no gauge tells what was."""
    answers = iter([QUIET, OSError("no route")])

    def census() -> Census:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    metrics = Prometheus(clock=clock, census=census)
    assert value(metrics, "deployments", phase="canary") == 0
    clock.time += timedelta(seconds=2)

    assert value(metrics, "store_up") == 0
    assert value(metrics, "deployments", phase="canary") is None
    assert value(metrics, "conflicts_total") == 0


def test_every_series_is_there_from_the_start(clock):
    """Or the first brake would be no increase of anything."""
    page = Prometheus(clock=clock, census=lambda: QUIET).page().decode()

    assert 'rollwave_brakes_total{cause="dependency"} 0.0' in page
    assert 'rollwave_stage_seconds_bucket{le="0.05",outcome="success",stage="install"} 0.0' in page
    assert "_created" not in page
