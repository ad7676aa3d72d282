"""Refusals at a page: the facts of an error are what its sentence is made of, in either language."""

from __future__ import annotations

import json
import pickle
import re

import pytest
from django.utils.translation import override

from rollwave.domain import errors
from rollwave.domain.model import Brake, BrakeCause, Phase
from rollwave.domain.said import said
from rollwave.web import refusals
from rollwave.web.json_text import encode
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
    errors.InvalidValueError(field="port", value=1, expected=said("one of %(values)s", values="8080")),
    errors.InvalidValueError(field="reason", value="", expected=said("why it may go ahead")),
    errors.OwnApprovalError(actor="maria"),
    errors.ActionNotAllowedError(action="bake", phase="canary", reason="it is in phase canary, not verify_success"),
    refusals.ForbiddenError(actor="maria", permission="manage"),
    refusals.UserExistsError(name="maria"),
    refusals.LastManagerError(name="maria"),
    refusals.TokenExistsError(name="ci"),
    refusals.LastTokenError(name="ci"),
    refusals.InternalError(),
    refusals.TooLargeError(limit=5),
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


def test_what_is_said_is_a_text_like_any_other():
    """In JSON of the API, in a log, copied; a page says it in its language, with all that it is made of."""
    why = said("it is braked (%(brake)s)", brake=Brake(cause=BrakeCause.NO_CANARY, reason="every canary left the plan"))
    made = said("%(name)s is %(value)s; expected %(expected)s", name="x", value=[], expected=why)

    assert made == "x is []; expected it is braked (every canary left the plan)"
    assert json.loads(encode({"made": made})) == {"made": made}
    assert pickle.loads(pickle.dumps(made)) == made
    with override("zh-hans"):
        chinese = spoken(made)
    assert chinese.startswith("x 为 —；应为：已刹车（")
    assert "canary" not in chinese


def test_an_action_that_is_closed_is_told_in_chinese():
    """With the name that the phase has there."""
    closed = said("it is in phase %(phase)s, not %(wanted)s", phase=Phase.CANARY, wanted=Phase.VERIFY_SUCCESS)

    assert closed == "it is in phase canary, not verify_success"
    with override("zh-hans"):
        assert not re.search("canary|phase", spoken(closed))
