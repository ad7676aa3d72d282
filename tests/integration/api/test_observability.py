"""Metrics, probes and log lines of the real server."""

from __future__ import annotations

import json
import signal
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.api.conftest import PATIENCE_S, Served

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
[log]
format = "json"

[metrics]
port = 0
"""


def sample(page: str, series: str) -> float:
    """Return the value of one series of a page."""
    return next(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{series} "))


def page_of(served: Served, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{served.endpoint}/metrics", headers=headers, timeout=PATIENCE_S)


def test_metrics_need_a_token(served):
    """They tell how much is released, and how badly it goes."""
    assert page_of(served, served.token).status_code == 200
    for refused in (page_of(served), page_of(served, "rw_guessed")):
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "auth.unauthorized"


def test_a_release_is_counted(served, shop):
    """Four targets are four more mark-ups, all of them measured, and nothing is left open."""
    before = page_of(served, served.token).text

    shop.release("1.0")

    after = page_of(served, served.token).text
    for series in (
        'rollwave_transitions_total{progress="success",stage="markup"}',
        'rollwave_stage_seconds_count{outcome="success",stage="markup"}',
    ):
        assert sample(after, series) - sample(before, series) == 4
    opened, ended = "rollwave_slices_opened_total", 'rollwave_slices_ended_total{outcome="done"}'
    assert sample(after, opened) - sample(before, opened) == sample(after, ended) - sample(before, ended) > 0
    assert sample(after, "rollwave_store_up") == 1
    # What the store says is a second old at most, and may be from before.
    deadline = monotonic() + PATIENCE_S
    while sample(page_of(served, served.token).text, 'rollwave_slices_open{state="held"}'):
        assert monotonic() < deadline
        Event().wait(0.1)


@pytest.mark.parametrize("path", ["/health/live", "/livez", "/health/ready", "/readyz"])
def test_probes_need_no_token(served, path):
    """Whoever supervises has none."""
    assert httpx.get(f"{served.endpoint}{path}", timeout=PATIENCE_S).status_code == 200


def test_an_answer_carries_the_id_of_its_request(served):
    """The client's own, where it is one that a log can stand; else a new one."""
    ids = [
        httpx.get(f"{served.endpoint}/livez", headers=headers, timeout=PATIENCE_S).headers["X-Request-Id"]
        for headers in ({"X-Request-Id": "build-17"}, {"X-Request-Id": "a b"}, {})
    ]

    assert ids[0] == "build-17"
    assert len({*ids, "a b"}) == 4


def test_lines_and_a_port_of_its_own(tmp_path: Path):
    """
    Where a port is set, metrics and probes are there without a token.

    Every request that may have changed something is one line in the log: who, what, how it ended, and its id.
    """
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "rollwave.toml").write_text(SETTINGS)
    served = Served(data_dir)
    headers = {"Authorization": f"Bearer {served.token}", "X-Request-Id": "apply-1"}
    with httpx.Client(base_url=f"{served.endpoint}/api/v1", headers=headers, timeout=PATIENCE_S) as http:
        assert http.post("/spec", json={"spec": {"apps": [{"name": "shop"}]}}).status_code == 200
        assert http.post("/deployments/7/actions/brake", json={}).status_code == 404
        assert http.get("/apps").status_code == 200

    code, errors = served.stop(signal.SIGTERM)

    assert code == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    said = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in said] == [
        ("POST", "/api/v1/spec", 200),
        ("POST", "/api/v1/deployments/7/actions/brake", 404),
    ]
    assert {(line["actor"], line["request_id"]) for line in said} == {("admin", "apply-1")}
    assert [line.get("deployment") for line in said] == [None, 7]
    assert any(line["event"] == "metrics_served" and line["port"] for line in lines)
