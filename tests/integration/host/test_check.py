"""``driver.py check``: what it sees, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rollwave.host import DRIVER_PATH

if TYPE_CHECKING:
    from pathlib import Path


def ask(question: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the driver from stdin, as it is run on a server that has nothing of ours."""
    with DRIVER_PATH.open() as driver:
        return subprocess.run(
            [sys.executable, "-I", "-", "check", json.dumps(question)],
            stdin=driver,
            capture_output=True,
            text=True,
            env={**os.environ, **variables},
            check=False,
        )


def findings(question: dict[str, Any], **variables: str) -> dict[str, dict[str, str]]:
    done = ask(question, **variables)
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["findings"]}


@pytest.fixture
def question(tmp_path: Path) -> dict[str, Any]:
    return {
        "deploy_path": str(tmp_path / "srv" / "shop"),
        "start": ["sh", "-c", "true"],
        "stop": ["/bin/sh", "-c", "true"],
        "health_path": "/healthz",
        "port": 1,
        "free_bytes": 1,
    }


def test_a_good_server_lacks_nothing(question: dict[str, Any], tmp_path: Path) -> None:
    """All is there but the app, which is only noted; and the server is as it was."""
    found = findings(question)

    assert {name: one["verdict"] for name, one in found.items()} == {
        "python": "ok",
        "openssl": "ok",
        "zstd": "ok",
        "directory": "ok",
        "disk": "ok",
        "start": "ok",
        "stop": "ok",
        "health": "note",
    }
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(question: dict[str, Any], tmp_path: Path) -> None:
    """No programs on PATH, no room, a file in the way: each is a finding that says what would be right."""
    (tmp_path / "srv").touch()

    found = findings({**question, "free_bytes": 1 << 62, "stop": ["no-such-program"]}, PATH=str(tmp_path))

    missing = {name: one["message"] for name, one in found.items() if one["verdict"] == "missing"}
    assert set(missing) >= {"openssl", "directory", "disk", "start", "stop"}
    assert "3.0 or newer" in missing["openssl"]
    assert "are needed" in missing["disk"]
    assert "'no-such-program' is not there" in missing["stop"]


def test_an_old_openssl_is_not_enough(question: dict[str, Any], tmp_path: Path) -> None:
    """LibreSSL, and OpenSSL before 3, cannot verify what packages are signed with."""
    for said in ("OpenSSL 1.1.1w  11 Sep 2023", "LibreSSL 3.8.2"):
        (tmp_path / "openssl").write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / "openssl").chmod(0o755)

        found = findings(question, PATH=f"{tmp_path}:{os.environ['PATH']}")

        assert found["openssl"]["verdict"] == "missing"
        assert said.split()[1] in found["openssl"]["message"]


@pytest.mark.parametrize("change", [{"port": 0}, {"deploy_path": "relative"}, {"start": []}, {"more": 1}])
def test_a_wrong_question_is_refused(question: dict[str, Any], change: dict[str, Any]) -> None:
    """It is a usage error that names the field."""
    done = ask({**question, **change})

    assert done.returncode == 2
    assert next(iter(change)) in done.stderr
