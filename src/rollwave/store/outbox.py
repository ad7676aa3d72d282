"""The outbox over the database: the event logs, and a cursor for each subscription and deployment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Exists, F, Max, OuterRef, Q

from rollwave.ports.notifier import Claim, Mark, Message, Parcel, Prepared
from rollwave.store import audit, topics
from rollwave.store.dialect import in_transaction
from rollwave.store.models import FINAL_PHASES, Cursor, Delivery, Deployment, Subscription
from rollwave.store.parcels import put_together
from rollwave.store.sealing import SealBrokenError, unseal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.ports.notifier import ChannelError

SPACING_S: Final = 3.0
"""Between two messages to people: the chats take twenty a minute, and shut out who sends more."""

LONGEST_REST_S: Final = 300.0
"""Longest time between two attempts."""

GIVE_UP_AFTER: Final = timedelta(days=3)
"""A receiver that has taken nothing for so long is disabled."""

KEPT_DELIVERIES: Final = 500
"""So many attempts are kept for each subscription."""

_SETTLING: Final = timedelta(minutes=10)
"""No transaction that makes a deployment lasts longer: after that no lower id can turn up."""


def rest_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row."""
    return timedelta(seconds=min(LONGEST_REST_S, 2.0 ** min(failures - 1, 20)))


