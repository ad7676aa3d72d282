"""Rows to values. Raw tuples all the way: a group may have 100,000 instances, and every load reads them all."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rollwave.domain.model import Entry, Instance, Phase, Progress, Stage, Standing, Target
from rollwave.store import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTANCE: Final = "g.name, i.id, s.name, i.port, s.site, i.hold, s.offline, i.failed, i.new, i.version"
"""Columns of `instance`."""

INSTANCES: Final = "store_instance i JOIN store_group g ON g.id = i.group_id JOIN store_server s ON s.id = i.server_id"
"""Where the columns of `instance` come from."""

TARGET: Final = (
    "t.instance_id, t.batch, t.standing, t.attempt, t.entry, t.slice, t.stage, t.progress, t.failure, t.restored"
)
"""Columns of `target`."""

MOVING: Final = f"""(
    SELECT {TARGET} FROM store_target t JOIN store_deployment d ON d.id = t.deployment_id
    WHERE t.standing IN ('{Standing.IN_FLIGHT.value}', '{Standing.VERIFIED.value}')
    AND d.phase NOT IN ('{Phase.SUCCESS.value}', '{Phase.ABORTED.value}')
) AS t"""
"""The targets of all groups that are out of traffic for a deployment, or about to be: at most one per instance."""

_STANDINGS: Final = {one.value: one for one in Standing}
_ENTRIES: Final = {one.value: one for one in Entry}
_STAGES: Final[dict[str | None, Stage | None]] = {None: None, **{one.value: one for one in Stage}}
_PROGRESSES: Final[dict[str | None, Progress | None]] = {None: None, **{one.value: one for one in Progress}}


def instance(row: Sequence[Any], *, busy_servers: frozenset[str] = frozenset()) -> Instance:
    """Return an instance from the columns of `INSTANCE`."""
    group, id_, server, port, site, hold, offline, failed, new, version = row
    return Instance(
        id=id_,
        name=f"{group}/{server}:{port}",
        server=server,
        site=site,
        hold=bool(hold),
        offline=bool(offline),
        failed=bool(failed),
        new=bool(new),
        busy_elsewhere=server in busy_servers,
        version=version,
    )


def target(row: Sequence[Any]) -> Target:
    """Return a target from the columns of `TARGET`."""
    instance_id, batch, standing, attempt, entry, slice_, stage, progress, failure, restored = row
    return Target(
        instance_id=instance_id,
        batch=batch,
        standing=_STANDINGS[standing],
        attempt=attempt,
        entry=_ENTRIES[entry],
        slice=slice_,
        stage=_STAGES[stage],
        progress=_PROGRESSES[progress],
        failure=codec.failure(failure) if failure else None,
        restored=bool(restored),
    )


def instance_with_target(row: Sequence[Any]) -> tuple[Instance, Target | None]:
    """Return an instance and its target, if it has one, from the columns of `TARGET` and those of `INSTANCE`."""
    width = TARGET.count(",") + 1
    return instance(row[width:]), None if row[0] is None else target(row[:width])
