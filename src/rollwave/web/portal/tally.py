"""How far releases are, in figures, for lists of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from django.db.models import Count
from msgspec import Struct

from rollwave.domain.model import Standing
from rollwave.store.models import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = (Standing.SUCCESS, Standing.VERIFIED, Standing.IN_FLIGHT, Standing.FAILED, Standing.LEFT)


class Tally(Struct, frozen=True, kw_only=True):
    """How many targets of a release stand how."""

    by_standing: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_standing.values())

    @property
    def done(self) -> int:
        """Those on the new version, in traffic."""
        return self.by_standing.get(Standing.SUCCESS.value, 0)

    @property
    def failed(self) -> int:
        """Those that failed."""
        return self.by_standing.get(Standing.FAILED.value, 0)

    @property
    def parts(self) -> list[tuple[str, int, float]]:
        """What a bar shows: standing, count, and share in percent; what is left of it is pending."""
        counts = [(one.value, self.by_standing.get(one.value, 0)) for one in _SHOWN]
        return [(name, count, round(100 * count / self.total, 2)) for name, count in counts if count]


def tallies(deployment_ids: Sequence[int]) -> Mapping[int, Tally]:
    """Return the tally of each of these releases; one query."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    rows = Target.objects.filter(deployment_id__in=deployment_ids).order_by().values("deployment_id", "standing")
    for row in rows.annotate(count=Count("id")):
        counts[row["deployment_id"]][row["standing"]] = row["count"]
    return {one: Tally(by_standing=counts[one]) for one in deployment_ids}
