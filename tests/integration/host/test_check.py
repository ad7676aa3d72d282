"""``driver.py check``: what it sees, and that it leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.host.asking import a_question, ask, findings

NOBODY = 65534


@pytest.fixture
def question(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "srv").mkdir()
    return a_question(tmp_path / "srv")


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
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["srv"]


def test_what_is_missing_is_named(question: dict[str, Any], tmp_path: Path) -> None:
    """No programs on PATH, no room, a file in the way: each is a finding that says what would be right."""
    (tmp_path / "srv" / "shop").touch()

    found = findings({**question, "free_bytes": 1 << 62, "stop": ["no-such-program"]}, PATH=str(tmp_path))

    missing = {name: one["message"] for name, one in found.items() if one["verdict"] == "missing"}
    assert set(missing) >= {"openssl", "directory", "disk", "start", "stop"}
    assert "3.0 or newer" in missing["openssl"]
    assert "are needed" in missing["disk"]
    assert "'no-such-program' is not there" in missing["stop"]


@pytest.mark.parametrize("in_the_way", [False, True])
def test_a_parent_that_is_missing_is_named_as_a_release_would_refuse_it(
    question: dict[str, Any], tmp_path: Path, in_the_way: bool
) -> None:
    """No executor makes more than the deploy path itself: a mistyped one, or one on a disk that is not mounted."""
    parent = tmp_path / "mistyped"
    if in_the_way:
        parent.touch()

    found = findings({**question, "deploy_path": str(parent / "shop")})

    assert found["directory"]["verdict"] == "missing"
    assert f"{parent} is not a directory" in found["directory"]["message"]
    assert found["disk"]["verdict"] == "ok"


def test_a_directory_that_is_closed_to_us_is_named() -> None:
    """It is there, and the account that the driver runs as may not write in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)

        found = findings(
            a_question(Path(folder)), python="/usr/bin/python3", user=NOBODY if os.geteuid() == 0 else None
        )

    assert found["directory"]["verdict"] == "missing"
    assert f"{folder} is closed to user" in found["directory"]["message"]


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
