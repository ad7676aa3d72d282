"""What applying a spec changed, or would change."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MARKS: Final = MappingProxyType(
    {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red"), "unchanged": (" ", "dim")}
)


def render_changes(changes: Sequence[dict[str, Any]], *, is_dry_run: bool) -> Text:
    """Return one line per thing that changes, one per changed field, and a line that counts."""
    lines = [line for change in changes for line in _lines(change)]
    return Text("\n").join([*lines, _summary(changes, is_dry_run=is_dry_run)])


def _lines(change: dict[str, Any]) -> Iterator[Text]:
    note = change["changes"].get("note")
    if change["action"] == "unchanged" and not note:
        return
    glyph, style = _MARKS.get(change["action"], ("?", ""))
    yield Text.assemble((f"{glyph} ", style), f"{change['kind']} ", (change["name"], "bold"))
    if note:
        yield Text(f"    {note}", style="dim")
    elif change["action"] == "update":
        for field, values in change["changes"].items():
            for name, before, after in _differences(field, values["from"], values["to"]):
                yield Text(f"    {name}: {_said(before)} → {_said(after)}", style="dim")


def _differences(name: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    """Yield what differs: inside a mapping, key by key."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield name, before, after
        return
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"{name}.{key}", before.get(key), after.get(key)


def _said(value: object) -> str:
    if value is None or value == "":
        return "not set"
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _summary(changes: Sequence[dict[str, Any]], *, is_dry_run: bool) -> Text:
    counts = Counter(change["action"] for change in changes)
    words = {"create": "created", "update": "changed", "delete": "deleted", "unchanged": "as it was"}
    said = ", ".join(f"{counts[action]} {word}" for action, word in words.items() if counts[action])
    if not said:
        return Text("nothing to change")
    return Text(f"would be: {said}; nothing was changed" if is_dry_run else said)
