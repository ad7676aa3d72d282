"""What the porter keeps beside the driver."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from rollwave.host import DRIVER_PATH
from rollwave.host.porter import load_driver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # As on a server, where Python runs isolated from what our own environment says.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = tmp_path / f"{'0' * 64}.py"
    path.write_bytes(DRIVER_PATH.read_bytes())
    return path


def kept_beside(driver: Path) -> Path:
    (kept,) = (driver.parent / "__pycache__").iterdir()
    return kept


def test_the_driver_is_compiled_once(driver: Path) -> None:
    """Whoever comes next takes what is kept: here something that no compiler makes of this source."""
    load_driver(str(driver))
    kept = kept_beside(driver)
    kept.write_bytes(kept.read_bytes().replace(b".rollwave-package", b".rollwave-kompakt"))

    assert load_driver(str(driver))["MARKER"] == ".rollwave-kompakt"


@pytest.mark.parametrize("left", [0, 1, 16, 1000, -1])
def test_what_a_power_cut_left_of_it_is_no_trouble(driver: Path, left: int) -> None:
    """A part of it, or nothing: then the source is compiled."""
    load_driver(str(driver))
    kept = kept_beside(driver)
    kept.write_bytes(kept.read_bytes()[:left])

    names = load_driver(str(driver))

    assert names["main"](["check"]) == names["EXIT_USAGE"]
