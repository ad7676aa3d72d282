"""Slices and who owns them: claims, leases, fencing epochs, recalls."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

from django.db.models import F, Q

from rollwave.domain.errors import FencedError, NotFoundError, RecalledError
from rollwave.domain.model import Course
from rollwave.ports.store import Claim
from rollwave.store.dialect import execute, fetch, pack, recordset, timestamp
from rollwave.store.instants import unix_ms
from rollwave.store.models import Instance, Slice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.ports.store import SliceKey, SliceRecord

# Never less than the time in milliseconds, so that a database that was restored from a backup gives none a second time.
_NEXT_EPOCH = """
INSERT INTO store_counter (name, value) VALUES ('epoch', %s)
ON CONFLICT (name) DO UPDATE SET value =
CASE WHEN store_counter.value < excluded.value THEN excluded.value ELSE store_counter.value + 1 END RETURNING value
"""

_TAKE = """
UPDATE store_slice SET owner = %s, lease_until = %s
WHERE deployment_id = %s AND number = %s AND NOT closed AND (owner = '' OR lease_until <= %s)
RETURNING epoch, course, recalls, instance_ids, opened_at
"""

_SET_EPOCH = "UPDATE store_slice SET epoch = %s WHERE deployment_id = %s AND number = %s"

# One statement, so that of many who ask at once each slice is given to one. A message sent before a lease is used up by
# the worker that had it: once that lease is over there is none to wait for.
_SEND = """
UPDATE store_slice SET dispatched_at = %s
WHERE NOT closed AND (owner = '' OR lease_until <= %s)
AND (dispatched_at IS NULL OR dispatched_at < %s OR dispatched_at < lease_until)
RETURNING deployment_id, number
"""

_RENEW = f"""
UPDATE store_slice SET lease_until = fresh.lease_until
FROM {recordset("deployment_id", "number", "epoch", "recalls", "lease_until")}
WHERE store_slice.deployment_id = fresh.deployment_id AND store_slice.number = fresh.number
AND store_slice.epoch = fresh.epoch AND store_slice.recalls = fresh.recalls AND NOT store_slice.closed
"""


def claim(key: SliceKey, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
    """Take a slice that nobody holds, under a new epoch; None where somebody does, or it is closed."""
    deployment_id, number = key
    taken = fetch(_TAKE, owner, timestamp(lease_until), deployment_id, number, timestamp(now))
    if not taken:
        return None
    ((earlier_epoch, course, recalls, instance_ids, opened_at),) = taken
    ((epoch,),) = fetch(_NEXT_EPOCH, unix_ms(now))
    execute(_SET_EPOCH, epoch, deployment_id, number)
    return Claim(
        key=key,
        course=Course(course),
        epoch=epoch,
        recalls=recalls,
        instance_ids=tuple(json.loads(instance_ids)),
        opened_at=_time(opened_at),
        is_takeover=earlier_epoch > 0,
    )


def _time(value: datetime | None) -> datetime | None:
    # SQLite holds no zone.
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def renew(records: Sequence[SliceRecord]) -> None:
    """
    Check that every record's slice is still its writer's, and prolong the leases.

    Raises:
        FencedError: If a slice is closed or held under another epoch; names the first such slice.
        RecalledError: If targets of a slice were recalled since; names the first such slice.
    """
    if not records:
        return
    wanted = [(*one.key, one.epoch, one.recalls, timestamp(one.lease_until)) for one in records]
    if execute(_RENEW, pack(wanted)) < len(records):
        for record in records:
            _check(record)


def _check(record: SliceRecord) -> None:
    deployment_id, number = record.key
    row = Slice.objects.filter(deployment_id=deployment_id, number=number).first()
    if row is None or row.closed or row.epoch != record.epoch:
        raise FencedError(deployment_id=deployment_id, slice_number=number)
    if row.recalls != record.recalls:
        raise RecalledError(deployment_id=deployment_id, slice_number=number)


def recall(deployment_id: int, number: int) -> None:
    """Make the owner of a slice look which of its instances may still take part, before it writes anything more."""
    Slice.objects.filter(deployment_id=deployment_id, number=number).update(recalls=F("recalls") + 1)


def held(key: SliceKey) -> tuple[int, frozenset[int]]:
    """Return how often targets were recalled, and which instances may not take part; raises NotFoundError."""
    deployment_id, number = key
    row = Slice.objects.filter(deployment_id=deployment_id, number=number).first()
    if row is None:
        raise NotFoundError(kind="slice", name=f"{deployment_id}/{number}")
    gone = Instance.objects.filter(Q(hold=True) | Q(server__offline=True), id__in=row.instance_ids)
    return row.recalls, frozenset(gone.values_list("id", flat=True))


def undispatched(*, now: datetime, stale_before: datetime) -> list[SliceKey]:
    """Return the slices that have to be sent, and mark them as sent *now*."""
    found = fetch(_SEND, timestamp(now), timestamp(now), timestamp(stale_before))
    return sorted((deployment_id, number) for deployment_id, number in found)


def release(*, owner: str | None) -> int:
    """Take open slices from *owner*, or from everybody, to be sent again at once; return how many."""
    owned = Slice.objects.filter(closed=False).exclude(owner="")
    if owner is not None:
        owned = owned.filter(owner=owner)
    return owned.update(owner="", lease_until=None, dispatched_at=None)
