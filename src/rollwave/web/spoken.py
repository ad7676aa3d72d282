"""What rooms below say in English, in the language of the page: why an action is closed, what is wrong with a spec."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from django.utils.translation import gettext

from rollwave.domain.model import Brake, Phase
from rollwave.domain.said import Said
from rollwave.web.language import language_shown
from rollwave.words.catalog import name_of
from rollwave.words.standing import brake_reason

if TYPE_CHECKING:
    from collections.abc import Sequence


def spoken(text: str | None) -> str:
    """Return *text* in the language of the page; as it is where it is nothing that was `said`."""
    if not isinstance(text, Said):
        return text or ""
    return gettext(text.template) % {name: shown(fact) for name, fact in text.facts.items()}


def shown(fact: object) -> object:
    """Return a fact of a sentence as the page shows it."""
    if isinstance(fact, Phase):
        return name_of(fact, language_shown())
    if isinstance(fact, Brake):
        return brake_reason(fact, language_shown())
    if isinstance(fact, Enum):
        return fact.value
    if isinstance(fact, list | tuple):
        return _listed(fact)
    return spoken(fact) if isinstance(fact, str) else fact


def _listed(facts: Sequence[object]) -> str:
    return ", ".join(map(str, facts)) or "—"
