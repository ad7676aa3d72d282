"""The values and what they tell about themselves."""

from __future__ import annotations

import itertools

import pytest

from rollwave.domain.model import Progress, Stage, Standing, Target
from tests.unit.domain.story import Story, failure_at, fleet_of, instance


@pytest.mark.parametrize(("stage", "progress"), list(itertools.product(Stage, Progress)), ids=str)
def test_a_target_shows_its_stage_and_how_it_went(stage, progress):
    """MARKDOWN_RUNNING, VERIFY_SUCCESS, INSTALL_FAILURE, ..."""
    target = Target(instance_id=1, batch=1, standing=Standing.IN_FLIGHT, stage=stage, progress=progress)

    assert target.status == f"{stage.name}_{progress.name}"


def test_a_target_that_has_not_begun_or_is_over_shows_one_word():
    """Also where a stage was on record before."""
    for standing, status in (
        (Standing.PENDING, "PENDING"),
        (Standing.IN_FLIGHT, "PENDING"),
        (Standing.SUCCESS, "SUCCESS"),
        (Standing.LEFT, "SKIPPED"),
    ):
        assert Target(instance_id=1, batch=1, standing=standing).status == status
    begun = Target(instance_id=1, batch=1, standing=Standing.IN_FLIGHT, stage=Stage.MARKDOWN)
    assert begun.status == "PENDING", "nothing is told of a stage before it is known how it goes"
    done = Target(instance_id=1, batch=1, standing=Standing.SUCCESS, stage=Stage.MARKUP, progress=Progress.SUCCESS)
    assert done.status == "SUCCESS"


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("failure", [None, failure_at()])
def test_a_target_counts_as_failed_once_its_attempt_has_failed(standing, failure):
    """Failed, or on its way back to the previous version; one that left counts no more."""
    target = Target(instance_id=1, batch=1, standing=standing, failure=failure)

    expected = standing is Standing.FAILED or (standing is Standing.IN_FLIGHT and failure is not None)
    assert target.counts_as_failed is expected


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("offline", [False, True])
def test_an_instance_takes_part_unless_it_is_held_or_offline(hold, offline):
    """Each alone is enough."""
    assert instance(1, hold=hold, offline=offline).can_take_part is not (hold or offline)


def test_which_targets_are_canaries():
    """Those of batch 1, where there is a canary batch at all."""
    with_canary = Story(fleet_of(4)).state
    without = Story(fleet_of(4), canary_count=0).state

    assert [with_canary.is_canary(one) for one in with_canary.targets.values()] == [True, False, False, False]
    assert not any(without.is_canary(one) for one in without.targets.values())
