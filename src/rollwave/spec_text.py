"""A spec as people like to read it: YAML, a short thing on one line, a large one with a line for each field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WIDTH: Final = 110
"""Characters of a line; a mapping or a list that does not fit is written with a line for each of its parts."""

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9._/-]*(?: [A-Za-z0-9._/-]+)*")
"""Text that needs no quotes, whatever stands around it."""

_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Text that some reader of YAML would take for something else."""

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write_spec(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the YAML of *document*: lists of mappings by section, of JSON values; `read_spec` reads it back."""
    lines: list[str] = []
    for section, items in document.items():
        if lines:
            lines.append("")
        lines.append(f"{section}:" if items else f"{section}: []")
        for item in items:
            lines += _item(item)
    return "".join(f"{line}\n" for line in lines)


def _item(item: Mapping[str, Any]) -> Iterator[str]:
    short = f"  - {_flow(item)}"
    if len(short) <= _WIDTH:
        yield short
        return
    lines = [line for name, value in item.items() for line in _field(name, value)]
    yield from (f"  - {line}" if not place else f"    {line}" for place, line in enumerate(lines))


def _field(name: str, value: Any) -> Iterator[str]:
    short = f"{name}: {_flow(value)}"
    if len(short) + 4 <= _WIDTH or not isinstance(value, list | dict):
        yield short
        return
    yield f"{name}:"
    if isinstance(value, list):
        yield from (f"  - {_flow(one)}" for one in value)
    else:
        yield from (f"  {_scalar(key)}: {_flow(one)}" for key, one in value.items())


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if is_plain else f'"{"".join(map(_escaped, value))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08X}"
