"""A way to run the command line against an API that answers from a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from rollwave.cli.main import run
from tests.unit.cli.fake_api import ENDPOINT, FakeApi


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def cli(api, capsys, monkeypatch, tmp_path):
    """Run one command line; stdout and stderr are pipes, the terminal is 120 columns wide, no ROLLWAVE_* is set."""
    for name in ("ENDPOINT", "TOKEN", "TOKEN_FILE", "DATA", "SIGNING_KEY"):
        monkeypatch.delenv(f"ROLLWAVE_{name}", raising=False)
    monkeypatch.setenv("ROLLWAVE_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run_one(*arguments: object) -> Result:
        code = run([str(argument) for argument in arguments], transport=api.transport)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_one
