"""Rows to values: what a query packs is what the values read, with nothing in between."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from typing import Final

from msgspec import Struct

from rollwave.domain.model import Instance, Phase, Standing, Target
from rollwave.store.dialect import as_json, packed

INSTANCE: Final = packed(
    Instance,
    id="i.id",
    name="g.name || '/' || s.name || ':' || i.port",
    server="s.name",
    site="s.site",
    hold="i.hold",
    offline="s.offline",
    failed="i.failed",
    new="i.new",
    busy_elsewhere="FALSE",
    version="i.version",
)
"""Packs an instance, but for what others do on its server."""

INSTANCES: Final = "store_instance i JOIN store_group g ON g.id = i.group_id JOIN store_server s ON s.id = i.server_id"
"""Where the columns of `INSTANCE` come from."""

TARGET: Final = packed(
    Target,
    instance_id="t.instance_id",
    batch="t.batch",
    standing="t.standing",
    attempt="t.attempt",
    entry="t.entry",
    slice="t.slice",
    stage="t.stage",
    progress="t.progress",
    failure=as_json("t.failure"),
    restored="t.restored",
)
"""Packs a target."""

MAYBE_TARGET: Final = f"CASE WHEN t.instance_id IS NOT NULL THEN {TARGET} END"
"""Packs a target where the join found one."""

MOVING: Final = f"""(
    SELECT t.* FROM store_target t JOIN store_deployment d ON d.id = t.deployment_id
    WHERE t.standing IN ('{Standing.IN_FLIGHT.value}', '{Standing.VERIFIED.value}')
    AND d.phase NOT IN ('{Phase.SUCCESS.value}', '{Phase.ABORTED.value}')
) AS t"""
"""The targets of all groups that are out of traffic for a deployment, or about to be: at most one per instance."""


class InstanceWithTarget(Struct, frozen=True, array_like=True):
    """An instance and its target, if it has one."""

    instance: Instance
    target: Target | None


INSTANCE_WITH_TARGET: Final = packed(InstanceWithTarget, instance=INSTANCE, target=MAYBE_TARGET)
"""Packs an `InstanceWithTarget`."""
