"""The page of one release: what people watch while it runs."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from msgspec import Struct

from rollwave.domain import facts
from rollwave.domain.actions import why_not
from rollwave.domain.brake import failed_count
from rollwave.domain.budget import budget_of
from rollwave.domain.commands import Action
from rollwave.domain.model import Phase
from rollwave.domain.status import Status, summarize
from rollwave.store.models import FINAL_PHASES, Deployment
from rollwave.web.access import Permission, may, needs, of_deployment, principal_of
from rollwave.web.context import services
from rollwave.web.insight import gate
from rollwave.web.insight.duration import duration
from rollwave.web.language import language_shown
from rollwave.web.live.cell import Cell, cell_of
from rollwave.web.portal import attention, charts, course, steering, target_card
from rollwave.web.portal.legend import cell_names, legend
from rollwave.web.spoken import spoken
from rollwave.web.typed import number
from rollwave.words.catalog import name_of
from rollwave.words.standing import status_sentence
from rollwave.words.story import Names, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from rollwave.domain.model import State

ROWS: Final = 100
"""Rows of a page of the table."""

_TONES: Final = {
    Status.RUNNING: "running",
    Status.WAITING: "wait",
    Status.BRAKED: "wait",
    Status.FAILED: "bad",
    Status.ABORTING: "wait",
    Status.SUCCEEDED: "good",
}


class _Made(Struct, frozen=True, kw_only=True):
    """What was made, and the newest event that is surely in it."""

    seq: int
    html: str


_made: Final[dict[int, dict[tuple[object, ...], _Made]]] = {}
"""By release, and by what a page depends on: language and permissions. Empty for what is over."""

CHARTS_AGE: Final = timedelta(seconds=10)
"""So long charts are shown to others as they were drawn for the first."""

MOST_DRAWN: Final = 100
"""Most charts that are kept."""

_drawn: Final[dict[tuple[int, str | None], tuple[datetime, str]]] = {}
"""By release and language: when they were drawn, and what."""

_UNTOLD: Final = (facts.BakeApproved, facts.BatchScheduled)
"""Another event of the same moment tells it better."""


@require_safe
@needs(Permission.VIEW, of_deployment)
def show(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Show a release."""
    return render(request, "portal/release/page.html", _context(request, deployment_id))


