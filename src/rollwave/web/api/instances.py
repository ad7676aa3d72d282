"""Instances as the API shows them: flags, version, and whether they are in traffic and why not."""
# statements are put together from constants; values are always parameters

from typing import Final

from msgspec import Struct
from pydantic import Field

from rollwave.domain.model import Instance, Target
from rollwave.domain.traffic import wants_traffic
from rollwave.store import rows
from rollwave.store.dialect import fetch_packed, packed
from rollwave.web.api.output import Output
from rollwave.web.insight.flags import raised


class RaisedOut(Output):
    """Who raised a flag."""

    flag: str = Field(description="hold, offline, failed or deploying.")
    actor: str = Field(description="The person; empty where it was a deployment.")
    reason: str
    deployment: int | None = Field(description="The deployment that left it out, or has it out now.")


class InstanceOut(Output):
    """One app on one server."""

    name: str = Field(description="<group>/<server>:<port>")
    group: str
    app: str
    server: str
    site: str
    address: str
    port: int
    hold: bool = Field(description="An operator took it out.")
    hold_by: str
    hold_reason: str
    failed: bool = Field(description="A deployment left it out of traffic, broken or unproven.")
    new: bool = Field(description="It has never been in traffic.")
    offline: bool = Field(description="Its server is offline.")
    in_traffic: bool = Field(description="Whether its flags want it in traffic, and no worker has it out.")
    out_reasons: list[str] = Field(description="Why it is not: hold, failed, new, offline, deploying.")
    version: str | None = Field(description="Version of the process that was last proven to run.")
    raised: list[RaisedOut] = Field(default_factory=list, description="Who raised its flags, as far as that is known.")


class _Row(Struct, frozen=True, array_like=True):
    app: str
    address: str
    hold_by: str
    hold_reason: str
    instance: Instance
    target: Target | None


_ROW: Final = packed(
    _Row,
    app="a.name",
    address="s.address",
    hold_by="i.hold_by",
    hold_reason="i.hold_reason",
    instance=rows.INSTANCE,
    target=rows.MAYBE_TARGET,
)

_INSTANCES: Final = f"""
FROM {rows.INSTANCES}
JOIN store_app a ON a.id = g.app_id LEFT JOIN {rows.MOVING} ON t.instance_id = i.id
"""

_MOVING: Final = f"FROM {rows.MOVING} JOIN store_instance i ON i.id = t.instance_id WHERE i.group_id = %s"


def everywhere() -> list[InstanceOut]:
    """Return all instances, without who raised their flags; one query."""
    return _shown_all(f"{_INSTANCES} ORDER BY i.id")


def of_group(group_id: int) -> list[InstanceOut]:
    """Return a group's instances."""
    return _with_flags(_shown_all(f"{_INSTANCES} WHERE i.group_id = %s ORDER BY i.id", group_id))


def on_server(server_id: int) -> list[InstanceOut]:
    """Return the instances on a server, of all groups."""
    return _with_flags(_shown_all(f"{_INSTANCES} WHERE i.server_id = %s ORDER BY g.name, i.port", server_id))


def one(instance_id: int) -> InstanceOut:
    """Return an instance that there is."""
    return _with_flags(_shown_all(f"{_INSTANCES} WHERE i.id = %s", instance_id))[0]


def moving_targets(group_id: int) -> dict[int, Target]:
    """Return the targets, by instance, that a group's active deployment has out of traffic, or is about to."""
    return {target.instance_id: target for target in fetch_packed(Target, rows.TARGET, _MOVING, group_id)}


def is_in_traffic(instance: Instance, moving: Target | None) -> bool:
    """Return whether an instance takes requests for sure; *moving* as `moving_targets` returns it."""
    return wants_traffic(instance, moving) is True


def _with_flags(found: list[InstanceOut]) -> list[InstanceOut]:
    known = raised(found)
    for one in found:
        one.raised = [RaisedOut.model_validate(flag) for flag in known[one.name]]
    return found


def _shown_all(rest: str, *parameters: int) -> list[InstanceOut]:
    return [_shown(row) for row in fetch_packed(_Row, _ROW, rest, *parameters)]


def _shown(row: _Row) -> InstanceOut:
    instance, moving = row.instance, row.target
    group, _, place = instance.name.partition("/")
    in_traffic = is_in_traffic(instance, moving)
    # The values come from the database: nothing is left to validate.
    return InstanceOut.model_construct(
        name=instance.name,
        group=group,
        app=row.app,
        server=instance.server,
        site=instance.site,
        address=row.address,
        port=int(place.rpartition(":")[2]),
        hold=instance.hold,
        hold_by=row.hold_by,
        hold_reason=row.hold_reason,
        failed=instance.failed,
        new=instance.new,
        offline=instance.offline,
        in_traffic=in_traffic,
        out_reasons=[] if in_traffic else _why_out(instance, moving),
        version=instance.version,
    )


def _why_out(instance: Instance, moving: Target | None) -> list[str]:
    reasons = {
        "hold": instance.hold,
        "failed": instance.failed,
        "new": instance.new,
        "offline": instance.offline,
        "deploying": moving is not None,
    }
    return [name for name, holds in reasons.items() if holds]
