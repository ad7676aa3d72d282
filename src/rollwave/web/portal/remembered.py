"""What many look at is read once: pages that renew themselves share what they show, for a moment."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import cache

from rollwave.web.access import principal_of
from rollwave.web.language import language_shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

MOMENT_S: Final = 2
"""How old what is shown may be: less than a page waits until it renews itself."""


def remembered(request: HttpRequest, name: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what *read* gives, or gave a moment ago for somebody who may see just the same in the same language."""
    who = hashlib.sha256(repr(principal_of(request).limits).encode()).hexdigest()
    shown: dict[str, Any] | None = cache.get_or_set(
        f"portal:{name}:{language_shown().value}:{who}", read, timeout=MOMENT_S
    )
    assert shown is not None
    return shown
