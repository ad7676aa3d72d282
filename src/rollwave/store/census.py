"""The census: what there is now, over all processes, in two short reads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django.db.models import Count, Min, Q

from rollwave.domain.model import Phase
from rollwave.ports.telemetry import Census
from rollwave.store import codec
from rollwave.store.dialect import snapshot
from rollwave.store.models import FINAL_PHASES, Deployment, Slice

if TYPE_CHECKING:
    from datetime import datetime


def take(*, now: datetime) -> Census:
    """Return what there is; a lease that ended before *now* is over."""
    is_held = ~Q(owner="") & Q(lease_until__gt=now)
    with snapshot():
        running = list(Deployment.objects.exclude(phase__in=FINAL_PHASES).values_list("phase", "brake"))
        slices = Slice.objects.filter(closed=False).aggregate(
            waiting=Count("id", filter=Q(epoch=0)),
            held=Count("id", filter=is_held),
            abandoned=Count("id", filter=Q(epoch__gt=0) & ~is_held),
            oldest=Min("opened_at", filter=~is_held),
        )
    brakes = [brake.cause for brake in (codec.brake(stored) for _, stored in running) if brake is not None]
    oldest = slices["oldest"]
    return Census(
        phases=Counter(Phase(phase) for phase, _ in running),
        brakes=Counter(brakes),
        waiting=slices["waiting"],
        held=slices["held"],
        abandoned=slices["abandoned"],
        oldest_s=max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
    )
