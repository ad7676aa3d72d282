"""The language of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import translation

from rollwave.words.language import Language, asked_for, language_of

if TYPE_CHECKING:
    from django.http import HttpRequest


def language_asked(request: HttpRequest) -> Language:
    """Return what a client of the API wants to read, by its ``Accept-Language``; English where it does not say."""
    return asked_for(request.headers.get("Accept-Language"))


def language_shown() -> Language:
    """Return the language in which the page that is being made is shown."""
    return language_of(translation.get_language() or "") or Language.ENGLISH
