"""Settings of a deployment on the command line: ``--set key=value``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import fields

from rollwave.cli.errors import UsageError
from rollwave.cli.lookup import suggest
from rollwave.domain.config import DeploymentConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS = {"true": True, "false": False}


def parse_settings(pairs: Iterable[str]) -> dict[str, bool | int | str]:
    """
    Return ``key=value`` pairs as JSON values; the API checks the ranges.

    Raises:
        UsageError: If a pair has no ``=``, a key is unknown, or a key is given twice.
    """
    known = {setting.name for setting in fields(DeploymentConfig)}
    settings: dict[str, bool | int | str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} has no value", hint="write it like --set max_unavailable_percent=10")
        if name not in known:
            raise UsageError(
                f"{name!r} is not a setting", hint=suggest(name, known) or f"known: {', '.join(sorted(known))}"
            )
        if name in settings:
            raise UsageError(f"--set {name} is given twice")
        settings[name] = _value(text)
    return settings


def _value(text: str) -> bool | int | str:
    if text in _WORDS:
        return _WORDS[text]
    try:
        return int(text)
    except ValueError:
        return text
