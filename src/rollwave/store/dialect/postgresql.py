"""What is PostgreSQL's own: parameters have types, JSON is ``jsonb``, transactions may wait for each other."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

JSON_ARRAY: Final = "json_build_array"

_IDS: Final = frozenset({"id", "deployment_id", "instance_id"})
_NUMBERS: Final = frozenset({"slice", "attempt", "batch", "position", "seq", "first_seq", "number", "epoch", "recalls"})
_FLAGS: Final = frozenset({"hold", "offline", "failed", "new", "busy_elsewhere", "restored"})
_TIMES: Final = frozenset({"at", "lease_until"})
_DOCUMENTS: Final = frozenset({"failure", "lines"})
"""Names of columns that are no text: the same name has the same type in every statement."""

_GIVEN_UP: Final = frozenset({"40001", "40P01"})
"""What the server says of a transaction that it undid because of another one: serialization failure, deadlock."""


def _picked(value: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{_typed(value, index, column)} AS {column}" for index, column in enumerate(columns))


def _typed(value: str, index: int, column: str) -> str:
    if column in _DOCUMENTS:
        return f"NULLIF({value} -> {index}, 'null'::jsonb)"
    text = f"{value} ->> {index}"
    if column in _IDS | _NUMBERS:
        return f"({text})::bigint"
    if column in _FLAGS:
        return f"({text})::boolean"
    return f"({text})::timestamptz" if column in _TIMES else text


def recordset(*columns: str) -> str:
    """Return a FROM item with *columns*, made of one parameter: what `pack` returns for rows of as many values."""
    return f"(SELECT {_picked('value', columns)} FROM jsonb_array_elements(%s::jsonb)) AS fresh"


def nested_recordset(*columns: str, item: Sequence[str]) -> str:
    """
    Return a FROM item made of one parameter: what `pack` returns for rows of *columns* and, last, a list.

    It has a row for each item of the lists, with *columns*, the columns *item* and ``place``, from 0, in its list.
    """
    return f"""(
    WITH one AS MATERIALIZED (
        SELECT {_picked("value", columns)}, value -> {len(columns)} AS items FROM jsonb_array_elements(%s::jsonb)
    )
    SELECT {", ".join(columns)}, each.place - 1 AS place, {_picked("each.value", item)}
    FROM one, jsonb_array_elements(one.items) WITH ORDINALITY AS each(value, place)
) AS fresh"""


def as_json(column: str) -> str:
    """Return the expression for a column that holds JSON, as a part of other JSON."""
    return column


def json_text(**members: str) -> str:
    """Return the expression for the text of a JSON object, from one expression for each member."""
    listed = ", ".join(f"'{name}', {value}" for name, value in members.items())
    return f"json_build_object({listed})::text"


def joined(column: str) -> str:
    """Return the expression that joins a column of JSON values, with commas between them."""
    return f"string_agg({column}::text, ',')"


def stored_time(column: str) -> str:
    """Return the expression for a datetime column's value, from a packed time in *column*."""
    return column


def packed_time(column: str) -> str:
    """Return the expression that packs a datetime column."""
    return column


def timestamp(at: datetime) -> str:
    """Return *at*, in UTC, as a datetime column takes it."""
    return at.isoformat()


@contextmanager
def snapshot() -> Iterator[None]:
    """Let every read inside see the same instant; waits for no writer, and must not write."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def alone(what: str) -> None:
    """Let nobody else do *what* until this transaction ends: who asks for the same waits here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"rollwave {what}"])


def was_given_up(error: Exception) -> bool:
    """Return whether the server undid a transaction because of another one, so that it may be tried anew."""
    return getattr(error.__cause__, "sqlstate", None) in _GIVEN_UP
