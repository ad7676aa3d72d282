"""Template tags and filters of the portal, loaded as ``frame``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def initials(user: Any) -> str:
    """Return two letters for the picture of a person."""
    words = (user.get_full_name() or user.get_username()).replace(".", " ").replace("-", " ").split()
    return "".join(word[0] for word in words[:2]) if len(words) > 1 else words[0][:2] if words else "?"


@register.simple_tag
def when(moment: datetime | None, form: str = "short") -> SafeString | str:
    """Show a moment in the viewer's zone: *form* is short, full or ago; nothing where there is none."""
    if moment is None:
        return ""
    text = f"{moment:%Y-%m-%d %H:%M} UTC"
    return format_html('<local-time datetime="{}" form="{}">{}</local-time>', moment.isoformat(), form, text)
