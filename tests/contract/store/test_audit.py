"""Laws of the database store about what people did: who, what and why is kept."""

from __future__ import annotations

import pytest

from rollwave.domain.errors import NotFoundError
from rollwave.store import models
from tests.contract.store.worlds import NOON


@pytest.fixture
def instance_id(django_world):
    django_world.add_group("shop")
    return django_world.add_instance("shop", "s1")


def entries():
    return [
        (one.actor, one.action, one.subject, one.reason, one.at) for one in models.AuditEntry.objects.order_by("id")
    ]


def test_a_hold_is_on_record(django_world, instance_id):
    """And on the instance for as long as it lasts."""
    django_world.store.set_hold(instance_id, hold=True, actor="ann", reason="odd", at=NOON)
    row = models.Instance.objects.get(id=instance_id)
    assert (row.hold, row.hold_by, row.hold_reason) == (True, "ann", "odd")

    django_world.store.set_hold(instance_id, hold=False, actor="bob", reason="fine", at=NOON)

    row.refresh_from_db()
    assert (row.hold, row.hold_by, row.hold_reason) == (False, "", "")
    assert entries() == [
        ("ann", "hold", "shop/s1:80", "odd", NOON),
        ("bob", "unhold", "shop/s1:80", "fine", NOON),
    ]


def test_a_server_that_goes_offline_is_on_record(django_world, instance_id):
    """The same."""
    django_world.set_offline("s1", offline=True)

    assert entries() == [("ann", "offline", "s1", "", NOON)]


def test_what_does_not_exist_cannot_be_held(django_world):
    """And leaves no record."""
    with pytest.raises(NotFoundError):
        django_world.store.set_hold(99, hold=True, actor="ann", reason="", at=NOON)
    with pytest.raises(NotFoundError):
        django_world.set_offline("nowhere", offline=True)
    with pytest.raises(NotFoundError):
        django_world.store.held((99, 1))

    assert entries() == []
