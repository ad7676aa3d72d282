"""What a value is, in one word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

V = TypeVar("V")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(cls: type[V]) -> type[V]:
    """
    Make a class a value: made by keyword arguments, compared by content, never changed once made.

    The type checker refuses every assignment to a field. At run time nothing does: a release makes tens of values for
    each of its targets, and `dataclass(frozen=True)` makes every one of them half as dear again.
    """
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(cls)
