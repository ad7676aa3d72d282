"""Who keeps an instance out of traffic: a person, a release, or whoever said that its server is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Max
from msgspec import Struct

from rollwave.domain.model import Standing
from rollwave.store.models import FINAL_PHASES, AuditEntry, Deployment, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.web.api.instances import InstanceOut


class Raised(Struct, frozen=True, kw_only=True):
    """
    Who raised a flag, and why.

    Attributes:
        flag: hold, offline, failed or deploying.
        actor: The person; empty where it was a release.
        reason: What they said.
        deployment: The release.
    """

    flag: str
    actor: str = ""
    reason: str = ""
    deployment: int | None = None


def raised(instances: Sequence[InstanceOut]) -> Mapping[str, list[Raised]]:
    """Return who raised the flags of each of these instances, by its name; a few queries, however many they are."""
    groups = {one.group for one in instances}
    active = dict(
        Deployment.objects.filter(group__name__in=groups)
        .exclude(phase__in=FINAL_PHASES)
        .order_by()
        .values_list("group__name", "id")
    )
    failed = _failed(groups) if any(one.failed for one in instances) else {}
    offline = _offline({one.server for one in instances if one.offline})
    found: dict[str, list[Raised]] = {}
    for one in instances:
        flags = [Raised(flag="hold", actor=one.hold_by, reason=one.hold_reason)] if one.hold else []
        if one.offline and one.server in offline:
            flags.append(offline[one.server])
        if one.failed and one.name in failed:
            flags.append(Raised(flag="failed", deployment=failed[one.name]))
        elif "deploying" in one.out_reasons and one.group in active:
            flags.append(Raised(flag="deploying", deployment=active[one.group]))
        found[one.name] = flags
    return found


def _failed(groups: set[str]) -> Mapping[str, int]:
    rows = Target.objects.filter(instance__group__name__in=groups, standing=Standing.FAILED.value).order_by()
    named = rows.values_list("instance__group__name", "instance__server__name", "instance__port")
    return {f"{group}/{server}:{port}": last for group, server, port, last in named.annotate(last=Max("deployment_id"))}


def _offline(servers: set[str]) -> Mapping[str, Raised]:
    rows = AuditEntry.objects.filter(action="offline", subject__in=servers).order_by("seq")
    return {row.subject: Raised(flag="offline", actor=row.actor, reason=row.reason) for row in rows}
