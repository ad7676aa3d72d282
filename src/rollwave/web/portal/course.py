"""The stage line of a release: Canary, Verify, Bake, Roll out, Done; and who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from msgspec import Struct

from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.model import Phase
from rollwave.store import codec
from rollwave.store.models import Event
from rollwave.web.insight.duration import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.domain.model import State

_SILENT: Final = (
    codec.STAGE_CHANGED,
    *(kind.__name__ for kind in (facts.SliceOpened, facts.SliceClosed, facts.TargetsSettled)),
)
"""Kinds of events that the grid tells better."""

_ORDER: Final = (
    Phase.PENDING,
    Phase.CANARY,
    Phase.VERIFY_FAILURE,
    Phase.VERIFY_SUCCESS,
    Phase.BAKING,
    Phase.BAKE_FAILURE,
    Phase.BAKE_SUCCESS,
    Phase.ROLLING_OUT,
    Phase.FAILURE,
    Phase.SUCCESS,
)


class Entry(Struct, frozen=True, kw_only=True):
    """One event of the log that people read."""

    seq: int
    at: datetime
    fact: Fact


class Step(Struct, frozen=True, kw_only=True):
    """
    One stage of a release.

    Attributes:
        name: What it is called.
        standing: done, now, failed or todo.
        detail: Who, how many, or how long.
        figure: Name of the live figure that *detail* begins with; empty for none.
    """

    name: str
    standing: str
    detail: str = ""
    figure: str = ""


def story(deployment_id: int) -> list[Entry]:
    """Return the events of a release that people read, oldest first."""
    rows = Event.objects.filter(deployment_id=deployment_id).exclude(kind__in=_SILENT).order_by("seq")
    return [
        Entry(seq=seq, at=at, fact=codec.event(kind, data))  # type: ignore[arg-type]  # no stage is among them
        for seq, at, kind, data in rows.values_list("seq", "at", "kind", "data")
    ]


def steps(state: State, told: Sequence[Entry], *, now: datetime) -> list[Step]:
    """Return the stage line, in order."""
    reached = _reached(told)
    phase = state.deployment.phase if state.deployment.phase is not Phase.ABORTED else reached[-1][0]
    place = _ORDER.index(phase)
    is_over = state.deployment.phase is Phase.ABORTED
    canary = state.deployment.canary_batch
    line: list[Step] = []
    if canary is not None:
        count = len(state.in_batch(1))
        line += [
            Step(
                name=_("Canary"),
                standing=_standing(place, Phase.CANARY, Phase.VERIFY_FAILURE),
                detail=_lasted(reached, Phase.CANARY, now=now),
            ),
            Step(
                name=_("Verify"),
                standing="failed" if phase is Phase.VERIFY_FAILURE else _done_from(place, Phase.VERIFY_SUCCESS),
                detail=ngettext("%(count)s target", "%(count)s targets", count) % {"count": count}
                if place >= _ORDER.index(Phase.VERIFY_SUCCESS)
                else "",
            ),
            Step(
                name=_("Bake"),
                standing="failed"
                if phase is Phase.BAKE_FAILURE
                else _standing(place, Phase.VERIFY_SUCCESS, Phase.BAKING),
                detail=_asker(told, Action.BAKE),
            ),
        ]
    rolls = _standing(place, Phase.BAKE_SUCCESS if canary else Phase.PENDING, Phase.ROLLING_OUT)
    line.append(
        Step(
            name=_("Roll out"),
            standing="failed" if phase is Phase.FAILURE else rolls,
            detail=_asker(told, Action.ROLLOUT),
            figure="percent" if place >= _ORDER.index(Phase.ROLLING_OUT) else "",
        )
    )
    line.append(
        Step(
            name=_("Given up") if is_over else _("Done"),
            standing="failed" if is_over else "done" if phase is Phase.SUCCESS else "todo",
            detail=_asker(told, Action.ABORT, Action.ROLLBACK) if is_over else "",
        )
    )
    return line


def _reached(told: Sequence[Entry]) -> list[tuple[Phase, datetime]]:
    """Return the phases in the order in which they came, but for the last of one that was given up."""
    found = [(Phase.PENDING, told[0].at)] if told else []
    found += [(one.fact.phase, one.at) for one in told if isinstance(one.fact, facts.PhaseChanged)]
    return [one for one in found if one[0] is not Phase.ABORTED] or found


def _standing(place: int, first: Phase, last: Phase) -> str:
    if place < _ORDER.index(first):
        return "todo"
    if place <= _ORDER.index(last):
        return "failed" if _ORDER[place] in (Phase.VERIFY_FAILURE, Phase.BAKE_FAILURE) else "now"
    return "done"


def _done_from(place: int, first: Phase) -> str:
    return "done" if place >= _ORDER.index(first) else "todo"


def _lasted(reached: Sequence[tuple[Phase, datetime]], phase: Phase, *, now: datetime) -> str:
    began = next((at for one, at in reached if one is phase), None)
    if began is None:
        return ""
    ended = next((at for one, at in reached if at > began and one is not phase), now)
    return duration((ended - began).total_seconds())


def _asker(told: Sequence[Entry], *actions: Action) -> str:
    """Return who asked last for one of *actions*; the policy where it approved by itself."""
    for one in reversed(told):
        if isinstance(one.fact, facts.CommandAccepted) and one.fact.action in actions:
            return one.fact.actor
        if isinstance(one.fact, facts.BakeApproved) and Action.BAKE in actions:
            return one.fact.actor
    return ""
