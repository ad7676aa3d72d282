"""
What depends on the database: SQLite or PostgreSQL, one for the whole process. All other SQL of the store is the same.

Bulk statements take one JSON parameter. That is one call for thousands of rows, and while it runs the interpreter's
lock is free: the event loop next to it goes on.
"""

from __future__ import annotations

import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import msgspec
from django.db import OperationalError, connection, transaction

if connection.vendor == "postgresql":
    from rollwave.store.dialect import postgresql as vendor
else:
    from rollwave.store.dialect import sqlite as vendor  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

recordset = vendor.recordset
nested_recordset = vendor.nested_recordset
as_json = vendor.as_json
json_text = vendor.json_text
stored_time = vendor.stored_time
packed_time = vendor.packed_time
snapshot = vendor.snapshot
alone = vendor.alone

TRIES: Final = 5
"""How often a transaction is tried that the database gives up because of another one."""
_FIRST_PAUSE_S: Final = 0.02
"""So long waits who was given up, and twice as long each time: at once it would take the other's lock again."""


def packed(kind: type[msgspec.Struct], **fields: str) -> str:
    """Return the expression that packs a value of *kind*, a struct that is a list in JSON, from one for each field."""
    return f"{vendor.JSON_ARRAY}({', '.join(fields[name] for name in kind.__struct_fields__)})"


def pack(rows: Sequence[object]) -> str:
    """Return the parameter of a `recordset`; a value that is no scalar becomes JSON text, a time is in UTC."""
    return msgspec.json.encode(rows).decode()


def timestamp(at: datetime) -> str:
    """Return *at* as the text that a datetime column takes from a `recordset`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return vendor.timestamp(at)


def in_transaction(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Return what *function* returns, done as one transaction; within one that is open, as a part of it.

    Where the database gives it up, for it and another one wait for each other, it is done anew: nothing was written.
    """
    if connection.in_atomic_block:
        return function(*args, **kwargs)
    for tried in range(TRIES):
        try:
            with transaction.atomic():
                return function(*args, **kwargs)
        except OperationalError as error:
            if tried + 1 == TRIES or not vendor.was_given_up(error):
                raise
        time.sleep(_FIRST_PAUSE_S * 2**tried)
    raise AssertionError  # the last try returns or raises


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
    one_by_one = f"SELECT {expression} AS value {rest}"  # put together from constants
    ((text,),) = fetch(f"SELECT '[' || {vendor.joined('value')} || ']' FROM ({one_by_one}) AS one", *parameters)  # noqa: S608
    # Not strict, for SQLite's booleans are numbers.
    return [] if text is None else msgspec.json.decode(text, type=list[kind], strict=False)  # type: ignore[valid-type]


def fetch(statement: str, *parameters: str | int) -> Sequence[tuple[Any, ...]]:
    """Run one query; return its rows as tuples."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found
