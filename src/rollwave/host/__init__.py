"""The host driver: one file that runs on servers, and how the controller gets hold of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DRIVER_PATH: Final = Path(__file__).with_name("driver.py")
"""The driver's source. It runs with the server's own Python (3.8 or newer) and imports nothing of Rollwave."""


def driver_source() -> bytes:
    """Return the exact bytes that are written once on a server, under their content hash."""
    return DRIVER_PATH.read_bytes()
