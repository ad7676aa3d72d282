"""`status`: the exit code is the result."""

from __future__ import annotations

import httpx
import pytest

from rollwave.cli.exits import Exit
from tests.unit.cli.fake_api import deployment, event, sse


def test_a_group_without_deployments_says_how_to_begin(fleet, cli):
    """It exists, so it is no typing mistake."""
    fleet.on("GET", "deployments", [])

    result = cli("status", "shop-prod")

    assert result.code == Exit.NOT_FOUND
    assert "rollwave deploy shop-prod VERSION" in result.err


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"phase": "success", "status": "succeeded"}, Exit.OK),
        ({"phase": "aborted", "status": "aborted"}, Exit.FAILED),
        ({"phase": "failure", "status": "failed"}, Exit.FAILED),
        ({"phase": "verify_success", "status": "waiting"}, Exit.WAITING),
        ({"phase": "rolling_out", "status": "braked"}, Exit.WAITING),
    ],
)
def test_the_exit_code_of_status_is_the_result(fleet, cli, changed, code):
    """0 good, 1 bad, 3 for a person."""
    fleet.on("GET", "deployments/12", deployment(**changed))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse()))

    assert cli("status", "12").code == code


def test_status_waits_for_the_events(fleet, cli):
    """It asks again when something has happened, and ends when that was the end."""
    answers = [deployment(), deployment(), deployment(phase="success", status="succeeded")]
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(8))))

    assert cli("status", "12").code == Exit.OK
    assert answers == []


def test_status_gives_up_in_time(fleet, cli):
    """124, as `timeout` has it; the release goes on."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=_endless()))

    result = cli("status", "12", "--timeout", "0.05")

    assert result.code == Exit.TIMED_OUT
    assert "goes on" in result.err


def _endless():
    yield sse(is_over=False)
    import threading

    threading.Event().wait(2)


@pytest.mark.parametrize(
    ("phase", "status", "until", "code"),
    [
        ("verify_success", "waiting", "verify_success", Exit.OK),
        ("rolling_out", "running", "baking", Exit.OK),
        ("verify_failure", "failed", "baking", Exit.FAILED),
        ("verify_success", "waiting", "baking", Exit.WAITING),
        ("success", "succeeded", "verify_failure", Exit.FAILED),
    ],
)
def test_status_for_a_phase(fleet, cli, phase, status, until, code):
    """Reached or passed is good; over without it is bad."""
    fleet.on("GET", "deployments/12", deployment(phase=phase, status=status))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse()))

    assert cli("status", "12", "--for", until).code == code
