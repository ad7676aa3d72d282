"""Committing: what workers saw and what was decided on it, in one transaction, by few statements."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import F
from msgspec.structs import replace

from rollwave.domain.errors import StateConflictError
from rollwave.domain.evolve import touched
from rollwave.domain.model import Instance, Progress, Stage, Standing, Target
from rollwave.domain.progress import next_due
from rollwave.ports.store import Loaded, Transition
from rollwave.store import codec, keys, leases
from rollwave.store import decisions as audited
from rollwave.store.dialect import execute, nested_recordset, pack, recordset
from rollwave.store.loading import load
from rollwave.store.log import Log
from rollwave.store.models import Deployment, Group, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rollwave.domain import model
    from rollwave.domain.decide import Decision
    from rollwave.domain.model import Failure, State
    from rollwave.ports.store import CommandKey, SliceRecord

# Without the last: what a stage did is for the log alone.
_SEEN = Transition.__struct_fields__[:-1]

_SEE = f"""
UPDATE store_target
SET stage = fresh.stage, progress = fresh.progress, failure = COALESCE(store_target.failure, fresh.failure)
FROM {nested_recordset("deployment_id", "slice", item=_SEEN)}
WHERE store_target.deployment_id = fresh.deployment_id AND store_target.instance_id = fresh.instance_id
AND store_target.slice = fresh.slice AND store_target.attempt = fresh.attempt
AND store_target.standing = '{Standing.IN_FLIGHT.value}'
"""

# Both columns of the index come from the fresh rows: with one of them given apart, SQLite reads the whole deployment
# for each of them.
_CHANGE_TARGETS = f"""
UPDATE store_target
SET standing = fresh.standing, attempt = fresh.attempt, entry = fresh.entry, slice = fresh.slice,
    stage = fresh.stage, progress = fresh.progress, failure = fresh.failure, restored = fresh.restored
