"""How long a release will take, judged by the last one of its group that went well."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from django.db.models import Max, Min

from rollwave.domain.model import Phase
from rollwave.store.models import Deployment, Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollwave.web.api.plans import PlannedBatch

_SAMPLE: Final = 200
"""So many targets of the last release are looked at."""


def target_seconds(group: str) -> float | None:
    """
    Return how long a target took in the last good release of *group*, the median in seconds; None where there was none.

    A canary is not looked at: it waits for people.
    """
    last = Deployment.objects.filter(group__name=group, phase=Phase.SUCCESS.value).order_by("-id").first()
    if last is None:
        return None
    instances = list(last.targets.filter(batch__gt=1).values_list("instance_id", flat=True)[:_SAMPLE])
    rows = Event.objects.filter(deployment=last, kind="Transition", instance_id__in=instances).order_by()
    spans = rows.values("instance_id").annotate(began=Min("at"), ended=Max("at")).values_list("began", "ended")
    return median((ended - began).total_seconds() for began, ended in spans) if spans else None


def release_seconds(batches: Iterable[PlannedBatch], *, each: float, bake_min_s: int) -> float:
    """Return how long *batches* take, pauses and the shortest bake included, waiting for people aside."""
    planned = list(batches)
    bake = bake_min_s if any(one.canary for one in planned) else 0
    return sum(one.pause_s + each for one in planned) + bake
