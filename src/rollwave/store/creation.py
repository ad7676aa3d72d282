"""Recording a plan as a deployment."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from rollwave.domain import evolve
from rollwave.domain.errors import CommandRepeatedError, DeploymentActiveError, NotFoundError, StateConflictError
from rollwave.domain.model import Entry, Standing
from rollwave.store import codec, decisions, fleets, keys
from rollwave.store.deployments import active, follow
from rollwave.store.dialect import execute, pack, recordset
from rollwave.store.log import Log
from rollwave.store.models import Deployment, Group

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.facts import Planned
    from rollwave.ports.store import CommandKey

_INSERT_TARGETS = f"""
INSERT INTO store_target (deployment_id, instance_id, position, batch, standing, attempt, entry, restored)
SELECT %s, instance_id, position, batch, '{Standing.PENDING.value}', 1, '{Entry.FULL.value}', FALSE
FROM {recordset("instance_id", "position", "batch")}
WHERE instance_id IN (SELECT id FROM store_instance WHERE group_id = %s)
"""


def create(planned: Planned, *, at: datetime, command: CommandKey | None) -> int:
    """Record a deployment in phase PENDING; return its id, or that of the first call with this command key."""
    try:
        if command is not None:
            keys.accept(command, deployment_id=None, at=at)
    except CommandRepeatedError as repeated:
        if repeated.deployment_id is None:
            raise
        return repeated.deployment_id
    deployment_id = _insert(planned, at=at)
    if command is not None:
        keys.attach(command, deployment_id=deployment_id)
    return deployment_id


def _insert(planned: Planned, *, at: datetime) -> int:
    try:
        group = Group.objects.get(name=planned.group)
    except Group.DoesNotExist:
        raise NotFoundError(kind="group", name=planned.group) from None
    begun = evolve.planned(0, planned, fleet={}).deployment
    # First, as in every transaction that changes what a decision may look at: from now on nobody is removed.
    fleets.touch([group.id])
    try:
        with transaction.atomic():
            row = Deployment.objects.create(
                group=group,
                kind=planned.kind.value,
                goal_id=planned.goal.id,
                previous_id=planned.previous.id if planned.previous else None,
                config=codec.to_json(planned.config),
                initial=planned.initial,
                starts=planned.starts,
                phase=begun.phase.value,
                batches=codec.to_json(begun.batches),
                due_at=at if planned.starts and not begun.needs_approval else None,
                actor=planned.actor,
                reason=planned.reason,
                created_at=_later_than_the_last(group.id, at),
            )
    except IntegrityError:
        # I5 is the database's to keep; it only cannot say who was first.
        first = active(group.id)
        if first is None:
            raise
        raise DeploymentActiveError(group=group.name, deployment_id=first.id, phase=first.phase) from None
    follow(group.id, by=row.id)
    places = [(number, instance_id) for number, batch in enumerate(planned.batches, start=1) for instance_id in batch]
    targets = [(instance_id, position, number) for position, (number, instance_id) in enumerate(places)]
    if execute(_INSERT_TARGETS, row.id, pack(targets), group.id) != len(targets):
        raise StateConflictError(f"an instance of {group.name} was removed meanwhile; plan again", group=group.name)
    log = Log()
    log.add_facts(row.id, [planned], at=at)
    log.write()
    decisions.append([planned], before=None, after=begun, deployment_id=row.id, at=at)
    return row.id


def _later_than_the_last(group_id: int, at: datetime) -> datetime:
    """Return *at*, or the instant after the group's last deployment was created: clocks of processes differ."""
    last = Deployment.objects.filter(group_id=group_id).order_by("-id").values_list("created_at", flat=True).first()
    return at if last is None else max(at, last + timedelta(microseconds=1))
