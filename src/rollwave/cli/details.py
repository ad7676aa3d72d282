"""One thing with all its fields: plain fields first, then its instances as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rollwave.cli.tables import render_list

if TYPE_CHECKING:
    from rich.console import Console

_TABLES: Final = ("instances",)
"""Fields that are lists of documents."""

_FOR_MACHINES: Final = frozenset({"manifest", "signature"})
"""Fields that no person reads; ``--json`` has them."""


def render_details(document: dict[str, Any], console: Console) -> Group:
    """Return *document* for *console*; a field without a value is left out."""
    fields = Table.grid(padding=(0, 3, 0, 0))
    fields.add_column(style="dim", no_wrap=True)
    fields.add_column(overflow="fold")
    for name, value in document.items():
        said = None if name in _TABLES or name in _FOR_MACHINES else _said(value)
        if said:
            fields.add_row(name.replace("_", " "), Text(said))
    tables = [
        part for name in _TABLES if name in document for part in (Text(), render_list(name, document[name], console))
    ]
    return Group(fields, *tables)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        # Names as they are: what stands here is what `--set` and a spec take.
        return "\n".join(f"{name}: {_said(inner)}" for name, inner in value.items() if _said(inner))
    if isinstance(value, list):
        return " ".join(map(_said, value))
    return "" if value is None else str(value)
