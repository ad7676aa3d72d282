"""
What depends on the database: SQLite today. All other SQL of the store is the same for SQLite and PostgreSQL.

Bulk statements take one JSON parameter. That is one call for thousands of rows, and while it runs the interpreter's
lock is free: the event loop next to it goes on.
"""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

V = TypeVar("V")


def recordset(*columns: str) -> str:
    """Return a FROM item with *columns*, made of one parameter: what `pack` returns for rows of as many values."""
    picked = ", ".join(f"value ->> {index} AS {column}" for index, column in enumerate(columns))
    return f"(SELECT {picked} FROM json_each(%s)) AS fresh"


def nested_recordset(*columns: str, item: Sequence[str]) -> str:
    """
    Return a FROM item made of one parameter: what `pack` returns for rows of *columns* and, last, a list.

    It has a row for each item of the lists, with *columns*, the columns *item* and ``place``, from 0, in its list.
    """
    outer = ", ".join(f"value ->> {index} AS {column}" for index, column in enumerate(columns))
    inner = ", ".join(f"each.value ->> {index} AS {column}" for index, column in enumerate(item))
    # Materialized, or every row would parse its whole list again; and without the limit SQLite would take it all apart
    # and read a whole deployment for each row.
    return f"""(
    WITH one AS MATERIALIZED (SELECT {outer}, value -> {len(columns)} AS items FROM json_each(%s))
    SELECT {", ".join(columns)}, each.key AS place, {inner} FROM one, json_each(one.items) AS each LIMIT -1
) AS fresh"""


def stored_time(column: str) -> str:
    """Return the expression for a datetime column's value, from a packed time in *column*."""
    return f"rtrim(replace({column}, 'T', ' '), 'Z')"


def packed_time(column: str) -> str:
    """Return the expression that packs a datetime column, which says no zone in SQLite."""
    return f"{column} || 'Z'"


def json_text(**members: str) -> str:
    """Return the expression for the text of a JSON object, from one expression for each member."""
    listed = ", ".join(f"'{name}', {value}" for name, value in members.items())
    return f"json_object({listed})"


def packed(kind: type[msgspec.Struct], **fields: str) -> str:
    """Return the expression that packs a value of *kind*, a struct that is a list in JSON, from one for each field."""
    return f"json_array({', '.join(fields[name] for name in kind.__struct_fields__)})"


def pack(rows: Sequence[object]) -> str:
    """Return the parameter of a `recordset`; a value that is no scalar becomes JSON text, a time is in UTC."""
    return msgspec.json.encode(rows).decode()


def timestamp(at: datetime) -> str:
    """Return *at* as the text that a datetime column takes from a `recordset`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(" ").removesuffix("+00:00")


@contextmanager
def snapshot() -> Iterator[None]:
    """Let every read inside see the same instant; waits for no writer, and must not write."""
    if connection.in_atomic_block:
        yield
        return
    # The settings make every transaction one that may write; this one need not queue for that.
    connection.ensure_connection()
    wrapper: Any = connection
    wrapper.transaction_mode, usual = "DEFERRED", wrapper.transaction_mode
    try:
        with transaction.atomic():
            yield
    finally:
        wrapper.transaction_mode = usual


def execute(statement: str, *parameters: str | int | None) -> int:
    """Run one statement; return how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def fetch_packed(kind: type[V], expression: str, rest: str, *parameters: str | int) -> list[V]:
    """
    Run ``SELECT expression rest``, where the expression has `packed` a value of *kind*; return the values.

    For thousands of rows: read one by one, each would take the interpreter's lock from the event loop.
    """
    one_by_one = f"SELECT {expression} AS value {rest}"
    ((text,),) = fetch(f"SELECT '[' || group_concat(value) || ']' FROM ({one_by_one})", *parameters)
    # Not strict, for SQLite's booleans are numbers.
    return [] if text is None else msgspec.json.decode(text, type=list[kind], strict=False)  # type: ignore[valid-type]


def fetch(statement: str, *parameters: str | int) -> Sequence[tuple[Any, ...]]:
    """Run one query; return its rows as tuples."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found
