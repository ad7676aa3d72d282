"""The table of statuses: complete, and the same for the document and for the answers."""

from __future__ import annotations

import json
from http import HTTPStatus

import rollwave.bootstrap  # every adapter, and with it every error that there is
from rollwave.domain import errors
from rollwave.domain.errors import RollwaveError
from rollwave.executors.errors import HostNotReadyError
from rollwave.packages import errors as packages
from rollwave.settings_file import SettingsInvalidError
from rollwave.telemetry.serving import MetricsAddressError
from rollwave.web import refusals
from rollwave.web.api.errors import STATUSES, ErrorOut, answers, error_response

assert rollwave.bootstrap

NEVER_ANSWERED = {
    errors.FencedError: "workers alone meet it",
    errors.RecalledError: "workers alone meet it",
    errors.CommandRepeatedError: "the use cases answer with what the first command did",
    packages.SourceError: "packages are built where the client is; at the start, the server stops",
    packages.KeyUnreadableError: "keys are read at the start",
    HostNotReadyError: "it becomes the failure of a target",
    SettingsInvalidError: "the server does not start",
    MetricsAddressError: "the same",
}
"""Errors that no request can meet, and why."""


OTHERS = ("rollwave.cli", "rollwave.web.server", "rollwave.web.setup", "rollwave.testing", "tests")
"""Modules whose errors never come out of a request: whatever else this process has imported."""


def kinds(root: type[RollwaveError] = RollwaveError) -> set[type[RollwaveError]]:
    below = set(root.__subclasses__())
    return below.union(*map(kinds, below))


def test_every_error_has_a_status_or_a_reason_to_have_none():
    """An error that is new in the code is either in the table, or named above."""
    ours = {kind for kind in kinds() if not kind.__module__.startswith(OTHERS)}
    hidden = {one for kind in NEVER_ANSWERED for one in (kind, *kinds(kind))}
    without = {kind.__name__ for kind in ours - hidden if kind.code not in STATUSES}

    assert without <= {"DataDirBusyError"}


def test_statuses_are_statuses():
    assert set(STATUSES.values()) <= {int(status) for status in HTTPStatus}


def test_a_route_declares_what_it_names_and_what_any_route_can_meet():
    declared = answers(errors.NotFoundError, errors.EmptyGroupError, ok=list[int])

    assert declared == {200: list[int], **dict.fromkeys((404, 409, 401, 403, 500, 503), ErrorOut)}


def test_an_answer_tells_code_message_field_and_facts():
    response = error_response(errors.InvalidValueError(field="port", value=0, expected="a port"))

    assert response.status_code == 422
    assert json.loads(response.content) == {
        "error": {
            "code": "input.invalid_value",
            "message": "port is 0; expected a port",
            "field": "port",
            "facts": {"field": "port", "value": 0, "expected": "a port"},
        }
    }


def test_facts_that_json_does_not_know_are_told_all_the_same():
    response = error_response(errors.InvalidValueError(field="x", value=object, expected="y"))

    assert json.loads(response.content)["error"]["facts"]["value"] == repr(object)


def test_an_error_without_a_status_is_a_mistake_of_the_server():
    response = error_response(errors.FencedError(deployment_id=1, slice_number=2))

    assert response.status_code == 500


def test_a_401_says_how_to_authenticate():
    assert error_response(refusals.UnauthorizedError(reason="there is no token"))["WWW-Authenticate"] == "Bearer"