FROM {nested_recordset("deployment_id", item=Target.__struct_fields__)}
WHERE store_target.deployment_id = fresh.deployment_id AND store_target.instance_id = fresh.instance_id
"""

_MARK_FAILING = f"""
UPDATE store_target SET failure = fresh.failure FROM {recordset("deployment_id", "instance_id", "failure")}
WHERE store_target.deployment_id = fresh.deployment_id AND store_target.instance_id = fresh.instance_id
"""

_CLOSE_SLICES = f"""
UPDATE store_slice SET closed = TRUE, owner = '', lease_until = NULL FROM {recordset("deployment_id", "number")}
WHERE store_slice.deployment_id = fresh.deployment_id AND store_slice.number = fresh.number
"""

_CHANGE_INSTANCES = f"""
UPDATE store_instance SET failed = fresh.failed, new = fresh.new, version = fresh.version
FROM {recordset(*Instance.__struct_fields__)} WHERE store_instance.id = fresh.id
"""


def commit(
    decisions: Sequence[tuple[Loaded, Decision]],
    records: Sequence[SliceRecord],
    *,
    at: datetime,
    command: CommandKey | None,
) -> tuple[Loaded, ...]:
    """Record all of it; to be called inside a transaction, which an error undoes. See `Store.commit`."""
    if command is not None:
        first = decisions[0][0].state.deployment.id if decisions else None
        keys.accept(command, deployment_id=first, at=at)
    moving = [(loaded, decision) for loaded, decision in decisions if decision.facts]
    # Groups before slices, slices before targets, in every transaction: so none waits for another in a circle.
    moves = Counter(name for loaded, _decision in moving for name in loaded.group_versions)
    _move_groups([loaded for loaded, _decision in moving], moves)
    leases.renew(records)
    log = Log()
    _write_records(records, log)
    _write_decisions(moving, at=at)
    for loaded, decision in moving:
        log.add_facts(loaded.state.deployment.id, decision.facts, at=at)
    log.write()
    for loaded, decision in moving:
        audited.append(
            decision.facts,
            before=loaded.state.deployment,
            after=decision.state.deployment,
            deployment_id=loaded.state.deployment.id,
            at=at,
        )
    after = tuple(_after(loaded, decision) for loaded, decision in decisions)
    if all(times == 1 for times in moves.values()):
        return after
    # Some share servers: what one of them took, the others have not seen.
    return tuple(load(one.state.deployment.id, cached=one) for one in after)


def _move_groups(moving: Sequence[Loaded], moves: Mapping[str, int]) -> None:
    """
    Check that no group has moved since it was loaded; raise the versions of those that move now, as often as they do.

    Their neighbors move too: what they have room for is what their own neighbors, two doors away, may have counted on.
    """
    if not moving:
        return
    rows = Group.objects.select_for_update().filter(name__in=moves).order_by("name")
    versions = dict(rows.values_list("name", "version"))
    for loaded in moving:
        if any(versions.get(name) != seen for name, seen in loaded.group_versions.items()):
            raise _moved(loaded)
    for times in sorted(set(moves.values())):
        names = [name for name in moves if moves[name] == times]
        Group.objects.filter(name__in=names).update(version=F("version") + times)


def _moved(loaded: Loaded) -> StateConflictError:
    deployment_id = loaded.state.deployment.id
    return StateConflictError(f"deployment {deployment_id} has moved", deployment_id=deployment_id)


def _after(loaded: Loaded, decision: Decision) -> Loaded:
    """Return what a decision alone has made of what was loaded; others of the same commit may have made it void."""
    if not decision.facts:
        return loaded
    group_versions = {name: version + 1 for name, version in loaded.group_versions.items()}
    return Loaded(state=decision.state, version=loaded.version + 1, group_versions=group_versions)


def _write_records(records: Sequence[SliceRecord], log: Log) -> None:
    """
    Log every transition, and keep the last of each target with the first failure of its attempt.

    A proof that fails is no failure of the target, and what is unknown is no failure yet.
    """
    seen = []
    for record in records:
        if record.transitions:
            log.add_transitions(record)
            seen.append((*record.key, _last_of_each(record.transitions)))
    if seen:
        execute(_SEE, pack(seen))


def _last_of_each(transitions: Sequence[Transition]) -> list[Transition]:
    last = {one.instance_id: one for one in transitions}
    failures: dict[int, Failure | None] = {}
    for one in [each for each in transitions if each.failure is not None]:
        counts = one.progress is Progress.FAILURE and one.stage is not Stage.PROVE
        failures[one.instance_id] = failures.get(one.instance_id) or (one.failure if counts else None)
    for instance_id, failure in failures.items():
        last[instance_id] = replace(last[instance_id], failure=failure)
    return list(last.values())


def _write_decisions(moving: Sequence[tuple[Loaded, Decision]], *, at: datetime) -> None:
    closed, opened, changed, failing, instances = [], [], [], [], []
    for loaded, decision in moving:
        before, after = loaded.state, decision.state
        deployment_id = after.deployment.id
        _write_deployment(loaded, after, at=at)
        was, now = before.deployment.slices, after.deployment.slices
        closed += [(deployment_id, number) for number in was if number not in now]
        opened += [_row_of(deployment_id, number, one, at) for number, one in now.items() if number not in was]
        touched_ids = sorted(touched(decision.facts))
        settled, still_driven = _changed_targets(before, after, touched_ids)
        changed += [(deployment_id, settled)] if settled else []
        failing += [(deployment_id, one.instance_id, one.failure) for one in still_driven]
        instances += [after.fleet[one] for one in touched_ids if after.fleet[one] is not before.fleet[one]]
    for statement, rows in (
        (_CLOSE_SLICES, closed),
        (_CHANGE_TARGETS, changed),
        (_MARK_FAILING, failing),
        (_CHANGE_INSTANCES, instances),
    ):
        if rows:
            execute(statement, pack(rows))
    Slice.objects.bulk_create(opened)


def _write_deployment(loaded: Loaded, after: State, *, at: datetime) -> None:
    was, now = loaded.state.deployment, after.deployment
    changes: dict[str, Any] = {
        "version": F("version") + 1,
        "phase": now.phase.value,
        "last_slice": now.last_slice,
        "bake_due_at": now.bake_due_at,
        "approved_by": now.approved_by or "",
        "due_at": next_due(after),
    }
    for field in ("config", "brake", "abort", "batches"):
        value = getattr(now, field)
        if value is not getattr(was, field):
            changes[field] = codec.to_json(value)
    if now.phase.is_final and not was.phase.is_final:
        changes["ended_at"] = at
    if not Deployment.objects.filter(id=now.id, version=loaded.version).update(**changes):
        raise _moved(loaded)


def _row_of(deployment_id: int, number: int, one: model.Slice, at: datetime) -> Slice:
    return Slice(
        deployment_id=deployment_id,
        number=number,
        course=one.course.value,
        instance_ids=one.instance_ids,
        opened_at=at,
    )


def _changed_targets(before: State, after: State, touched_ids: Sequence[int]) -> tuple[list[Target], list[Target]]:
    """
    Return the targets that the decision changed, those apart that stay in the same worker's hands.

    Of these the row knows stage and progress better than the decision does: all that it can add is the failure.
    """
    changed: list[Target] = []
    still_driven: list[Target] = []
    for instance_id in touched_ids:
        was, one = before.targets[instance_id], after.targets[instance_id]
        if one is was:
            continue
        stays = one.standing is Standing.IN_FLIGHT and one.slice == was.slice
        (still_driven if stays else changed).append(one)
    return changed, still_driven
