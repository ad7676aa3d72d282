"""`get`, and watching."""

from __future__ import annotations

import json

import httpx

from rollwave.cli.exits import Exit
from tests.unit.cli.fake_api import deployment, event, sse


def test_a_name_that_does_not_exist_is_compared_with_those_that_do(fleet, cli):
    """One look at the list saves a person one."""
    fleet.on("GET", "deployments", [])
    fleet.refuse("GET", "groups/shop-prdo", "input.not_found", "no group 'shop-prdo'", kind="group", name="shop-prdo")

    result = cli("get", "shop-prdo")

    assert result.code == Exit.NOT_FOUND
    assert result.err == "error: no group 'shop-prdo'\nhint: did you mean 'shop-prod'?\n"


def test_watching_in_a_pipe_is_one_line_per_change(fleet, cli):
    """Each event once, in order, with its time; the last line is where it ended."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(1), event(2))))
    answers = [deployment()] * 2 + [deployment(phase="success", status="succeeded", sentence="Done: 3 of 3.")] * 9
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))

    result = cli("get", "12", "-w")

    assert result.code == Exit.OK
    assert [line for line in result.out.splitlines() if "event" in line] == ["12:00:01  event 1", "12:00:01  event 2"]
    assert result.out.splitlines()[-1].strip() == "succeeded: Done: 3 of 3."


def test_watching_in_json_is_one_object_per_line(fleet, cli):
    """Events as the API wrote them, for a program that reads line by line."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(1), event(2))))
    answers = [deployment()] * 2 + [deployment(phase="aborted", status="aborted")] * 9
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))

    result = cli("get", "shop-prod", "-w", "--json")

    assert result.code == Exit.FAILED
    assert [json.loads(line)["seq"] for line in result.out.splitlines()] == [1, 2]
