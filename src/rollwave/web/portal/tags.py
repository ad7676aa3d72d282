"""Template tags and filters of the portal; every template has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from django import template
from django.utils.html import format_html, format_html_join

from rollwave.web.portal.words import (
    CHANGES,
    FINDINGS,
    FLAGS,
    KINDS,
    NOTHING,
    SETTING_LABELS,
    STATUSES,
    THINGS,
    VERDICTS,
    setting_words,
    span_words,
)
from rollwave.web.spoken import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.utils.safestring import SafeString

register = template.Library()

register.filter("setting_words", setting_words)
register.filter("span", span_words)
register.filter("spoken", spoken)


@register.filter
def get(values: Mapping[str, Any], name: str) -> Any:
    """Return what a mapping has under *name*."""
    return values.get(name)


@register.filter
def finding(name: str) -> Any:
    """Return what is looked at on a server, as a person calls it."""
    return FINDINGS.get(name, name)


@register.filter
def figure(count: int) -> str:
    """Return a number as a person reads it: in thousands."""
    return f"{count:,}"


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


@register.filter
def timed(text: str | None) -> SafeString:
    """Return a sentence with the moments that it names in the viewer's zone."""
    parts = _MOMENT.split(text or "")
    shown = ((_moment(part) if index % 2 else part,) for index, part in enumerate(parts))
    return format_html_join("", "{}", shown)


_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)")
"""As `rollwave.words` tells it."""


def _moment(text: str) -> SafeString:
    iso = text.removesuffix(" UTC").replace(" ", "T")
    return format_html('<local-time datetime="{}Z" form="exact">{}</local-time>', iso, text)


@register.simple_tag(takes_context=True)
def live(context: Mapping[str, Any], part: str, seconds: int, *, also: str = "") -> SafeString:
    """
    Make an element renew itself every so many seconds, by the page that it is on: see ``live-part.js``.

    Args:
        context: Of the template.
        part: Id that the element gets.
        seconds: How often.
        also: Ids of other parts that come along.
    """
    attributes = {
        "id": part,
        "hx-get": context["request"].get_full_path(),
        "hx-trigger": f"every {seconds}s",
        "hx-select": f"#{part}",
        "hx-swap": "outerHTML",
        **({"hx-select-oob": ",".join(f"#{one}" for one in also.split())} if also else {}),
    }
    return format_html("data-live {}", format_html_join(" ", '{}="{}"', attributes.items()))


@register.simple_tag
def status_pill(status: str) -> SafeString:
    """Show the status of a release as a word on its color."""
    label, look = STATUSES[status]
    return format_html('<span class="pill {}">{}</span>', look, label)


@register.simple_tag
def flag_pills(reasons: list[str]) -> SafeString:
    """Show why an instance is not in traffic."""
    return format_html_join(" ", '<span class="pill {1}">{0}</span>', (FLAGS[one] for one in reasons))


@register.filter
def flag_words(reason: str) -> str:
    """Return what a reason is called."""
    return str(FLAGS[reason][0])


@register.filter
def kind_words(kind: str) -> str:
    """Return what a release is for."""
    return str(KINDS[kind])


@register.filter
def setting_label(name: str) -> str:
    """Return what a setting is called."""
    return str(SETTING_LABELS.get(name, name))


@register.filter
def setting_text(value: Any) -> str:
    """Return a value of ``rollwave.toml`` much as it stands there."""
    if value in (None, "", (), [], {}):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} = {setting_text(one)}" for name, one in value.items())
    return ", ".join(map(setting_text, value)) if isinstance(value, tuple | list) else str(value)


@register.simple_tag
def change_pill(do: str) -> SafeString:
    """Show what becomes of a thing."""
    label, look = CHANGES[do]
    return format_html('<span class="pill {}">{}</span>', look, label)


@register.filter
def thing_words(kind: str) -> str:
    """Return what a thing of the spec is called."""
    return str(THINGS[kind])


@register.simple_tag
def verdict_pill(verdict: Any) -> SafeString:
    """Show what came of a look at a server."""
    label, look = VERDICTS[verdict.value]
    return format_html('<span class="pill {}">{}</span>', look, label)


@register.filter
def seconds_between(began: datetime, ended: datetime | None) -> float | None:
    """Return how long something took; None where it is not over."""
    return (ended - began).total_seconds() if ended else None
