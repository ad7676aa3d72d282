"""Laws of the audit chain: whatever is done to it behind our back is found, and where."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.store import audit
from rollwave.store.models import AuditEntry, AuditHead

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
COUNT = 6

PER_EXAMPLE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
"""The database is the same for all examples: each undoes what it did."""


def entry(number: int, **changes: object) -> audit.Entry:
    return audit.Entry(
        **{
            "at": NOON + timedelta(seconds=number, microseconds=number),
            "actor": "ann",
            "action": "hold",
            "subject": f"shop/s{number}:80",
            "reason": "looking 看",
            "data": {"before": {"hold": False}, "after": {"hold": True, "share": 0.5, "of": [1, None]}},
            **changes,
        }
    )


@pytest.fixture
def chain(django_database):
    for number in range(1, COUNT + 1):
        audit.append([entry(number)])


def test_what_was_appended_is_intact(chain):
    """Through the database and back: times, texts of any language, numbers, lists, nothing."""
    verdict = audit.verify()

    assert (verdict.count, verdict.flaws) == (COUNT, ())


def test_an_empty_chain_is_intact(django_database):
    """It has no end that anything could be missing at."""
    assert audit.verify() == audit.Verdict(count=0, head="0:", flaws=())


CHANGES = {
    "at": NOON,
    "actor": "bob",
    "token": "other",
    "action": "unhold",
    "subject": "shop/other:80",
    "app": "other",
    "environment": "other",
    "group": "other",
    "address": "192.0.2.1",
    "agent": "other",
    "request_id": "other",
    "reason": "",
    "data": {"before": {"hold": True}},
    "code": "0" * 64,
}


def test_every_field_is_covered():
    """Nobody adds one that can be changed without its being noticed."""
    assert {*CHANGES, "id", "seq"} == {field.name for field in AuditEntry._meta.fields}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_is_found(chain, field):
    """Whichever it is, and where it is."""
    AuditEntry.objects.filter(seq=3).update(**{field: CHANGES[field]})

    assert audit.verify().flaws[0].seq == 3


@given(data=st.data())
@PER_EXAMPLE
def test_dropped_entries_are_found(chain, data):
    """One or many, at the beginning, in the middle, or at the end."""
    gone = data.draw(st.sets(st.integers(1, COUNT), min_size=1))
    with transaction.atomic():
        AuditEntry.objects.filter(seq__in=gone).delete()

        flaws = audit.verify().flaws

        transaction.set_rollback(True)
    assert min(one.seq for one in flaws) == min(gone)


@given(data=st.data())
@PER_EXAMPLE
def test_dropped_entries_are_found_even_where_the_rest_moves_up(chain, data):
    """Who renumbers what is left has no key to make their codes."""
    gone = data.draw(st.integers(1, COUNT))
    with transaction.atomic():
        AuditEntry.objects.filter(seq=gone).delete()
        for row in AuditEntry.objects.filter(seq__gt=gone).order_by("seq"):
            AuditEntry.objects.filter(pk=row.pk).update(seq=row.seq - 1)

        assert audit.verify().flaws

        transaction.set_rollback(True)


@given(data=st.data())
@PER_EXAMPLE
def test_an_inserted_entry_is_found(chain, data):
    """Anywhere; even one that was copied from the chain itself, with its code."""
    place, source = data.draw(st.integers(1, COUNT + 1)), data.draw(st.integers(1, COUNT))
    with transaction.atomic():
        copy = AuditEntry.objects.get(seq=source)
        for row in AuditEntry.objects.filter(seq__gte=place).order_by("-seq"):
            AuditEntry.objects.filter(pk=row.pk).update(seq=row.seq + 1)
        copy.pk, copy.seq = None, place
        copy.save()

        assert audit.verify().flaws

        transaction.set_rollback(True)


@given(data=st.data())
@PER_EXAMPLE
def test_swapped_entries_are_found(chain, data):
    """Their order is a part of what they say."""
    first, second = data.draw(st.lists(st.integers(1, COUNT), min_size=2, max_size=2, unique=True))
    with transaction.atomic():
        rows = {one: AuditEntry.objects.get(seq=one) for one in (first, second)}
        AuditEntry.objects.filter(pk=rows[first].pk).update(seq=COUNT + 9)
        AuditEntry.objects.filter(pk=rows[second].pk).update(seq=first)
        AuditEntry.objects.filter(pk=rows[first].pk).update(seq=second)

        assert audit.verify().flaws

        transaction.set_rollback(True)


def test_an_end_that_was_cut_off_is_found_though_the_head_was_set_back(chain):
    """The seal is of one end alone."""
    AuditEntry.objects.filter(seq=COUNT).delete()
    last = AuditEntry.objects.get(seq=COUNT - 1)
    AuditHead.objects.update(seq=last.seq, code=last.code)

    assert "seal" in audit.verify().flaws[0].what


def test_a_database_that_was_put_back_as_a_whole_is_found_by_a_head_that_was_kept(chain):
    """Rows, head and seal of an older day fit each other; what somebody noted since then does not fit them."""
    older = list(AuditHead.objects.values())
    audit.append([entry(7)])
    kept = audit.verify().head
    AuditEntry.objects.filter(seq=7).delete()
    AuditHead.objects.update(**{name: value for name, value in older[0].items() if name != "id"})

    assert audit.verify().flaws == ()
    assert audit.verify(known_head=kept).flaws[0].what == "entry 7 is missing"


def test_a_head_that_was_kept_fits_a_chain_that_has_grown(chain):
    """Nothing is wrong with that."""
    kept = audit.verify().head
    audit.append([entry(7), entry(8)])

    assert audit.verify(known_head=kept).flaws == ()
    assert audit.verify(known_head=f"3:{'0' * 64}").flaws[0].seq == 3


def test_what_its_transaction_undoes_is_not_in_the_chain(chain):
    """And leaves no gap."""
    with transaction.atomic():
        audit.append([entry(7)])
        transaction.set_rollback(True)
    audit.append([entry(8)])

    verdict = audit.verify()
    assert (verdict.count, verdict.flaws) == (COUNT + 1, ())


def test_many_who_append_at_once_make_one_chain(django_database):
    """Each entry once, in some order, without a gap."""

    def append(first: int) -> None:
        for number in range(first, first + 10):
            audit.append([entry(number)])
        connection.close()

    threads = [threading.Thread(target=append, args=(first * 10,)) for first in range(1, 5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    verdict = audit.verify()
    assert (verdict.count, verdict.flaws) == (40, ())
    assert AuditEntry.objects.values("subject").distinct().count() == 40
