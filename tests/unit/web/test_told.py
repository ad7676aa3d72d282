"""Refusals at a page: the facts of an error are what its sentence is made of, in either language."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from django.utils.translation import override

from rollwave.domain import actions, errors
from rollwave.store import audit
from rollwave.web import refusals
from rollwave.web.refusals import SpecMovedError
from rollwave.web.spoken import spoken
from rollwave.web.told import _BY_CODE, _NOTHING, _TAKEN, told

ERRORS = [
    errors.EmptyGroupError(group="shop-prod", hint="lift a hold"),
    errors.NoStablePackageError(group="shop-prod", hint="name one"),
    errors.NeverReleasedError(group="shop-prod", version="2.0", possible=["1.1", "1.0"]),
    errors.DeploymentActiveError(group="shop-prod", deployment_id=7, phase="baking"),
    errors.StateConflictError("somebody was faster"),
    errors.IdempotencyConflictError(key="k"),
    SpecMovedError(),
    errors.InvalidValueError(field="port", value=1, expected="8080"),
    errors.InvalidValueError(field="reason", value="", expected="why it may go ahead"),
    errors.OwnApprovalError(actor="maria"),
    errors.ActionNotAllowedError(action="bake", phase="canary", reason="it is in phase canary, not verify_success"),
    refusals.ForbiddenError(actor="maria", permission="manage"),
    refusals.UserExistsError(name="maria"),
    refusals.LastManagerError(name="maria"),
    refusals.TokenExistsError(name="ci"),
    refusals.LastTokenError(name="ci"),
    *(refusals.NameTakenError(name="ci", kind=kind) for kind in _TAKEN),
    *(errors.NotFoundError(kind=kind, name="x") for kind in _NOTHING),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.code} {error.facts.get('kind', '')}".strip())
def test_every_refusal_is_told_in_both_languages(error):
    """No sentence asks for a fact that the error has not, and Chinese is not English."""
    with override("en"):
        english = told(error)
    with override("zh-hans"):
        chinese = told(error)

    assert english
    assert chinese != english
    assert "%(" not in english + chinese
    assert "['" not in english + chinese


def test_every_sentence_is_of_an_error_that_there_is():
    """A code that was renamed would leave its sentence behind."""
    assert set(_BY_CODE) <= {error.code for error in ERRORS}


def test_an_error_without_a_sentence_says_what_it_says():
    """In English, as in the API."""
    error = refusals.InternalError()

    assert told(error) == error.message


def reasons() -> list[str]:
    """Return every reason that the domain has for an action being closed, its facts filled in."""
    found = []
    for one in ast.walk(ast.parse(inspect.getsource(actions))):
        texts = []
        if isinstance(one, ast.Return) and one.value is not None:
            texts = [part for part in ast.walk(one.value) if isinstance(part, ast.Constant | ast.JoinedStr)]
        if isinstance(one, ast.Assign) and getattr(one.targets[0], "id", "") == "waits":
            texts = [one.value.body]
        inside = {id(part) for text in texts if isinstance(text, ast.JoinedStr) for part in ast.walk(text)} - {
            id(text) for text in texts if isinstance(text, ast.JoinedStr)
        }
        found += [_filled(text) for text in texts if id(text) not in inside and _filled(text)]
    actions_out = "retry, hold the failed instances, raise the limit, abort or roll back"
    return [one for one in found if "would brake again" not in one] + [
        "it would brake again at once (no canary): lift the hold and retry, or abort",
        f"it would brake again at once (3 failed): {actions_out}",
    ]


def _filled(text: ast.expr) -> str:
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(
        ("canary" if isinstance(part, ast.FormattedValue) else str(part.value))
        for part in parts
        if isinstance(part, ast.FormattedValue) or isinstance(part.value, str)
    )


def flaws() -> list[str]:
    """Return everything that can be wrong with the audit log."""
    source = inspect.getsource(audit)
    return [*re.findall(r'what="([^"]+)"', source), audit._missing(2, 2), audit._missing(2, 3)]


def test_what_rooms_below_say_is_told_in_chinese():
    """Held against their sources, so that a new one cannot be forgotten."""
    assert len(reasons()) > 15
    assert len(flaws()) > 4
    for reason in (*reasons(), *flaws()):
        with override("zh-hans"):
            assert spoken(reason) != reason, reason
        with override("en"):
            assert spoken(reason) == reason
