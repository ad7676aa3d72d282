"""The process: start, token, lock, endpoint, signals, a kill."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from django.urls import get_resolver

from tests.integration.api.conftest import PATIENCE_S, SERVED, Served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.api.document import Document


@pytest.fixture
def start(tmp_path: Path):
    started: list[Served] = []

    def start_one() -> Served:
        started.append(Served(tmp_path / "data"))
        return started[-1]

    yield start_one
    for served in started:
        if served.process.poll() is None:
            served.stop(signal.SIGKILL)


def apps(served: Served) -> int:
    headers = {"Authorization": f"Bearer {served.token}"}
    return httpx.get(f"{served.endpoint}/api/v1/apps", headers=headers).status_code


def test_a_life(start):
    """First start: private files and a greeting. A second server is refused by name. SIGTERM ends it in order."""
    served = start()

    assert served.endpoint in served.greeting
    assert stat.S_IMODE((served.data_dir / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((served.data_dir / "keys" / "signing.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(served.data_dir.stat().st_mode) == 0o700
    assert httpx.get(f"{served.endpoint}/health/live").json() == {"live": True}
    assert httpx.get(f"{served.endpoint}/health/ready").json()["ready"]
    assert apps(served) == 200
    second = subprocess.run(
        [sys.executable, SERVED, served.data_dir], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"serve.already_running: process {served.process.pid} serves")
    assert served.stop(signal.SIGTERM)[0] == 0
    assert not (served.data_dir / "endpoint").exists()


def test_a_kill_leaves_nothing_that_hinders_the_next_start(start):
    """After SIGKILL the same directory serves again, with the same token and key."""
    first = start()
    token, key = first.token, (first.data_dir / "keys" / "signing.key").read_bytes()
    first.stop(signal.SIGKILL)

    second = start()

    assert (second.token, (second.data_dir / "keys" / "signing.key").read_bytes()) == (token, key)
    assert apps(second) == 200
    assert second.stop(signal.SIGINT)[0] == 0


def test_settings_that_nobody_understands_stop_the_start(tmp_path):
    """The error names file and key."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "rollwave.toml").write_text('[balancers.edge]\nkind = "caddy"\nadmn = "x"\n')

    done = subprocess.run(
        [sys.executable, SERVED, data_dir], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )

    assert done.returncode == 1
    assert "balancers.edge" in done.stderr
    assert "admn" in done.stderr


def test_the_document_is_served_by_ourselves_and_needs_no_token(served):
    """The OpenAPI document lists every route, and each with the errors that any route can meet."""
    content = httpx.get(f"{served.endpoint}/api/v1/openapi.json").json()

    operations = [one for path in content["paths"].values() for one in path.values()]
    resolver = get_resolver("rollwave.web.urls")
    routes = next(one for one in resolver.url_patterns if str(one.pattern) == "api/v1/").url_patterns
    named = {f"_{one.name}" for one in routes} - {"_openapi-json", "_api-root"}
    assert len(named) == len(operations)
    for name in named:
        assert any(one["operationId"].endswith(name) for one in operations), name
    for operation in operations:
        assert {"401", "403", "500", "503"} <= set(operation["responses"])
        assert operation["security"] == [{"BearerToken": []}, {"SessionCookie": []}]
    assert "http://" not in str(content)
    assert "https://" not in str(content)


@pytest.mark.parametrize(
    ("status", "content"),
    [(418, b"{}"), (200, b'{"error": 1}'), (200, b'[{"name": "a"}]'), (200, b'[{"name": 1}]'), (401, b"{}")],
)
def test_the_judge_of_answers_can_say_no(document: Document, status, content):
    """What every other test of this folder relies on: an answer that is not declared does not pass."""
    request = httpx.Request("GET", "http://test/api/v1/apps")
    headers = {"Content-Type": "application/json"}
    response = httpx.Response(status, content=content, headers=headers, request=request)

    with pytest.raises(AssertionError):
        document.check(response)
