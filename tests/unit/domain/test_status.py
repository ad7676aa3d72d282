"""What a person is told first: a coarse status and one sentence that says why."""

from __future__ import annotations

import pytest

from rollwave.domain.config import BatchMode
from rollwave.domain.evolve import fold
from rollwave.domain.model import BrakeCause, Neighbor, Phase
from rollwave.domain.status import Status, Why, summarize
from rollwave.words.standing import status_sentence
from tests.unit.domain.story import Story, fleet_of, instance


def told(story):
    return story.summary.status, status_sentence(story.summary)


def rolling(**config):
    return Story(fleet_of(8), **{"canary_count": 0, **config}).start()


def quiet():
    return Story(fleet_of(8), canary_count=2)


SENTENCES = {
    "pending": (
        quiet,
        Phase.PENDING,
        Status.PENDING,
        "Planned; waits to be started.",
    ),
    "waits for an approval": (
        lambda: Story(fleet_of(8), requires_approval=True),
        Phase.PENDING,
        Status.WAITING,
        "Waits for an approval by somebody other than ann.",
    ),
    "canary": (
        lambda: quiet().start(),
        Phase.CANARY,
        Status.RUNNING,
        "The canary is on its way: 0 of 8 on 2.0, 2 in flight.",
    ),
    "verified": (
        lambda: quiet().start().verify(),
        Phase.VERIFY_SUCCESS,
        Status.WAITING,
        "The canary is verified and out of traffic; bake it to give it traffic.",
    ),
    "canary failed": (
        lambda: quiet().start().verify(1).fail(2),
        Phase.VERIFY_FAILURE,
        Status.FAILED,
        "The canary failed before it took traffic: 1 failed, 0 of 8 on 2.0; retry, abort or roll back.",
    ),
    "baking": (
        lambda: quiet().start().verify().bake().succeed(1),
        Phase.BAKING,
        Status.RUNNING,
        "The canary goes into traffic: 1 of 8 on 2.0, 1 in flight.",
    ),
    "baking, in its window": (
        lambda: Story(fleet_of(8), bake_min_s=90).start().verify().bake().succeed(),
        Phase.BAKING,
        Status.RUNNING,
        "Baking until 2030-01-01 12:01:30 UTC.",
    ),
    "baked": (
        lambda: quiet().start().verify().bake().succeed(),
        Phase.BAKE_SUCCESS,
        Status.WAITING,
        "The canary takes traffic and its bake is over; roll out the rest.",
    ),
    "bake failed": (
        lambda: quiet().start().verify().bake().succeed(1).fail(2),
        Phase.BAKE_FAILURE,
        Status.FAILED,
        "The bake failed: 1 failed, 1 of 8 on 2.0; retry, abort or roll back.",
    ),
    "rolling out": (
        lambda: rolling().succeed(1),
        Phase.ROLLING_OUT,
        Status.RUNNING,
        "Rolling out: 1 of 8 on 2.0, 1 in flight.",
    ),
    "pause": (
        lambda: rolling(batch_pause_s=60).succeed(),
        Phase.ROLLING_OUT,
        Status.RUNNING,
        "Pause before batch 2 until 2030-01-01 12:01:00 UTC; 2 of 8 on 2.0.",
    ),
    "by hand": (
        lambda: rolling(batch_mode=BatchMode.MANUAL).succeed(),
        Phase.ROLLING_OUT,
        Status.WAITING,
        "Batch 2 waits to be let go; 2 of 8 on 2.0.",
    ),
    "no room": (
        lambda: rolling().change(7, 8, busy_elsewhere=True).succeed(),
        Phase.ROLLING_OUT,
        Status.RUNNING,
        "Waits for room: 2 of 2 allowed are out of traffic; 2 of 8 on 2.0.",
    ),
    "no room at a neighbor": (
        lambda: Story(fleet_of(8), neighbors=(Neighbor(group="blog", room_count=0, in_by_server={"s1": 1}),)).start(),
        Phase.CANARY,
        Status.RUNNING,
        "Waits for room in the groups on the same servers; 0 of 8 on 2.0.",
    ),
    "no room for the canary": (
        lambda: Story((*fleet_of(3), instance(4, busy_elsewhere=True))).start(),
        Phase.CANARY,
        Status.RUNNING,
        "Waits for room: 1 of 1 allowed are out of traffic; 0 of 4 on 2.0.",
    ),
    "failed": (
        lambda: rolling().fail(1).succeed(2).succeed().succeed().succeed().succeed().succeed().succeed(),
        Phase.FAILURE,
        Status.FAILED,
        "Every batch has run: 1 failed, 7 of 8 on 2.0; retry, abort or roll back.",
    ),
    "done": (
        lambda: rolling().succeed().succeed().succeed().succeed(),
        Phase.SUCCESS,
        Status.SUCCEEDED,
        "Done: 8 of 8 on 2.0.",
    ),
    "done without some": (
        lambda: rolling().hold(8).succeed().succeed().succeed().succeed().succeed().succeed(),
        Phase.SUCCESS,
        Status.SUCCEEDED,
        "Done: 7 of 8 on 2.0; 1 left the plan.",
    ),
    "being aborted": (
        lambda: rolling().abort(),
        Phase.ROLLING_OUT,
        Status.ABORTING,
        "Being given up; 2 in flight will finish.",
    ),
    "aborted": (
        lambda: rolling().abort().succeed(),
        Phase.ABORTED,
        Status.ABORTED,
        "Given up.",
    ),
    "braked by an operator": (
        lambda: rolling().apply_brake(reason="lunch"),
        Phase.ROLLING_OUT,
        Status.BRAKED,
        "Braked: lunch; 0 of 8 on 2.0; 2 in flight will finish.",
    ),
    "braked without a word": (
        lambda: rolling().apply_brake().succeed(),
        Phase.ROLLING_OUT,
        Status.BRAKED,
        "Braked: operator; 2 of 8 on 2.0.",
    ),
    "braked by failures": (
        lambda: rolling().fail(),
        Phase.ROLLING_OUT,
        Status.BRAKED,
        "Braked: 2 failed, 2 allowed; 0 of 8 on 2.0.",
    ),
    "braked by a dependency": (
        lambda: quiet().apply_brake(BrakeCause.DEPENDENCY, "the balancer is down"),
        Phase.PENDING,
        Status.BRAKED,
        "Braked: the balancer is down; 0 of 8 on 2.0.",
    ),
    "braked without a canary": (
        lambda: Story(fleet_of(8)).start().verify().hold(1),
        Phase.VERIFY_SUCCESS,
        Status.BRAKED,
        "Braked: every canary left the plan; 0 of 8 on 2.0.",
    ),
}


