"""Words: what the portal says it says in Chinese, too."""

from __future__ import annotations

import re
from pathlib import Path

from tests import messages

_NAMES = re.compile(r"%\(\w+\)s|\{\w+\}")


def test_no_message_is_untranslated():
    """Every message of every template and module has a translation that nobody guessed, in all of its forms."""
    assert messages.untranslated() == []


def test_translations_fill_in_what_the_message_fills_in():
    """A translation names the same places as its message, and no other: else it would fail only when it is shown."""
    wrong = []
    for message in messages.translated():
        forms = message.id if isinstance(message.id, tuple | list) else [message.id]
        strings = message.string if isinstance(message.string, tuple | list) else [message.string]
        if message.id and set(_NAMES.findall("".join(strings))) != set(_NAMES.findall("".join(forms))):
            wrong.append(message.id)

    assert wrong == []


def test_templates_say_nothing_that_is_not_marked():
    """Text between tags is marked for translation, but for names, numbers and signs."""
    found = {}
    for path in sorted((messages.SOURCE / "web" / "templates").rglob("*.html")):
        text = path.read_text()
        text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.DOTALL)
        text = re.sub(r"{%.*?%}|{{.*?}}|&\w+;|<code>.*?</code>|<!--.*?-->", "", text, flags=re.DOTALL)
        words = re.findall(r">([^<>]*[A-Za-z]{2,}[^<>]*)<", text)
        if left := [one.strip() for one in words if one.strip() not in _SIGNS]:
            found[path.name] = left

    assert found == {}


_SIGNS = {"Rollwave", "Rollwave · Rollwave", "EN", "CSV", "JSON", "SHA-256", "Ed25519"}
"""What is the same in every language."""


def test_the_catalog_is_what_the_chore_writes():
    """It has every message once and none that nobody says."""
    said = {(one.context, one.id) for one in messages.said() if one.id}
    known = {(one.context, one.id) for one in messages.translated() if one.id}

    assert known == said


def test_compiled_translations_are_not_in_the_repository():
    """They are made from the catalog, by `./dev` and by the build of the wheel."""
    ignored = (Path(messages.__file__).parents[1] / ".gitignore").read_text().splitlines()

    assert "*.mo" in ignored
