"""A sentence in English that remembers what it is made of, so that a page can say it in the language of its reader."""

from __future__ import annotations

from enum import Enum


class Said(str):
    """
    An English sentence, or the end of one; a text like any other where nobody asks for more.

    Attributes:
        template: The sentence with places such as ``%(name)s``: what its translations stand under.
        facts: What fills the places; one may be said itself.
    """

    __slots__ = ("facts", "template")

    template: str
    facts: dict[str, object]


def said(template: str, **facts: object) -> Said:
    """Return *template* with *facts* in its places; a member of an enumeration is shown by its value."""
    shown = {name: fact.value if isinstance(fact, Enum) else fact for name, fact in facts.items()}
    made = Said(template % shown)
    made.template, made.facts = template, facts
    return made
