"""A fresh instance for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.host.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(root=tmp_path)
    yield made
    made.stop_app()
