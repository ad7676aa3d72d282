"""Messages of the outbox: which events are next for a cursor, put together for who reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from rollwave.domain import facts
from rollwave.ports.notifier import Mark, Message, Parcel, Release, Told, Topic
from rollwave.store import codec, topics
from rollwave.store.models import Event, Grant, Instance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.store.models import Cursor, Deployment, Subscription

MOST_EVENTS: Final = 200
"""Most events in one message to a system."""

MOST_LINES: Final = 30
"""Most events in one message to people."""

GATHER_S: Final = 2.0
"""People are told of what belongs together at once: a message waits until nothing has happened for so long."""

GATHER_AT_MOST_S: Final = 10.0
"""But for no longer than this."""

_FEW: Final = 500


def put_together(row: Subscription, cursor: Cursor, *, now: datetime) -> tuple[Parcel | None, Mark | None]:
    """Return the next message of a cursor and what is to be durable before; what nobody wants is passed over."""
    deployment = cursor.deployment
    chosen = [Topic(one) for one in row.topics]
    config = codec.config(deployment.config)
    is_new = cursor.until <= cursor.seq
    kinds = topics.kinds_of(chosen, channel=row.channel)
    is_for_people = row.channel not in topics.FOR_SYSTEMS
    most = MOST_LINES if is_for_people else MOST_EVENTS
    end = deployment.seq if is_new else cursor.until
    found = Event.objects.filter(deployment=deployment, seq__gt=cursor.seq, seq__lte=end, kind__in=kinds)
    rows = list(found.order_by("seq")[:most] if is_new else found.order_by("seq"))
    until = rows[-1].seq if is_new and len(rows) == most else end
    decoded = [(one, codec.event(one.kind, one.data)) for one in rows]
    wanted = [(one, fact) for one, fact in decoded if topics.is_wanted(fact, chosen, config)]
    if not wanted or not _may_be_told(row, deployment):
        return None, _mark(cursor, seq=until, until=until, attempts=0)
    if is_new and is_for_people and _waits_for_more(wanted, now=now, is_full=len(rows) == most):
        return None, _mark(cursor, due_at=now + timedelta(seconds=GATHER_S))
    begun_at = now if is_new else cursor.begun_at or now
    named = {one.instance_id for one, _ in wanted if one.instance_id}.union(
        *(_instances_of(fact) for _, fact in wanted)
    )
    names = _names(deployment, named)
    message = Message(
        id=_identity(row, deployment, cursor.seq + 1, until),
        subscription=row.name,
        release=_release(deployment),
        events=tuple(_told(one, fact, names) for one, fact in wanted),
        names=names,
        language=row.language,
        at=begun_at,
    )
    parcel = Parcel(message=message, until=until, attempt=cursor.attempts + 1)
    return parcel, _mark(cursor, until=until, begun_at=begun_at) if is_new else None


def _identity(row: Subscription, deployment: Deployment, first: int, until: int) -> str:
    """Return what names these events: of this subscription, for who has two of them; by its topics as they are now."""
    choice = crc32(" ".join(sorted(row.topics)).encode())
    return f"msg_{row.pk}_{deployment.pk}_{first}_{until}_{choice:08x}"


def _mark(cursor: Cursor, **changes: Any) -> Mark:
    return Mark(cursor_id=cursor.pk, seq=cursor.seq, until=cursor.until, changes=changes)


def _may_be_told(row: Subscription, deployment: Deployment) -> bool:
    """Return whether a person may still see what they subscribed to: every role reads. A team's is nobody's."""
    if not row.person:
        return True
    group = deployment.group
    return Grant.objects.filter(
        user__username=row.person,
        user__is_active=True,
        app__in=("*", group.app.name),
        environment__in=("*", group.environment),
    ).exists()


def _waits_for_more(wanted: Sequence[tuple[Event, Any]], *, now: datetime, is_full: bool) -> bool:
    first, last = wanted[0][0].at, wanted[-1][0].at
    is_fresh = now - last < timedelta(seconds=GATHER_S) and now - first < timedelta(seconds=GATHER_AT_MOST_S)
    return is_fresh and not is_full


def _told(row: Event, fact: Any, names: Mapping[int, str]) -> Told:
    instance = names.get(row.instance_id) if row.instance_id else None
    return Told(seq=row.seq, at=row.at.astimezone(UTC), kind=row.kind, instance=instance, data=row.data, fact=fact)


def _release(deployment: Deployment) -> Release:
    group = deployment.group
    return Release(
        deployment_id=deployment.pk,
        group=group.name,
        app=group.app.name,
        environment=group.environment,
        kind=deployment.kind,
        version=deployment.goal.version,
    )


def _names(deployment: Deployment, ids: set[int]) -> dict[int, str]:
    group = deployment.group
    rows = Instance.objects.filter(group=group)
    # Beyond that the whole group is cheaper than a long list.
    rows = rows.filter(id__in=ids) if len(ids) <= _FEW else rows
    places = rows.values_list("id", "server__name", "port")
    return {instance_id: f"{group.name}/{server}:{port}" for instance_id, server, port in places}


def _instances_of(fact: Any) -> list[int]:
    """Return the ids of the instances that an event speaks of."""
    match fact:
        case facts.BakeApproved(attempts=pairs) | facts.SliceOpened(entries=pairs):
            return [one for one, _ in pairs]
        case facts.TargetsFailing(failures=failures):
            return [one for one, _ in failures]
        case facts.TargetsSettled(settlements=settlements):
            return [one.instance_id for one in settlements]
        case facts.TargetsLeft(instance_ids=ids) | facts.TargetsReset(instance_ids=ids):
            return list(ids)
    return []