class DjangoOutbox:
    """`Outbox` over the models."""

    def due(self, *, now: datetime) -> Sequence[int]:
        cursor = Cursor.objects.filter(subscription=OuterRef("pk"))
        behind = cursor.filter(muted=False, due_at__lte=now, deployment__seq__gt=F("seq"))
        # Of the two that are compared the inner one is the deployment, the outer one the subscription.
        has_cursor = Cursor.objects.filter(subscription=OuterRef(OuterRef("pk")), deployment=OuterRef("pk"))
        new = Deployment.objects.filter(id__gt=OuterRef("adopted_id")).filter(~Exists(has_cursor))
        found = _free(now).filter(Exists(behind) | Exists(new)).order_by("due_at", "id")
        return list(found.values_list("id", flat=True))

    def claim(self, subscription_id: int, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        return in_transaction(self._claim, subscription_id, owner, now, lease_until)

    def _claim(self, subscription_id: int, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        taken = _free(now).filter(id=subscription_id)
        if not taken.update(owner=owner, lease_until=lease_until, epoch=F("epoch") + 1):
            return None
        row = Subscription.objects.get(id=subscription_id)
        adopt(row, now=now)
        try:
            settings = unseal(row.sealed)
        except SealBrokenError as error:
            _disable(row, str(error), now=now)
            return None
        return Claim(subscription_id=row.pk, epoch=row.epoch, settings=settings)

    def prepare(self, claim: Claim, *, now: datetime) -> Prepared:
        row = Subscription.objects.filter(id=claim.subscription_id, epoch=claim.epoch, enabled=True).first()
        if row is None or not row.owner or row.due_at > now:
            return Prepared(parcel=None)
        marks: list[Mark] = []
        behind = row.cursors.filter(muted=False, due_at__lte=now, deployment__seq__gt=F("seq"))
        # What fails comes last, so that one deployment's trouble is not that of the others.
        for cursor in behind.select_related("deployment__group__app", "deployment__goal").order_by("attempts", "id"):
            parcel, mark = put_together(row, cursor, now=now)
            marks += [mark] if mark else []
            if parcel is not None:
                return Prepared(parcel=parcel, marks=tuple(marks))
        return Prepared(parcel=None, marks=tuple(marks))

    def fix(self, claim: Claim, prepared: Prepared) -> bool:
        return in_transaction(self._fix, claim, prepared)

    def _fix(self, claim: Claim, prepared: Prepared) -> bool:
        row = _held(claim)
        return row is not None and all(
            row.cursors.filter(id=mark.cursor_id, seq=mark.seq, until=mark.until).update(**mark.changes)
            for mark in prepared.marks
        )

    def delivered(self, claim: Claim, parcel: Parcel, *, now: datetime, took_s: float, said: str) -> bool:
        return in_transaction(self._delivered, claim, parcel, now, took_s, said)

    def _delivered(self, claim: Claim, parcel: Parcel, now: datetime, took_s: float, said: str) -> bool:
        row = _held(claim)
        if row is None:
            return False
        record(row, parcel.message, at=now, took_s=took_s, arrived=True, said=said, attempt=parcel.attempt)
        _cursor_of(row, parcel).update(seq=parcel.until, attempts=0, begun_at=None, due_at=now)
        row.failures, row.failing_since, row.last_error, row.delivered_at = 0, None, "", now
        if row.channel not in topics.FOR_SYSTEMS:
            row.due_at = now + timedelta(seconds=SPACING_S)
        assert row.lease_until is not None
        row.lease_until = max(row.lease_until, now + timedelta(seconds=60))
        row.save()
        return True

    def failed(self, claim: Claim, parcel: Parcel, error: ChannelError, *, now: datetime, took_s: float) -> bool:
        return in_transaction(self._failed, claim, parcel, error, now, took_s)

    def _failed(self, claim: Claim, parcel: Parcel, error: ChannelError, now: datetime, took_s: float) -> bool:
        row = _held(claim)
        if row is None:
            return False
        record(row, parcel.message, at=now, took_s=took_s, arrived=False, said=error.reason, attempt=parcel.attempt)
        asked = timedelta(seconds=min(error.retry_after_s, LONGEST_REST_S * 12))
        _cursor_of(row, parcel).update(attempts=parcel.attempt, due_at=now + max(asked, rest_after(parcel.attempt)))
        row.failures += 1
        row.due_at = now + max(asked, rest_after(row.failures))
        row.failing_since = row.failing_since or now
        row.last_error = error.reason
        row.save()
        if error.is_gone:
            _disable(row, f"the receiver wants no more: {error.reason}", now=now)
        elif now - row.failing_since >= GIVE_UP_AFTER:
            _disable(row, f"nothing has arrived since {row.failing_since:%Y-%m-%d %H:%M} UTC: {error.reason}", now=now)
        return True

    def release(self, claim: Claim) -> None:
        in_transaction(self._release, claim)

    def _release(self, claim: Claim) -> None:
        row = _held(claim)
        if row is None:
            return
        row.owner, row.lease_until = "", None
        row.save()
        oldest = row.deliveries.order_by("-id").values_list("id", flat=True)[KEPT_DELIVERIES : KEPT_DELIVERIES + 1]
        for delivery_id in oldest:
            row.deliveries.filter(id__lte=delivery_id).delete()


def adopt(row: Subscription, *, now: datetime, from_now_on: bool = False) -> None:
    """
    Give a subscription its cursor for each deployment that has none yet, and drop those that are not needed any more.

    Args:
        row: The subscription.
        now: The current time.
        from_now_on: What has happened until now is of no interest: for a subscription that is new, or enabled again.
    """
    if from_now_on:
        wanted = Deployment.objects.filter(Q(id__gt=_settled_id(now)) | ~Q(phase__in=FINAL_PHASES))
        row.cursors.all().delete()
    else:
        wanted = Deployment.objects.filter(id__gt=row.adopted_id).exclude(id__in=row.cursors.values("deployment_id"))
    Cursor.objects.bulk_create(
        Cursor(
            subscription=row,
            deployment=one,
            seq=one.seq if from_now_on else 0,
            until=one.seq if from_now_on else 0,
            due_at=now,
            muted=not wants(row, one),
        )
        for one in wanted.select_related("group__app")
    )
    row.adopted_id = max(row.adopted_id, _settled_id(now))
    row.save(update_fields=["adopted_id"])
    over = row.cursors.filter(deployment_id__lte=row.adopted_id, deployment__phase__in=FINAL_PHASES)
    over.filter(Q(muted=True) | Q(seq__gte=F("deployment__seq"))).delete()


def choose_again(row: Subscription) -> None:
    """Let a subscription whose choice was changed hear of what it wants now, from where it stands."""
    for cursor in row.cursors.select_related("deployment__group__app"):
        muted = not wants(row, cursor.deployment)
        if muted != cursor.muted:
            # What it has not wanted until now is not told afterwards.
            seq = cursor.deployment.seq
            row.cursors.filter(id=cursor.pk).update(muted=muted, seq=seq, until=seq, attempts=0)


def _settled_id(now: datetime) -> int:
    # A transaction that took a lower id may be committed later: whoever skipped it would never hear of it.
    return Deployment.objects.filter(created_at__lt=now - _SETTLING).aggregate(last=Max("id"))["last"] or 0


def wants(row: Subscription, deployment: Deployment) -> bool:
    """Return whether a subscription is about a deployment."""
    group = deployment.group
    chosen = ((row.groups, group.name), (row.apps, group.app.name), (row.environments, group.environment))
    return all(not names or name in names for names, name in chosen)


def record(
    row: Subscription, message: Message, *, at: datetime, took_s: float, arrived: bool, said: str, attempt: int = 1
) -> Delivery:
    """Add an attempt to the delivery log."""
    return Delivery.objects.create(
        subscription=row,
        deployment_id=message.release.deployment_id if message.release else None,
        message_id=message.id,
        first_seq=message.events[0].seq if message.events else 0,
        until_seq=message.events[-1].seq if message.events else 0,
        events=len(message.events),
        attempt=attempt,
        at=at,
        took_ms=max(0, round(took_s * 1000)),
        arrived=arrived,
        said=said[:1000],
    )


def _free(now: datetime) -> Any:
    return Subscription.objects.filter(Q(owner="") | Q(lease_until__lte=now), enabled=True, due_at__lte=now)


def _held(claim: Claim) -> Subscription | None:
    """Return the subscription if the claim still holds; until the transaction ends nobody else can take it."""
    rows = Subscription.objects.select_for_update().filter(id=claim.subscription_id, epoch=claim.epoch, enabled=True)
    return rows.exclude(owner="").first()


def _cursor_of(row: Subscription, parcel: Parcel) -> Any:
    assert parcel.message.release is not None
    return row.cursors.filter(deployment_id=parcel.message.release.deployment_id)


def _disable(row: Subscription, reason: str, *, now: datetime) -> None:
    row.enabled, row.disabled_reason, row.owner, row.lease_until = False, reason, "", None
    row.save()
    subject = f"subscription/{row.name}"
    audit.append([audit.Entry(at=now, actor="engine", action="subscription.disabled", subject=subject, reason=reason)])
