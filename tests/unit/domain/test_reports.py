"""What workers report, once, twice, late and in part (I10)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.config import FailurePolicy
from rollwave.domain.decide import decide
from rollwave.domain.model import Phase, Progress, Stage, Standing
from tests.unit.domain.story import GOAL, Story, failure_at, fleet_of, instance


def success(instance_id):
    return cmd.Settlement(
        instance_id=instance_id,
        standing=Standing.SUCCESS,
        stage=Stage.MARKUP,
        progress=Progress.SUCCESS,
        version=GOAL.version,
    )


def rolling(**config):
    return Story(fleet_of(8), **{"canary_count": 0, **config}).start()


def test_a_report_settles_and_the_last_one_closes_the_slice():
    """The slice is open for as long as somebody is driven."""
    story = rolling()
    story.tell(cmd.SliceReported(slice=1, settled=(success(1),)))
    assert 1 in story.state.deployment.slices
    assert story.state.targets[1].slice is None

    story.tell(cmd.SliceReported(slice=1, settled=(success(2),)))
    assert 1 not in story.state.deployment.slices
    assert facts.SliceClosed(number=1) in story.last


@pytest.mark.parametrize(
    "settled",
    [
        success(1),
        cmd.Settlement(
            instance_id=1,
            standing=Standing.FAILED,
            stage=Stage.INSTALL,
            progress=Progress.FAILURE,
            failure=failure_at(Stage.INSTALL),
        ),
        cmd.Settlement(
            instance_id=1,
            standing=Standing.FAILED,
            stage=Stage.MARKUP,
            progress=Progress.SUCCESS,
            failure=failure_at(Stage.VERIFY),
            restored=True,
        ),
        cmd.Settlement(instance_id=1, standing=Standing.LEFT, stage=Stage.DOWNLOAD, progress=Progress.UNKNOWN),
    ],
    ids=["success", "failed", "restored", "left"],
)
def test_a_settled_target_shows_what_its_worker_told(settled):
    """Where it ended, how, and why: nothing is lost and nothing is added."""
    target = rolling().tell(cmd.SliceReported(slice=1, settled=(settled,))).state.targets[1]

    told = ("standing", "stage", "progress", "failure", "restored")
    assert [getattr(target, name) for name in told] == [getattr(settled, name) for name in told]
    assert (target.slice, target.attempt, target.batch) == (None, 1, 1)


def test_success_lowers_every_flag_that_a_release_raises():
    """In service, on the version that was seen, whatever stood there before; the rest of it is untouched."""
    before = instance(1, failed=True, new=True)
    story = Story((before, *fleet_of(8)[1:]), canary_count=0).start().succeed(1)

    assert story.state.fleet[1] == replace(before, failed=False, new=False, version=GOAL.version)


def test_a_report_that_comes_twice_changes_nothing_the_second_time():
    """Whole and in part, with the slice open and closed."""
    story = rolling()
    for report in (
        cmd.SliceReported(slice=1, settled=(success(1),)),
        cmd.SliceReported(slice=1, settled=(success(1), success(2))),
    ):
        story.tell(report)
        again = decide(story.state, report, now=story.now)
        assert again.facts == ()
        assert again.state is story.state


def test_a_target_that_is_named_twice_in_one_report_is_settled_once():
    """Its double must not be taken for the one that is still driven."""
    story = rolling().tell(cmd.SliceReported(slice=1, settled=(success(1), success(1))))

    assert story.happened(facts.TargetsSettled) == [facts.TargetsSettled(settlements=(success(1),))]
    assert story.in_flight == (2,)
    assert 1 in story.state.deployment.slices


def test_a_report_about_an_attempt_that_is_over_changes_nothing():
    """The target is driven by another slice by now."""
    story = rolling().fail()
    late = cmd.SliceReported(slice=1, settled=(success(1), success(2)))
    story.retry()

    assert story.tell(late).last == ()
    assert story.in_flight == (1, 2)


@pytest.mark.parametrize("slice_", [0, 99])
def test_a_report_of_an_unknown_slice_changes_nothing(slice_):
    """It may be older than anything that is open, or from somewhere else."""
    story = rolling()

    assert story.tell(cmd.SliceReported(slice=slice_, settled=(success(1),), done=True)).last == ()


def test_a_report_about_targets_of_another_slice_changes_nothing_there():
    """Only the slice that drives a target can settle it."""
    story = rolling(max_unavailable_percent=50).succeed(1)
    story.tell(cmd.SliceReported(slice=1, settled=(success(5),), failing=((5, failure_at()),)))

    assert story.last == ()


def test_a_failure_is_heard_once():
    """The first failure of the attempt stays; the second time it changes nothing."""
    story = rolling(on_target_failure=FailurePolicy.RESTORE).failing(1)
    assert story.state.targets[1].failure == failure_at()

    story.tell(cmd.SliceReported(slice=1, failing=((1, failure_at(Stage.RESTORE)),)))

    assert story.last == ()
    assert story.state.targets[1].failure == failure_at()


def test_a_failure_that_is_named_twice_in_one_report_is_heard_once():
    """The first one counts."""
    story = rolling(on_target_failure=FailurePolicy.RESTORE)
    story.tell(cmd.SliceReported(slice=1, failing=((1, failure_at()), (1, failure_at(Stage.RESTORE)))))

    assert story.state.targets[1].failure == failure_at()
    assert story.happened(facts.TargetsFailing) == [facts.TargetsFailing(failures=((1, failure_at()),))]


def test_reports_after_the_end_change_nothing():
    """A deployment that is over stays as it is."""
    story = Story(fleet_of(2), canary_count=0, max_unavailable_percent=50).start().succeed().succeed()
    assert story.phase is Phase.SUCCESS

    for event in (cmd.SliceReported(slice=1, settled=(success(1),)), cmd.TimeCame(), cmd.FleetChanged()):
        assert story.tell(event).last == ()


@pytest.mark.parametrize(
    ("stage", "version", "failed"),
    [
        (None, None, False),
        (Stage.PROVE, None, False),
        (Stage.MARKDOWN, None, True),
        (Stage.INSTALL, GOAL.version, True),
        (Stage.VERIFY, GOAL.version, True),
    ],
)
def test_what_left_half_way_has_to_be_proven_before_it_takes_traffic(stage, version, failed):
    """Untouched it keeps its flags and its version; from markdown on a flag says that somebody was at it."""
    story = rolling().hold(1).leave(1, stage=stage, version=version)

    assert story.standing(1) is Standing.LEFT
    assert story.state.fleet[1].failed is failed
    assert story.state.fleet[1].version == (version if failed else "1.0")


def test_what_is_held_while_it_is_driven_leaves_when_its_worker_lets_go():
    """Nobody takes a target from its worker."""
    story = rolling().hold(1)
    assert story.in_flight == (1, 2)

    assert story.fail(1).standing(1) is Standing.LEFT


def test_what_was_marked_up_before_the_hold_has_succeeded():
    """The hold keeps it out of traffic all the same, by its own flag."""
    story = rolling().hold(1).succeed(1)

    assert story.standing(1) is Standing.SUCCESS
    assert story.state.fleet[1].hold
