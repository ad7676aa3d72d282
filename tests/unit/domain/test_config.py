"""Settings are checked where they are made."""

from __future__ import annotations

import pytest

from rollwave.domain.config import RANGES, DeploymentConfig
from rollwave.domain.errors import InvalidValueError


@pytest.mark.parametrize(("name", "low", "high"), [(name, *limits) for name, limits in RANGES.items()])
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
    """domain.md, model."""
    config = DeploymentConfig()

    assert (config.max_unavailable_percent, config.canary_count, config.startup_timeout_s) == (25, 1, 60)
    assert config.prestage
