"""Types of input fields, and the problems that they tell."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from pydantic import ValidationError

from rollwave.domain.config import RANGES, BatchMode, DeploymentConfig
from rollwave.web.fields import Flag, Input, Settings, as_json, like, merged, one_of, whole
from rollwave.web.problems import did_you_mean, path_of, problems_of


class Inner(Input):
    level: Annotated[int, whole(1, 3)] = 1


class Outer(Input):
    name: Annotated[str, like(r"[a-z]+", "lower-case letters")]
    flag: Flag = False
    mode: Annotated[BatchMode, one_of(BatchMode)] = BatchMode.AUTO
    inner: tuple[Inner, ...] = ()


def problems(document: object) -> dict[str, str]:
    try:
        Outer.model_validate(document)
    except ValidationError as error:
        return {one.path: one.message for one in problems_of(error, Outer)}
    return {}


def test_settings_are_those_of_the_domain():
    """Names and defaults are read from the domain; the schema shows its ranges."""
    assert merged(as_json(Settings())) == DeploymentConfig()
    schema = Settings.model_json_schema()["properties"]
    assert set(schema) == {one.name for one in fields(DeploymentConfig)}
    for name, (low, high) in RANGES.items():
        assert (schema[name]["minimum"], schema[name]["maximum"]) == (low, high)


@given(name=st.sampled_from(sorted(RANGES)), value=st.integers() | st.booleans() | st.floats() | st.text() | st.none())
def test_the_api_takes_exactly_the_values_that_the_domain_takes(name, value):
    """No value passes here and fails there, or the other way round."""

    def is_taken(make) -> bool:
        try:
            make()
        except (ValidationError, ValueError, Exception):  # noqa: BLE001  # either says no in its own words
            return False
        return True

    assert is_taken(lambda: Settings.model_validate({name: value})) == is_taken(
        lambda: DeploymentConfig(**{name: value})
    )


def test_layers_overlay_each_other():
    config = merged({"batch_pause_s": 5, "batch_mode": "manual"}, {"batch_pause_s": 7})

    assert (config.batch_pause_s, config.batch_mode, config.canary_count) == (7, BatchMode.MANUAL, 1)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {"name": "name is missing"}),
        ({"name": "A"}, {"name": "name is 'A'; expected lower-case letters"}),
        ({"name": "a", "nam": 1}, {"nam": "nam is not a known key; did you mean 'name'?"}),
        ({"name": "a", "flag": 1}, {"flag": "flag is 1; expected true or false"}),
        ({"name": "a", "mode": "fast"}, {"mode": "mode is 'fast'; expected one of auto, manual"}),
        ({"name": "a", "mode": []}, {"mode": "mode is []; expected one of auto, manual"}),
        (
            {"name": "a", "inner": [{}, {"level": 4}]},
            {"inner[1].level": "inner[1].level is 4; expected a whole number from 1 to 3"},
        ),
        (
            {"name": "a", "inner": [{"levle": 4}]},
            {"inner[0].levle": "inner[0].levle is not a known key; did you mean 'level'?"},
        ),
        ({"name": "a", "inner": {}}, {"inner": "inner is {}; expected a valid tuple"}),
    ],
)
def test_a_problem_names_place_value_and_what_would_be_right(document, expected):
    assert problems(document) == expected


def test_a_long_value_is_cut():
    assert len(problems({"name": "A" * 1000})["name"]) < 150


def test_paths_are_written_like_code():
    assert path_of(("groups", 1, "config", "x")) == "groups[1].config.x"
    assert path_of(()) == ""


def test_a_hint_names_what_is_close_else_what_there_is():
    assert did_you_mean("shp", ["shop", "cart"]) == "; did you mean 'shop'?"
    assert did_you_mean("zzz", ["shop", "cart"]) == "; known: cart, shop"
    assert did_you_mean("zzz", []) == ""
