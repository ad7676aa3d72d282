"""Which packages are known to be good, and where a rollback leads."""

from __future__ import annotations

import pytest

from rollwave.domain.model import Kind, PackageRef, Phase
from rollwave.domain.stability import good_packages, stable_packages

V0, V1, V2 = (PackageRef(id=number, version=f"1.{number}") for number in range(3))
OK, ABORTED = Phase.SUCCESS, Phase.ABORTED
ROLLOUT, ROLLBACK, SCALE_OUT, REROLL = Kind.ROLLOUT, Kind.ROLLBACK, Kind.SCALE_OUT, Kind.REROLL


@pytest.mark.parametrize(
    ("ended", "stable", "before"),
    [
        ([], None, None),
        ([(ROLLOUT, V0, ABORTED)], None, None),
        ([(ROLLOUT, V0, OK)], V0, None),
        ([(ROLLOUT, V0, OK), (ROLLOUT, V1, OK)], V1, V0),
        ([(ROLLOUT, V0, OK), (ROLLOUT, V1, ABORTED)], V0, None),
        ([(ROLLOUT, V0, OK), (ROLLOUT, V1, ABORTED), (ROLLOUT, V2, OK)], V2, V0),
        ([(ROLLOUT, V0, OK), (SCALE_OUT, V0, OK), (REROLL, V0, OK)], V0, None),
        ([(ROLLOUT, V0, OK), (ROLLOUT, V1, ABORTED), (ROLLBACK, V0, OK)], V0, None),
    ],
)
def test_only_success_makes_a_package_stable(ended, stable, before):
    """Repeating a package is no step; what was given up never was stable."""
    assert stable_packages(ended) == (stable, before)


def test_a_rollback_may_lead_to_whatever_was_good_once():
    """Each version once, the latest success first; what was given up is none, and what was undone still is one."""
    history = [(ROLLOUT, V0, OK), (ROLLOUT, V1, OK), (ROLLOUT, V2, ABORTED), (REROLL, V1, OK)]
    assert good_packages(history) == (V1, V0)

    assert good_packages([*history, (ROLLBACK, V0, OK)]) == (V0, V1)
    assert good_packages([]) == ()


def test_two_rollbacks_in_a_row_go_back_two_steps():
    """From 1.2 to 1.1 to 1.0, and not back to 1.2: a rollback forgets what came after."""
    history = [(ROLLOUT, V0, OK), (ROLLOUT, V1, OK), (ROLLOUT, V2, OK), (ROLLBACK, V1, OK)]
    assert stable_packages(history) == (V1, V0)

    assert stable_packages([*history, (ROLLBACK, V0, OK)]) == (V0, None)


def test_a_rollback_to_a_package_that_is_not_known_is_a_step_of_its_own():
    """Somebody named a package by hand, and it proved good."""
    assert stable_packages([(ROLLOUT, V1, OK), (ROLLBACK, V0, OK)]) == (V0, V1)


def test_a_rollback_undoes_only_what_came_after_the_latest_release_of_its_goal():
    """1.0, 1.1, 1.0 again, 1.2, back to 1.0: the 1.1 before it is still known to be good."""
    history = [(ROLLOUT, V0, OK), (ROLLOUT, V1, OK), (ROLLOUT, V0, OK), (ROLLOUT, V2, OK), (ROLLBACK, V0, OK)]

    assert stable_packages(history) == (V0, V1)
