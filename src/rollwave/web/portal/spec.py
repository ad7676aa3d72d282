"""The spec of the fleet: read it, edit it, see exactly what would change, and let just that happen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from msgspec import Struct

from rollwave.domain.errors import RollwaveError
from rollwave.spec_file import SpecProblem, read_spec
from rollwave.spec_text import write_spec
from rollwave.web.access import Permission, may_somewhere, principal_of
from rollwave.web.api import apps
from rollwave.web.portal.differences import differences
from rollwave.web.portal.page import page
from rollwave.web.refusals import InvalidSpecError
from rollwave.web.spec.apply import apply_spec
from rollwave.web.spec.changes import Do, digest_of
from rollwave.web.spec.export import export
from rollwave.web.told import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from rollwave.web.access import Principal
    from rollwave.web.spec.changes import Change

LONGEST: Final = 512 * 1024
"""Characters that the page takes: reading YAML with its lines takes a second for each 150,000."""

_SHOWN: Final = 500
"""Most changes that are listed; the rest is counted."""


class Look(Struct, frozen=True, kw_only=True):
    """
    What came of a look at a text.

    Attributes:
        problems: What is wrong, and where.
        refusal: Why it cannot be applied, where that has no place in the text.
        changes: What it would do; as `_row` shows it.
        more: How many more there are.
        counts: How many of each sort: create, update, delete, unchanged.
        agreed: Stands for exactly these changes; empty where there is nothing to apply.
    """

    problems: Sequence[SpecProblem] = ()
    refusal: str = ""
    changes: Sequence[dict[str, Any]] = ()
    more: int = 0
    counts: dict[str, int] = {}
    agreed: str = ""

    @property
    def marks(self) -> str:
        """Lines at which something is wrong."""
        return " ".join(str(one.place.line) for one in self.problems)


@require_safe
@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the spec of all apps, or of one."""
    return _shown(request, _exported(request))


@require_safe
@page(Permission.VIEW)
def download(request: HttpRequest) -> HttpResponse:
    """Return the spec as a file."""
    response = HttpResponse(_exported(request), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="fleet.yaml"'
    return response


@require_POST
@page(Permission.MANAGE)
def change(request: HttpRequest) -> HttpResponse:
    """Look at a changed spec, or apply one that was looked at."""
    principal = principal_of(request)
    # A browser ends lines as Windows does.
    text = request.POST.get("text", "").replace("\r\n", "\n")
    prunes = request.POST.get("prune") == "on"
    agreed = request.POST.get("agreed", "")
    if request.POST.get("do") != "apply" or not agreed or len(text) > LONGEST:
        return _shown(request, text, look(text, prunes=prunes, principal=principal))
    spec = read_spec(text)
    try:
        done = apply_spec(spec.document, prune=prunes, dry_run=False, principal=principal, agreed=agreed)
    except RollwaveError as error:
        found = look(text, prunes=prunes, principal=principal)
        return _shown(request, text, found, problem="" if found.problems or found.refusal else told(error))
    messages.success(request, _("Applied: %(counts)s") % {"counts": counted(_counts(done))})
    app = request.POST.get("app", "")
    return HttpResponseRedirect(reverse("portal:spec", query={"app": app} if app else None))


def _exported(request: HttpRequest) -> str:
    return write_spec(export(principal_of(request), app=request.GET.get("app") or None))


def look(text: str, *, prunes: bool, principal: Principal) -> Look:
    """Return what *text* would do, or what is wrong with it; nothing is changed."""
    if len(text) > LONGEST:
        return Look(refusal=_too_long(len(text)))
    spec = read_spec(text)
    if spec.problems:
        return Look(problems=spec.problems)
    try:
        decided = apply_spec(spec.document, prune=prunes, dry_run=True, principal=principal)
    except InvalidSpecError as error:
        found = error.facts["problems"]
        return Look(problems=spec.placed((one["path"], one["message"]) for one in found))  # type: ignore[attr-defined]  # facts are JSON
    except RollwaveError as error:
        return Look(refusal=told(error))
    counts = _counts(decided)
    rows = [_row(one) for one in decided if one.do is not Do.UNCHANGED or one.note]
    return Look(
        changes=rows[:_SHOWN],
        more=len(rows) - len(rows[:_SHOWN]),
        counts=counts,
        agreed=digest_of(decided) if set(counts) - {Do.UNCHANGED.value} else "",
    )


def counted(counts: dict[str, int]) -> str:
    """Return in words how many things become what."""
    words = {
        "create": _("%(count)s created"),
        "update": _("%(count)s changed"),
        "delete": _("%(count)s deleted"),
        "unchanged": _("%(count)s as before"),
    }
    return ", ".join(words[name] % {"count": f"{counts[name]:,}"} for name in words if counts.get(name))


def _counts(decided: Sequence[Change]) -> dict[str, int]:
    return dict(Counter(one.do.value for one in decided))


def _row(change: Change) -> dict[str, Any]:
    fields = differences(change.before, change.values, is_new=change.do is Do.CREATE)
    return {"do": change.do.value, "kind": change.kind, "name": change.name, "note": change.note, "fields": fields}


def _too_long(length: int) -> str:
    told = {"length": f"{length:,}", "limit": f"{LONGEST:,}"}
    return _("The text has %(length)s characters; the page takes %(limit)s. Take one app alone, or a file.") % told


def _shown(request: HttpRequest, text: str, found: Look | None = None, *, problem: str = "") -> HttpResponse:
    app = request.POST.get("app") or request.GET.get("app") or ""
    refusal = found.refusal if found else _too_long(len(text)) if len(text) > LONGEST else ""
    context = {
        "text": text if len(text) <= LONGEST else "",
        "look": found,
        "refusal": problem or refusal,
        "summary": counted(found.counts) if found else "",
        "app": app,
        "apps": [one.name for one in apps.list_apps(request)],
        "prune": request.POST.get("prune") == "on",
        "may_edit": may_somewhere(principal_of(request), Permission.MANAGE),
    }
    status = 422 if problem or (found and (found.problems or found.refusal)) else 200
    return render(request, "portal/spec.html", context, status=status)
