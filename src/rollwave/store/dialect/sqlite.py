"""What is SQLite's own: JSON functions, times as text, transactions that may write."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

JSON_ARRAY: Final = "json_array"


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


def as_json(column: str) -> str:
    """Return the expression for a column that holds JSON, as a part of other JSON."""
    return f"json({column})"


def json_text(**members: str) -> str:
    """Return the expression for the text of a JSON object, from one expression for each member."""
    listed = ", ".join(f"'{name}', {value}" for name, value in members.items())
    return f"json_object({listed})"


def joined(column: str) -> str:
    """Return the expression that joins a column of JSON values, with commas between them."""
    return f"group_concat({column})"


def stored_time(column: str) -> str:
    """Return the expression for a datetime column's value, from a packed time in *column*."""
    return f"rtrim(replace({column}, 'T', ' '), 'Z')"


def packed_time(column: str) -> str:
    """Return the expression that packs a datetime column, which says no zone here."""
    return f"{column} || 'Z'"


def timestamp(at: datetime) -> str:
    """Return *at*, in UTC, as a datetime column holds it."""
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


def alone(_what: str) -> None:
    """Let nobody else do *what* until this transaction ends; nobody can, for only one may write."""


def was_given_up(_error: Exception) -> bool:
    """Return whether a transaction may be tried anew: never, for one waits for the other before it begins."""
    return False
