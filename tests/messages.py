"""
What the portal says, and how it says it in Chinese: ``./dev messages`` brings the catalog up to date.

Django's own way needs GNU gettext, a Debian package. Here Django turns a template into calls, and Babel finds
the calls.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_javascript, extract_python
from babel.messages.pofile import read_po, write_po

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babel.messages.catalog import Message

SOURCE = Path(__file__).parents[1] / "src" / "rollwave"
CATALOG = SOURCE / "web" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"

_KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "later": None,  # portal/words.py calls the lazy ones so
    "in_context": ((1, "c"), 2),
    "said": None,  # domain/said.py: whatever a room below may tell a page
    "npgettext": ((1, "c"), 2, 3),
}

_HEADER = rb"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=1; plural=0;\n"

"""


def said() -> Catalog:
    """Return every message of the templates and the modules, untranslated."""
    catalog = Catalog(locale="zh_Hans", fuzzy=False)
    for path in sorted(SOURCE.rglob("*.py")):
        _add(catalog, extract_python(BytesIO(path.read_bytes()), tuple(_KEYWORDS), (), {}))
    for path in sorted((SOURCE / "web" / "templates").rglob("*.html")):
        # What Django returns is no Python, but it reads as JavaScript: calls among words that mean nothing.
        calls = BytesIO(_calls_of(path).encode())
        _add(catalog, extract_javascript(calls, tuple(_KEYWORDS), (), {"encoding": "utf-8"}))
    return catalog


def translated() -> Catalog:
    """Return the catalog as it is in the repository."""
    with CATALOG.open("rb") as file:
        return read_po(file, locale="zh_Hans")


def untranslated() -> list[str]:
    """Return the messages that have no translation, or only a guessed one, or only one of some of their forms."""
    known = translated()
    return [_shown(one) for one in said() if one.id and not _is_good(known.get(one.id, one.context))]


def main() -> int:
    """Write the catalog anew: what is said, with the translations that there are. Return how many are missing."""
    known, wanted = translated(), said()
    for message in wanted:
        old = known.get(message.id, message.context) if message.id else None
        if old is not None:
            message.string = old.string
    with CATALOG.open("wb") as file:
        file.write(_HEADER)
        write_po(file, wanted, omit_header=True, no_location=True, sort_output=True, width=0)
    missing = untranslated()
    for one in missing:
        sys.stdout.write(f"untranslated: {one}\n")
    return len(missing)


def _calls_of(template: Path) -> str:
    from django.utils.translation.template import templatize

    return templatize(template.read_text(), origin=str(template))


def _add(catalog: Catalog, found: Iterator[tuple[int, str, object, list[str]]]) -> None:
    for _, function, messages, _ in found:
        spec = _KEYWORDS[function]
        parts = messages if isinstance(messages, tuple) else (messages,)
        if any(part is None for part in (parts[:2] if spec else parts[:1])):
            continue  # a name, not a text
        if spec is None:
            catalog.add(parts[0])
        elif spec == (1, 2):
            catalog.add((parts[0], parts[1]))
        elif len(spec) == 2:
            catalog.add(parts[1], context=parts[0])
        else:
            catalog.add((parts[1], parts[2]), context=parts[0])


def _is_good(message: Message | None) -> bool:
    if message is None or message.fuzzy:
        return False
    return all(message.string) if isinstance(message.string, tuple | list) else bool(message.string)


def _shown(message: Message) -> str:
    return " / ".join(message.id) if isinstance(message.id, tuple | list) else str(message.id)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
