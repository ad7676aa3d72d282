"""Settings are checked where they are made."""

from __future__ import annotations

import pytest
from msgspec.structs import asdict

from rollwave.domain.config import RANGES, BakePolicy, BatchMode, DeploymentConfig, FailurePolicy
from rollwave.domain.errors import InvalidValueError

HANDBOOK = {
    # A share, a count of targets, and times up to an hour, a day and a week: lowest, default, highest.
    "max_unavailable_percent": (1, 25, 50),
    "canary_count": (0, 1, 1_000),
    "batch_pause_s": (0, 0, 24 * 60 * 60),
    "tail_pause_s": (0, 0, 24 * 60 * 60),
    "startup_timeout_s": (1, 60, 60 * 60),
    "bake_min_s": (0, 0, 7 * 24 * 60 * 60),
}
"""The numbers of domain.md and of the spec, written down a second time."""


def test_every_number_has_its_range():
    """A setting without one would take anything."""
    numbers = {name for name, value in asdict(DeploymentConfig()).items() if type(value) is int}

    assert numbers == HANDBOOK.keys() == RANGES.keys()


@pytest.mark.parametrize(("name", "low", "high"), [(name, low, high) for name, (low, _, high) in HANDBOOK.items()])
def test_a_number_is_accepted_in_its_range_and_refused_outside(name, low, high):
    """Both ends belong to the range; the error names field, value and range."""
    for value in (low, high):
        assert getattr(DeploymentConfig(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidValueError) as caught:
            DeploymentConfig(**{name: value})
        assert caught.value.facts == {
            "field": name,
            "value": value,
            "expected": f"a whole number from {low} to {high}",
        }


@pytest.mark.parametrize("value", [True, 25.0, "25", None])
def test_only_whole_numbers_are_numbers(value):
    """No floats, and a truth value is no number either."""
    with pytest.raises(InvalidValueError):
        DeploymentConfig(max_unavailable_percent=value)


def test_the_defaults_are_those_of_the_handbook():
    """A person decides, a failed target is left as it is, nothing is skipped, and hosts fetch ahead."""
    assert asdict(DeploymentConfig()) == {
        **{name: default for name, (_, default, _) in HANDBOOK.items()},
        "batch_mode": BatchMode.AUTO,
        "ignore_verify": False,
        "on_target_failure": FailurePolicy.LEAVE,
        "bake_policy": BakePolicy.MANUAL,
        "prestage": True,
        "requires_approval": False,
    }
