"""Values before and after: what differs, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rollwave.web.portal.words import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Difference(Struct, frozen=True, kw_only=True):
    """A field with what it was and what it is then, each as text; *is_new*: there was nothing before."""

    name: str
    before: str
    after: str
    is_new: bool


def differences(before: Mapping[str, Any], after: Mapping[str, Any], *, is_new: bool = False) -> list[Difference]:
    """Return what differs, inside a mapping key by key; of what *is_new*, whatever it has."""
    return [
        Difference(name=name, before=said(was), after=said(then), is_new=is_new)
        for field in {**before, **after}
        for name, was, then in _each(field, before.get(field), after.get(field))
        if not (is_new and then in ("", None, [], {}))
    ]


def _each(name: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _each(f"{name}.{key}", before.get(key), after.get(key))
    elif before != after:
        yield name, before, after


def said(value: object) -> str:
    """Return a value of JSON as a line of text."""
    if value in (None, "", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} = {said(one)}" for name, one in value.items())
    return " ".join(map(said, value)) if isinstance(value, list | tuple) else str(value)
