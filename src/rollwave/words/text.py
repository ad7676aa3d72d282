"""A text of the catalog."""

from __future__ import annotations

from typing import NamedTuple


class Plural(NamedTuple):
    """A text that depends on how many there are; a language without that distinction has plain texts."""

    one: str
    other: str

    def form(self, count: int) -> str:
        """Return the form for *count*."""
        return self.one if count == 1 else self.other


Text = str | Plural
"""What stands under a key: a template that is filled in by name."""
