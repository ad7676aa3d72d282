"""Errors carry facts under stable codes."""

from __future__ import annotations

import json

import pytest

from rollwave.domain import errors
from rollwave.domain.errors import RollwaveError

ERRORS = [
    errors.InvalidValueError(field="port", value=0, expected="1 to 65535"),
    errors.NotFoundError(kind="group", name="shop", hint="see the list"),
    errors.EmptyGroupError(group="shop", hint="register instances"),
    errors.DeploymentActiveError(group="shop", deployment_id=7, phase="canary"),
    errors.ActionNotAllowedError(action="bake", phase="canary", reason="it is early", available=("brake", "abort")),
    errors.NoStablePackageError(group="shop", hint="release one"),
    errors.StateConflictError("somebody else was first", deployment_id=7),
    errors.FencedError(deployment_id=7, slice_number=3),
    errors.RecalledError(deployment_id=7, slice_number=3),
    errors.CommandRepeatedError(key="abc", deployment_id=7),
    errors.IdempotencyConflictError(key="abc"),
]


def test_every_error_is_listed_here():
    """A new one needs its line above."""
    assert {type(error) for error in ERRORS} == {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RollwaveError)
    } - {RollwaveError}


def test_every_code_is_its_own_and_dotted():
    """Clients branch on the code and on nothing else."""
    codes = [error.code for error in ERRORS]

    assert len(set(codes)) == len(codes)
    assert all("." in code for code in codes)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_can_be_sent(error):
    """The message is for people; the facts are for programs, and fit into JSON."""
    assert str(error) == error.message
    assert json.loads(json.dumps(error.facts)) == error.facts


def test_an_error_without_a_hint_or_without_choices_has_no_empty_ending():
    """Nothing is promised that is not there."""
    assert str(errors.NotFoundError(kind="group", name="shop")) == "no group 'shop'"
    assert (
        str(errors.ActionNotAllowedError(action="bake", phase="success", reason="it is over"))
        == "cannot bake now: it is over"
    )
