"""Laws of what depends on the database."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from rollwave.store import dialect, models
from rollwave.store.dialect import execute, fetch, pack, recordset, snapshot

ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))


@given(at=st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1), timezones=ZONES))  # has a zone
def test_a_time_is_written_as_django_writes_it(at):
    """So that rows of both are compared and ordered alike, and read back as the same instant."""
    assert dialect.timestamp(at) == connection.ops.adapt_datetimefield_value(at)


def test_a_recordset_gives_back_what_was_packed(django_database):
    """Scalars as they are, truth as 0 and 1, nothing as nothing, and the rest as JSON text."""
    rows = [(1, "ä'\"\\\n", True, None, {"a": [1, 2]}), (2, "", False, 1.5, [])]

    found = fetch(f"SELECT a, b, c, d, e FROM {recordset('a', 'b', 'c', 'd', 'e')}", pack(rows))

    assert found == [(1, "ä'\"\\\n", 1, None, '{"a":[1,2]}'), (2, "", 0, 1.5, "[]")]


def test_a_snapshot_sees_one_instant_and_stops_no_writer(django_database):
    """What is written beside it shows only afterwards."""
    from concurrent.futures import ThreadPoolExecutor

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
    assert connection.transaction_mode == "IMMEDIATE"
