"""What the traffic flags want of an instance at its balancer. Source: domain.md, rule 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.model import Entry, Progress, Stage, Standing

if TYPE_CHECKING:
    from rollwave.domain.model import Instance, Target


def wants_traffic(instance: Instance, target: Target | None) -> bool | None:
    """
    Return whether an instance should be in traffic; None while a worker is changing that.

    Args:
        instance: With its flags.
        target: Its target in the group's active deployment, with stage and progress from the last record; None where it
            is none.
    """
    if target and target.standing is Standing.VERIFIED:
        return False
    if target and target.standing is Standing.IN_FLIGHT:
        if (target.stage, target.progress) == (Stage.MARKUP, Progress.SUCCESS):
            # Its worker is done with it; that it is settled will be known once its whole slice is.
            return instance.can_take_part
        return False if _is_out_for_work(target) else None
    return not (instance.hold or instance.failed or instance.new or instance.offline)


def _is_out_for_work(target: Target) -> bool:
    """Return whether an in-flight target is surely out of traffic: past its markdown and before its markup."""
    if target.stage in (None, Stage.MARKUP) or (target.stage is Stage.PROVE and target.entry is Entry.PROVE_IN):
        return False
    return target.stage is not Stage.MARKDOWN or target.progress is Progress.SUCCESS
