"""Refusals at a page: the facts of an error are what its sentence is made of, in either language."""

from __future__ import annotations

import pytest
from django.utils.translation import override

from rollwave.domain import errors
from rollwave.web.portal.told import _BY_CODE, _NOTHING, told
from rollwave.web.refusals import SpecMovedError

ERRORS = [
    errors.EmptyGroupError(group="shop-prod", hint="lift a hold"),
    errors.NoStablePackageError(group="shop-prod", hint="name one"),
    errors.NeverReleasedError(group="shop-prod", version="2.0", possible=["1.1", "1.0"]),
    errors.DeploymentActiveError(group="shop-prod", deployment_id=7, phase="baking"),
    errors.StateConflictError("somebody was faster"),
    errors.IdempotencyConflictError(key="k"),
    SpecMovedError(),
    errors.InvalidValueError(field="port", value=1, expected="8080"),
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
    error = errors.ActionNotAllowedError(action="bake", phase="pending", reason="it is in phase pending")

    assert told(error) == "cannot bake now: it is in phase pending"