@require_safe
@needs(Permission.VIEW, of_deployment)
def panels(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """
    Return all of the page but its grid, each part to be swapped for the one that is there.

    Whoever was told by the live data of a change names it as ``stamp``: a crowd is shown what was made for the first.
    """
    row = _row(deployment_id)
    shelf = _made.setdefault(deployment_id, {})
    look = (get_language(), *(_may(request, row, one) for one in (Permission.OPERATE, Permission.APPROVE)))
    stamp = number(request.GET.get("stamp", ""))
    made = shelf.get(look)
    if made is None or stamp is None or made.seq < stamp:
        context = {**_context(request, deployment_id), "swap": True}
        made = _Made(seq=row.seq, html=render_to_string("portal/release/panels.html", context, request))
        if row.phase in FINAL_PHASES:
            _made.pop(deployment_id, None)
        else:
            shelf[look] = made
    return HttpResponse(made.html)


@require_safe
@needs(Permission.VIEW, of_deployment)
def chart(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Return the charts, a few seconds old where others watch, too: they are drawn from a large part of the log."""
    now, look = services().clock.now(), (deployment_id, get_language())
    drawn = _drawn.get(look)
    if drawn is None or now - drawn[0] > CHARTS_AGE:
        if len(_drawn) > MOST_DRAWN:
            _drawn.clear()
        context = {"charts": charts.charts(deployment_id), "id": deployment_id}
        drawn = _drawn[look] = (now, render_to_string("portal/release/charts.html", context, request))
    return HttpResponse(drawn[1])


@require_safe
@needs(Permission.VIEW, of_deployment)
def target(request: HttpRequest, deployment_id: int, position: int) -> HttpResponse:
    """Return the card of one target."""
    state = services().releases.load(deployment_id).state
    found = target_card.card(state, position)
    if found is None:
        raise Http404
    can = _may(request, _row(deployment_id), Permission.OPERATE)
    can_retry = found.can_retry and can and not why_not(state, Action.RETRY)
    context = {"card": found, "id": deployment_id, "state": cell_names()[found.cell], "can_retry": can_retry}
    return render(request, "portal/release/target.html", context)


@require_safe
@needs(Permission.VIEW, of_deployment)
def table(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Return the targets as a table: those of one state of the legend, or all."""
    state = services().releases.load(deployment_id).state
    wanted = next((chip for chip in legend() if chip.key == request.GET.get("state")), None)
    names = cell_names()
    found = [
        {
            "position": position,
            "instance": state.fleet[one.instance_id],
            "name": state.fleet[one.instance_id].name.split("/", 1)[-1],
            "target": one,
            "cell": cell.name.lower(),
            "state": names[cell],
        }
        for position, one in enumerate(state.targets.values())
        if wanted is None or cell_of(one) in wanted.cells
        for cell in [cell_of(one)]
    ]
    page = Paginator(found, ROWS).get_page(request.GET.get("page"))
    return render(request, "portal/release/table.html", {"page": page, "id": deployment_id, "wanted": wanted})


def _row(deployment_id: int) -> Deployment:
    row = Deployment.objects.select_related("group__app", "goal", "previous").filter(id=deployment_id).first()
    if row is None:
        raise Http404
    return row


def _may(request: HttpRequest, row: Deployment, permission: Permission) -> bool:
    principal = principal_of(request)
    return may(principal, permission, app=row.group.app.name, environment=row.group.environment)


def _context(request: HttpRequest, deployment_id: int) -> dict[str, Any]:
    row = _row(deployment_id)
    state = services().releases.load(deployment_id).state
    told = course.story(deployment_id)
    summary = summarize(state)
    budget = budget_of(state)
    cells = [cell_of(one) for one in state.targets.values()]
    can = _may(request, row, Permission.OPERATE)
    can_approve = _may(request, row, Permission.APPROVE)
    buttons = [one for one in steering.buttons(state) if (can_approve if one.verb == "approve" else can)]
    causes = attention.causes(state)
    closed = why_not(state, Action.RETRY)
    return {
        "row": row,
        "deployment": state.deployment,
        "sites": len({state.fleet[one].site for one in state.targets}),
        "status": _status(summary.status, state),
        "sentence": status_sentence(summary, language_shown()),
        "is_final": state.deployment.phase.is_final,
        "is_braked": summary.status is Status.BRAKED,
        "waits": bool(buttons) and summary.status in (Status.PENDING, Status.WAITING),
        "steps": course.steps(state, told, now=services().clock.now()),
        "total": len(cells),
        "done": cells.count(Cell.DONE),
        "percent": _percent(cells.count(Cell.DONE), len(cells)),
        "budget": budget,
        "failed": failed_count(state),
        "gate": gate.gate(state),
        "rails": gate.rails(state),
        "batches": _batches(state, cells),
        "legend": [{"chip": chip, "count": sum(cell in chip.cells for cell in cells)} for chip in legend()],
        "cells": {"names": list(cell_names().values()), "groups": {chip.key: sorted(chip.cells) for chip in legend()}},
        "buttons": buttons,
        "causes": causes,
        "attention": sum(cause.targets for cause in causes),
        "unanswered": attention.unanswered(state),
        "retry_closed": "" if can and not closed else spoken(closed) or " ",
        "activity": _activity(state, told),
        "can_raise": can and not why_not(state, Action.RAISE_LIMIT),
        "kind": name_of(state.deployment.kind, language_shown()).capitalize(),
        "took": duration((row.ended_at - row.created_at).total_seconds()) if row.ended_at else "",
        "words": _words(),
    }


def _words() -> dict[str, str]:
    """Return what the scripts of the page say."""
    return {
        "batch": _("Batch {n}"),
        "queued": _("queued"),
        "open": _("under way"),
        "passed": _("passed"),
        "failed": _("{n} failed"),
        "waitsFor": _("waits for batch {n}"),
        "starts": _("starts {time}"),
        "minutes": _("min"),
        "seconds": _("s"),
        "hours": _("h"),
        "said": _("{name}, batch {n}, {state}"),
    }


def _status(status: Status, state: State) -> dict[str, str]:
    name = name_of(state.deployment.phase if status is Status.RUNNING else status, language_shown())
    return {"key": status.value, "label": name[:1].upper() + name[1:], "tone": _TONES.get(status, "")}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _batches(state: State, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    of_batch: defaultdict[int, list[Cell]] = defaultdict(list)
    for cell, one in zip(cells, state.targets.values(), strict=True):
        of_batch[one.batch].append(cell)
    return [
        {
            "number": batch.number,
            "canary": batch.canary,
            "total": len(of_batch[batch.number]),
            "done": of_batch[batch.number].count(Cell.DONE),
            "opened": batch.opened,
            "due_at": batch.due_at,
        }
        for batch in state.deployment.batches
    ]


def _activity(state: State, told: Sequence[course.Entry]) -> list[dict[str, Any]]:
    names = Names({one.id: one.name for one in state.fleet.values()}, language_shown())
    shown = [one for one in told if not isinstance(one.fact, _UNTOLD) and not _is_start(one)]
    return [{"at": one.at, "text": sentence(one.fact, names), "bad": _is_bad(one)} for one in reversed(shown)]


def _is_start(one: course.Entry) -> bool:
    return isinstance(one.fact, facts.PhaseChanged) and one.fact.phase in (Phase.BAKING, Phase.ROLLING_OUT)


def _is_bad(one: course.Entry) -> bool:
    return isinstance(one.fact, facts.Braked | facts.TargetsFailing | facts.BakeCondemned)
