"""Which version is installed."""

from __future__ import annotations

from importlib.metadata import version


def installed_version() -> str:
    """Return the version of the installed package."""
    return version("rollwave")
