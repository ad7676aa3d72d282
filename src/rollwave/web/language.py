"""The language of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils import translation

from rollwave.words.language import Language, asked_for, language_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from django.http import HttpRequest

_CODES: Final = {Language.ENGLISH: "en", Language.CHINESE: "zh-hans"}


def language_asked(request: HttpRequest) -> Language:
    """
    Return what whoever asks wants to read: what was chosen in the portal, else what ``Accept-Language`` says.

    English where neither says anything.
    """
    chosen = language_of(request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, ""))
    return chosen or asked_for(request.headers.get("Accept-Language"))


def in_language(language: Language) -> AbstractContextManager[None]:
    """Return a block in which what a page would say is said in *language*."""
    return translation.override(_CODES[language])


def language_shown() -> Language:
    """Return the language in which the page that is being made is shown."""
    return language_of(translation.get_language() or "") or Language.ENGLISH
