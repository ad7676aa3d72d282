"""What the traffic flags want at the balancer (domain.md, rule 8)."""

from __future__ import annotations

import itertools

import pytest

from rollwave.domain.model import Entry, Progress, Stage, Standing, Target
from rollwave.domain.traffic import wants_traffic
from tests.unit.domain.story import instance


def target(standing, stage=None, progress=None, entry=Entry.FULL):
    return Target(instance_id=1, batch=1, standing=standing, stage=stage, progress=progress, entry=entry)


SETTLED = (None, *(target(one) for one in Standing if one not in (Standing.IN_FLIGHT, Standing.VERIFIED)))


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=4)), ids=str)
def test_an_instance_is_in_traffic_when_none_of_its_flags_is_raised(flags):
    """Hold, offline, failed, new: each alone keeps it out, and no target that nobody drives changes that."""
    one = instance(1, **dict(zip(("hold", "offline", "failed", "new"), flags, strict=True)))

    for settled in SETTLED:
        assert wants_traffic(one, settled) is not any(flags)


def test_a_canary_that_waits_for_its_bake_stays_out():
    """Nobody has approved it (I2)."""
    assert wants_traffic(instance(1), target(Standing.VERIFIED)) is False


SURELY_OUT = {Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY, Stage.RESTORE}


@pytest.mark.parametrize("stage", [None, *Stage])
@pytest.mark.parametrize("entry", Entry)
def test_a_worker_has_the_traffic_in_hand_around_markdown_and_markup(stage, entry):
    """Between them the instance is surely out; around them nobody else may touch it."""
    for progress in Progress:
        wanted = wants_traffic(instance(1), target(Standing.IN_FLIGHT, stage, progress, entry))

        is_out = (
            stage in SURELY_OUT
            or (stage is Stage.PROVE and entry is not Entry.PROVE_IN)
            or (stage is Stage.MARKDOWN and progress is Progress.SUCCESS)
        )
        is_in = (stage, progress) == (Stage.MARKUP, Progress.SUCCESS)
        assert wanted is (False if is_out else True if is_in else None)


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=2)), ids=str)
def test_what_was_marked_up_stays_in_until_its_slice_is_settled_unless_it_is_held_or_offline(flags):
    """The flags of the time before do not count any more: it has been proven since."""
    one = instance(1, failed=True, new=True, **dict(zip(("hold", "offline"), flags, strict=True)))

    assert wants_traffic(one, target(Standing.IN_FLIGHT, Stage.MARKUP, Progress.SUCCESS)) is not any(flags)
