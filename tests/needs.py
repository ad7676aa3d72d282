"""Services that a test needs: in CI a missing one is a failure, elsewhere a reason to skip."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from demo.services import installed

if TYPE_CHECKING:
    from pathlib import Path

    from demo.services import Service


def needs(*kinds: type[Service]) -> None:
    """Skip the running test, or let it fail in CI, where the Debian package of a service is missing."""
    _need([kind.package for kind in kinds if not installed(kind)])


def needs_program(path: Path, *, package: str) -> None:
    """Skip the running test, or let it fail in CI, where there is no program at *path*, which *package* brings."""
    _need([] if path.exists() else [package])


def _need(packages: list[str]) -> None:
    missing = ", ".join(packages)
    if missing and os.environ.get("CI"):
        pytest.fail(f"Debian packages are missing: {missing}")
    if missing:
        pytest.skip(f"Debian packages are missing: {missing}")
