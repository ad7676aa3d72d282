"""Laws of what depends on the database."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st

from rollwave.store import dialect, models
from rollwave.store.dialect import execute, fetch, in_transaction, pack, recordset, snapshot

ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))


@given(at=st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1), timezones=ZONES))  # has a zone
def test_a_time_is_written_as_django_writes_it(at):
    """So that rows of both are compared and ordered alike, and read back as the same instant."""
    django = connection.ops.adapt_datetimefield_value(at)
    # PostgreSQL is given an instant, and orders by that; SQLite orders text.
    assert dialect.timestamp(at) == (django if isinstance(django, str) else at.astimezone(UTC).isoformat())


def test_a_recordset_gives_back_what_was_packed(django_database):
    """Numbers, text and truth as they are, nothing as nothing, and the rest as JSON text."""
    columns = ("id", "name", "failed", "version", "failure")
    rows = [(1, "ä'\"\\\n", True, None, {"a": [1, 2]}), (2, "", False, "1.5", [])]

    found = fetch(f"SELECT {', '.join(columns)} FROM {recordset(*columns)}", pack(rows))

    assert [(*scalars, json.loads(rest)) for *scalars, rest in found] == rows


def test_what_the_database_gives_up_is_done_anew(django_database):
    """Two transactions that wait for each other: one of them is undone, and done once more."""
    for name in ("one", "other"):
        models.Counter.objects.create(name=name)
    both_begun = threading.Barrier(2, timeout=20)

    def count(first, second):
        tries = []

        def move():
            models.Counter.objects.filter(name=first).update(value=F("value") + 1)
            tries.append(first)
            if len(tries) == 1 and connection.vendor == "postgresql":
                both_begun.wait()
            models.Counter.objects.filter(name=second).update(value=F("value") + 1)

        try:
            in_transaction(move)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in [pool.submit(count, "one", "other"), pool.submit(count, "other", "one")]:
            done.result(timeout=60)

    assert set(models.Counter.objects.values_list("value", flat=True)) == {2}


def test_who_was_given_up_lets_the_other_go_first(django_database, monkeypatch):
    """It waits before each new try, and longer each time: two that begin anew at once would meet again and again."""
    pauses = []
    monkeypatch.setattr(dialect.time, "sleep", pauses.append)
    monkeypatch.setattr(dialect.vendor, "was_given_up", lambda error: str(error) == "deadlock")

    def move():
        models.Counter.objects.create(name="one")
        raise OperationalError("deadlock" if len(pauses) < 3 else "gone")

    with pytest.raises(OperationalError, match="gone"):
        in_transaction(move)

    assert len(pauses) == 3
    assert all(0 < one < other for one, other in pairwise(pauses))
    assert not models.Counter.objects.exists()


def test_a_snapshot_sees_one_instant_and_stops_no_writer(django_database):
    """What is written beside it shows only afterwards."""

    def write():
        try:
            models.App.objects.create(name="shop")
        finally:
            connection.close()

    with snapshot():
        assert not models.App.objects.exists()
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(write).result(timeout=20)
        assert not models.App.objects.exists()
    assert models.App.objects.exists()


def test_a_snapshot_inside_a_transaction_is_that_transaction(django_database):
    """It sees what was written so far, and undoes nothing."""
    with transaction.atomic():
        models.App.objects.create(name="shop")
        with snapshot():
            assert models.App.objects.exists()


def test_a_transaction_after_a_snapshot_may_write_again(django_database):
    """The way a snapshot begins does not stick to the connection."""
    with snapshot(), pytest.raises(RuntimeError):
        raise RuntimeError
    with transaction.atomic():
        assert execute("INSERT INTO store_counter (name, value) VALUES ('a', %s)", 1) == 1
    assert getattr(connection, "transaction_mode", "IMMEDIATE") == "IMMEDIATE"
