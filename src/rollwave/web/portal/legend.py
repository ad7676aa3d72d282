"""The legend of the grid: what its cells are called, and the filters."""

from __future__ import annotations

from django.utils.translation import gettext as _
from msgspec import Struct

from rollwave.web.live.cell import FAILURES, IN_FLIGHT, Cell


class Chip(Struct, frozen=True, kw_only=True):
    """An entry of the legend: a filter, and the cells that belong to it."""

    key: str
    label: str
    cells: frozenset[Cell]


def legend() -> tuple[Chip, ...]:
    """Return the legend in its order."""
    retry, gone = frozenset({Cell.RETRY}), frozenset({Cell.UNREACHABLE})
    return (
        Chip(key="done", label=_("Done"), cells=frozenset({Cell.DONE})),
        Chip(key="verified", label=_("Verified"), cells=frozenset({Cell.VERIFIED})),
        Chip(key="in_flight", label=_("In flight"), cells=IN_FLIGHT - retry - gone),
        Chip(key="failed", label=_("Failed"), cells=FAILURES),
        Chip(key="retry", label=_("Retrying"), cells=retry),
        Chip(key="unreachable", label=_("Unreachable"), cells=gone),
        Chip(key="left", label=_("Left the plan"), cells=frozenset({Cell.LEFT})),
        Chip(key="pending", label=_("Pending"), cells=frozenset({Cell.PENDING})),
    )


def cell_names() -> dict[Cell, str]:
    """Return what a person calls each state of a target."""
    return {
        Cell.PENDING: _("Pending"),
        Cell.MARKDOWN: _("Leaving traffic"),
        Cell.DOWNLOAD: _("Downloading"),
        Cell.INSTALL: _("Installing"),
        Cell.VERIFY: _("Verifying"),
        Cell.MARKUP: _("Going into traffic"),
        Cell.VERIFIED: _("Verified, out of traffic"),
        Cell.DONE: _("Done"),
        Cell.FAILED: _("Failed"),
        Cell.RESTORED: _("Failed, back on the old version"),
        Cell.RETRY: _("Retrying"),
        Cell.UNREACHABLE: _("Unreachable"),
        Cell.LEFT: _("Left the plan"),
    }
