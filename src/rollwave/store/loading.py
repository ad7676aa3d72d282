"""Loading a deployment: all that a decision may look at, as of one instant."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from rollwave.domain.model import State
from rollwave.ports.store import Loaded
from rollwave.store import fleets
from rollwave.store.deployments import deployment_value, row_of, targets_of
from rollwave.store.dialect import fetch, pack, recordset

_VERSIONS = f"""
SELECT g.name, g.version FROM {recordset("name")} JOIN store_group g ON g.name = fresh.name
JOIN store_deployment d ON d.id = %s AND d.version = %s
"""


def load(deployment_id: int, *, cached: Loaded | None = None) -> Loaded:
    """Return a deployment, *cached* itself where nothing has changed since; raises NotFoundError."""
    if cached is not None and _is_current(cached):
        return cached
    row = row_of(deployment_id)
    sharing = fleets.sharing_with(row.group.name)
    busy_servers = fleets.busy_servers(row.group.id, sharing)
    instances = fleets.instances_of(row.group.id, busy_servers=busy_servers)
    return Loaded(
        state=State(
            deployment=deployment_value(row),
            targets=targets_of(deployment_id),
            fleet={instance.id: instance for instance in instances},
            neighbors=fleets.neighbors_of(row.group.id, sharing),
        ),
        version=row.version,
        group_versions={row.group.name: row.group.version, **{group.name: group.version for group in sharing}},
    )


def _is_current(cached: Loaded) -> bool:
    found = fetch(
        _VERSIONS, pack([[name] for name in cached.group_versions]), cached.state.deployment.id, cached.version
    )
    return dict(found) == cached.group_versions
