"""Errors carry facts under stable codes."""

from __future__ import annotations

import json

import pytest

from rollwave.domain import errors
from rollwave.domain.errors import RollwaveError

ERRORS = [
    (errors.InvalidValueError, {"field": "port", "value": 0, "expected": "1 to 65535"}),
    (errors.NotFoundError, {"kind": "group", "name": "shop", "hint": "see the list"}),
    (errors.EmptyGroupError, {"group": "shop", "hint": "register instances"}),
    (errors.DeploymentActiveError, {"group": "shop", "deployment_id": 7, "phase": "canary"}),
    (
        errors.ActionNotAllowedError,
        {"action": "bake", "phase": "canary", "reason": "it is early", "available": ["brake", "abort"]},
    ),
    (errors.NoStablePackageError, {"group": "shop", "hint": "release one"}),
    (errors.NeverReleasedError, {"group": "shop", "version": "2.0", "possible": ["1.1", "1.0"]}),
    (errors.OwnApprovalError, {"actor": "ann"}),
    (errors.StateConflictError, {"message": "somebody else was first", "deployment_id": 7}),
    (errors.FencedError, {"deployment_id": 7, "slice_number": 3}),
    (errors.RecalledError, {"deployment_id": 7, "slice_number": 3}),
    (errors.CommandRepeatedError, {"key": "abc", "deployment_id": 7}),
    (errors.IdempotencyConflictError, {"key": "abc"}),
]
"""Every error, and what it is made of."""

each_error = pytest.mark.parametrize(("kind", "made_of"), ERRORS, ids=[kind.code for kind, _ in ERRORS])


def test_every_error_is_listed_here():
    """A new one needs its line above."""
    assert {kind for kind, _ in ERRORS} == {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RollwaveError)
    } - {RollwaveError}


def test_every_code_is_its_own_and_dotted():
    """Clients branch on the code and on nothing else."""
    codes = [kind.code for kind, _ in ERRORS]

    assert len(set(codes)) == len(codes)
    assert all("." in code for code in codes)


@each_error
def test_an_error_can_be_sent(kind, made_of):
    """The message is for people; the facts are for programs: all that it was made of, and it fits into JSON."""
    error = kind(**made_of)

    assert str(error) == error.message
    assert json.loads(json.dumps(error.facts)) == {name: fact for name, fact in made_of.items() if name != "message"}


@each_error
def test_the_message_alone_says_what_it_is_about(kind, made_of):
    """Whoever sees only the log line knows which group, which deployment, which key, and what to do."""
    first = next(iter(made_of.values()))

    assert str(first) in kind(**made_of).message
    assert made_of.get("hint", "") in kind(**made_of).message


def test_a_hint_and_the_choices_end_the_message():
    """What to do comes last, where it is looked for."""
    assert str(errors.NotFoundError(kind="group", name="shop", hint="see the list")) == "no group 'shop'; see the list"
    closed = errors.ActionNotAllowedError(
        action="bake", phase="canary", reason="it is early", available=("brake", "abort")
    )
    assert str(closed) == "cannot bake now: it is early; open now: brake, abort"


def test_an_error_without_a_hint_or_without_choices_has_no_empty_ending():
    """Nothing is promised that is not there."""
    assert str(errors.NotFoundError(kind="group", name="shop")) == "no group 'shop'"
    assert (
        str(errors.ActionNotAllowedError(action="bake", phase="success", reason="it is over"))
        == "cannot bake now: it is over"
    )


def test_the_engine_finds_what_it_goes_on_with_in_an_attribute():
    """Which slice was lost, and which deployment an accepted command made."""
    assert errors.FencedError(deployment_id=7, slice_number=3).key == (7, 3)
    assert errors.RecalledError(deployment_id=7, slice_number=3).key == (7, 3)
    assert errors.CommandRepeatedError(key="abc", deployment_id=7).deployment_id == 7


def test_an_invalid_value_can_say_where_it_stands():
    """The line of a file, for one."""
    error = errors.InvalidValueError(field="port", value=0, expected="1 to 65535", line=3)

    assert error.facts["line"] == 3
