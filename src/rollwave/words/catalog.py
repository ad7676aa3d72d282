"""The catalog: what is said under a key, in each language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rollwave.words import chinese, english
from rollwave.words.language import Language

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import Enum

    from rollwave.words.text import Text

TEXTS: Final[Mapping[Language, Mapping[str, Text]]] = {
    Language.ENGLISH: english.TEXTS,
    Language.CHINESE: chinese.TEXTS,
}
"""All that can be said; a key is in every language or in none."""


def say(language: Language, key: str, **facts: Any) -> str:
    """Return what is said under *key*; a text with a plural goes by the fact ``count``. KeyError, a bug, for no key."""
    text = TEXTS[language][key]
    template = text if isinstance(text, str) else text.form(facts["count"])
    return template.format_map(facts)


def name_of(member: Enum, language: Language) -> str:
    """Return what a person calls a member of an enumeration of the domain: an action, a phase, a cause, a stage."""
    return say(language, key_of(member))


def key_of(member: Enum) -> str:
    """Return the key of a member's name, such as ``action.raise_limit``."""
    kind = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(member).__name__)
    return f"{kind.removeprefix('_')}.{member.value}"


def either(language: Language, words: Sequence[str]) -> str:
    """Return several words as alternatives: "retry, abort or roll back"."""
    first, last = words[:-1], words[-1]
    return f"{say(language, 'and_more').join(first)}{say(language, 'or')}{last}" if first else last
