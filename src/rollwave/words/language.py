"""The languages that Rollwave speaks, and which one somebody asks for."""

from __future__ import annotations

from enum import Enum


class Language(Enum):
    """A language, by its tag (RFC 5646)."""

    ENGLISH = "en"
    CHINESE = "zh-Hans"


def language_of(tag: str) -> Language | None:
    """Return the language that *tag* (``zh-CN``, ``zh-hans``, ``en_US``) is a kind of; None where we speak none."""
    first = tag.strip().replace("_", "-").partition("-")[0].lower()
    return {"en": Language.ENGLISH, "zh": Language.CHINESE}.get(first)


def asked_for(accept_language: str | None) -> Language:
    """Return the language that an ``Accept-Language`` header likes best (RFC 9110); English where it names none."""
    best, best_weight = Language.ENGLISH, 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameter = part.partition(";")
        language, weight = language_of(tag), _weight(parameter)
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    if not parameter.strip():
        return 1.0
    try:
        return float(parameter.strip().removeprefix("q="))
    except ValueError:
        return 0.0