@pytest.mark.parametrize(("tell", "phase", "status", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_every_phase_and_every_brake_has_its_sentence(tell, phase, status, sentence):
    """Word by word, since people read it under pressure."""
    story = tell()

    assert story.phase is phase
    assert told(story) == (status, sentence)


def test_every_phase_is_told_and_every_reason_is_given():
    """None is missing above."""
    assert {phase for _, phase, _, _ in SENTENCES.values()} == set(Phase)
    assert {tell().summary.why for tell, *_ in SENTENCES.values()} == set(Why)


@pytest.mark.parametrize(
    ("way_out", "status", "sentence"),
    [
        (lambda story: story.retry(), Status.RUNNING, "Rolling out: 0 of 8 on 2.0, 2 in flight."),
        (lambda story: story.retry(1), Status.RUNNING, "Rolling out: 0 of 8 on 2.0, 1 in flight."),
        (lambda story: story.raise_limit(50).resume(), Status.RUNNING, "Rolling out: 0 of 8 on 2.0, 2 in flight."),
        (lambda story: story.hold(1, 2), Status.BRAKED, "Braked: 2 failed, 2 allowed; 0 of 8 on 2.0."),
        (lambda story: story.hold(1, 2).resume(), Status.RUNNING, "Rolling out: 0 of 8 on 2.0, 1 in flight."),
        (lambda story: story.abort(), Status.ABORTED, "Given up."),
        (lambda story: story.roll_back(), Status.ABORTED, "Given up."),
    ],
    ids=["retry", "retry one", "raise the limit", "hold", "hold and resume", "abort", "roll back"],
)
def test_every_way_out_of_the_brake_has_its_sentence(way_out, status, sentence):
    """From a brake by failures."""
    assert told(way_out(rolling().fail())) == (status, sentence)


def test_a_failed_phase_names_only_the_ways_that_are_open():
    """Whoever reads it must be able to do it."""
    first_release = Story(fleet_of(8, new=True), previous=None).start().fail()
    assert told(first_release)[1].endswith("1 failed, 0 of 8 on 2.0; retry or abort.")

    every_canary_held = Story(fleet_of(8)).start().fail().hold(1)
    assert told(every_canary_held)[1].endswith("0 failed, 0 of 8 on 2.0; abort or roll back.")
    assert told(Story(fleet_of(8, new=True), previous=None).start().fail().hold(1))[1].endswith("2.0; abort.")


def test_every_state_that_the_log_passes_through_has_its_sentence():
    """Whoever folds the log fact by fact can tell at every one of them how the deployment stands."""
    story = Story(fleet_of(4), batch_pause_s=60).start().verify().bake().succeed()
    before = story.state
    story.roll_out()
    passed = [fold(before, story.last[:count]) for count in range(len(story.last) + 1)]

    assert [status_sentence(summarize(state)) for state in passed] == [
        "The canary takes traffic and its bake is over; roll out the rest.",
        "The canary takes traffic and its bake is over; roll out the rest.",
        "Pause before batch 2 until its turn; 1 of 4 on 2.0.",
        "Pause before batch 2 until 2030-01-01 12:01:00 UTC; 1 of 4 on 2.0.",
    ]
