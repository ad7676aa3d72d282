"""Instances as the API shows them: flags, version, and whether they are in traffic and why not."""

from django.db.models import QuerySet
from pydantic import Field

from rollwave.domain.model import Entry, Progress, Stage, Standing
from rollwave.domain.model import Instance as DomainInstance
from rollwave.domain.model import Target as DomainTarget
from rollwave.domain.traffic import wants_traffic
from rollwave.store.models import FINAL_PHASES, Instance, Target
from rollwave.web.api.output import Output


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
    deployment: int | None = Field(description="Id of the active deployment that targets it.")


def domain_target(  # noqa: PLR0917  # the columns of a row, in its order
    instance_id: int, batch: int, standing: str, stage: str | None, progress: str | None, entry: str
) -> DomainTarget:
    """Return what the domain needs to know of a row to judge its traffic and its status."""
    return DomainTarget(
        instance_id=instance_id,
        batch=batch,
        standing=Standing(standing),
        entry=Entry(entry),
        stage=Stage(stage) if stage else None,
        progress=Progress(progress) if progress else None,
    )


def traffic_of(row: Instance, target: DomainTarget | None) -> tuple[bool, list[str]]:
    """Return whether an instance is in traffic, and the reasons why not."""
    offline = row.server.offline
    instance = DomainInstance(
        id=row.pk, name="", server="", site="", hold=row.hold, failed=row.failed, new=row.new, offline=offline
    )
    flags = {"hold": row.hold, "failed": row.failed, "new": row.new, "offline": offline}
    wanted = wants_traffic(instance, target)
    if wanted:
        return True, []
    is_deploying = target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED)
    return False, [name for name, raised in flags.items() if raised] + ["deploying"] * is_deploying


def active_targets(instances: QuerySet[Instance]) -> dict[int, tuple[int, DomainTarget]]:
    """Return by instance the id of the active deployment that targets it, and its target there; one query."""
    rows = (
        Target.objects.filter(instance__in=instances)
        .exclude(deployment__phase__in=FINAL_PHASES)
        .order_by()
        .values_list("deployment_id", "instance_id", "batch", "standing", "stage", "progress", "entry")
    )
    return {row[1]: (row[0], domain_target(*row[1:])) for row in rows}


def shown(instances: QuerySet[Instance]) -> list[InstanceOut]:
    """Return *instances* in their order; two queries whatever their number."""
    targets = active_targets(instances.order_by())
    return [_shown(row, targets.get(row.pk)) for row in instances.select_related("group__app", "server")]


def _shown(row: Instance, target: tuple[int, DomainTarget] | None) -> InstanceOut:
    in_traffic, reasons = traffic_of(row, target[1] if target else None)
    # The values come from the database: nothing is left to validate.
    return InstanceOut.model_construct(
        name=row.name,
        group=row.group.name,
        app=row.group.app.name,
        server=row.server.name,
        site=row.server.site,
        address=row.server.address,
        port=row.port,
        hold=row.hold,
        hold_by=row.hold_by,
        hold_reason=row.hold_reason,
        failed=row.failed,
        new=row.new,
        offline=row.server.offline,
        in_traffic=in_traffic,
        out_reasons=reasons,
        version=row.version,
        deployment=target[0] if target else None,
    )
