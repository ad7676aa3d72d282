"""The audit log: one timeline of what people and policies did, to the fleet and to deployments."""

import csv
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from io import StringIO
from typing import Annotated, Any, Literal

from asgiref.sync import sync_to_async
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import Field, SkipValidation

from rollwave.domain import facts
from rollwave.domain.errors import InvalidValueError
from rollwave.domain.said import said
from rollwave.store import audit, decisions
from rollwave.store.models import AuditEntry, Instance
from rollwave.web.access import Permission, Principal, everywhere, may, principal_of, within
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.json_text import encode
from rollwave.web.language import language_asked
from rollwave.web.refusals import InvalidRequestError
from rollwave.words.catalog import TEXTS, say
from rollwave.words.language import Language
from rollwave.words.story import Names, sentence

router = Router(tags=["audit"])


class AuditOut(Output):
    """Something that was done."""

    seq: int = Field(description="Place in the chain, from 1 and without a gap.")
    at: Time
    actor: str
    token: str = Field(description="Name of the token that was used; empty for a session, or the engine's own doing.")
    action: str = Field(description="deployment.planned, deployment.brake, instance.hold, spec.applied, ...")
    subject: str = Field(description="deployment/12, shop/s1:8080, package/shop/1.2, token/ci, user/maria, ...")
    app: str
    environment: str
    group: str | None = Field(description="Group of the deployment or the instance.")
    address: str = Field(description="Where the request came from.")
    agent: str = Field(description="What the client calls itself.")
    request_id: str
    reason: str
    sentence: str
    data: dict[str, Any] = Field(description="What was `before`, and what `after`.")
    code: str = Field(description="Over this entry and the code before it.")


class FlawOut(Output):
    """Something that is wrong with the chain."""

    seq: int
    what: SkipValidation[str]  # as it is said, for the page


class VerdictOut(Output):
    """What became of a look at the whole chain."""

    intact: bool
    count: int
    head: str = Field(description="The end of the chain; keep it elsewhere, and name it at the next look.")
    flaws: list[FlawOut]


class Wanted(Schema):
    """Which entries."""

    subject: str | None = Field(default=None, description="A group, or a subject: the whole of it, or up to a slash.")
    actor: str | None = None
    since: datetime | None = None
    before: int | None = Field(default=None, description="Only entries before this place: for the next page.")


@router.get("", auth=needs(Permission.VIEW), response=answers(InvalidRequestError, ok=list[AuditOut]))
def read_audit(
    request: HttpRequest, wanted: Query[Wanted], limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> list[AuditOut]:
    """
    Read the timeline, the newest first: what concerns the apps and environments that whoever asks may see.

    *subject* is the name of a group: then everything that was done to its deployments; or a subject, whole as
    `deployment/12` or up to one of its slashes as `package/shop`.
    """
    return shown(list(selected(principal_of(request), wanted)[:limit]), language_asked(request))


@router.get(
    "/export",
    auth=needs(Permission.MANAGE, everywhere),
    response=answers(InvalidRequestError, ok=Any),
    openapi_extra={
        "responses": {
            200: {
                "content": {
                    "text/csv": {"schema": {"type": "string"}},
                    "application/jsonl": {"schema": {"type": "string"}},
                }
            }
        }
    },
)
def export_audit(
    request: HttpRequest, wanted: Query[Wanted], form: Literal["csv", "jsonl"] = "jsonl"
) -> StreamingHttpResponse:
    """Export the timeline, the oldest first: every field of every entry, as JSON lines or CSV."""
    return exported(principal_of(request), wanted, form=form)


@router.get("/verify", auth=needs(Permission.MANAGE, everywhere), response=answers(InvalidValueError, ok=VerdictOut))
def verify_audit(request: HttpRequest, head: str | None = None) -> VerdictOut:
    """Look at the whole chain: whether an entry was changed, dropped or inserted. *head* is that of an earlier look."""
    del request
    return look(head)


def look(head: str | None) -> VerdictOut:
    """Return what becomes of a look at the whole chain; raises InvalidValueError for what is no head."""
    if head is not None and not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]*", head):
        raise InvalidValueError(field="head", value=head, expected=said("SEQ:CODE, as an earlier look named it"))
    verdict = audit.verify(known_head=head)
    flaws = [FlawOut(seq=one.seq, what=one.what) for one in verdict.flaws]
    return VerdictOut(intact=not flaws, count=verdict.count, head=verdict.head, flaws=flaws)


def selected(principal: Principal, wanted: Wanted) -> QuerySet[AuditEntry]:
    """Return the wanted entries that *principal* may see, the newest first."""
    rows = AuditEntry.objects.order_by("-seq")
    if not may(principal, Permission.VIEW):
        there = within(principal, Permission.VIEW, app="app", environment="environment")
        # What is of no environment is of the app as a whole: whoever sees one of its environments sees it.
        of_app = within(principal, Permission.VIEW, app="app") & Q(environment="")
        rows = rows.filter(there | of_app).exclude(app="")
    if wanted.subject is not None:
        subject = wanted.subject.rstrip("/")
        below = Q(subject=subject) | Q(subject__startswith=f"{subject}/")
        rows = rows.filter(below | Q(group=subject.removeprefix("group/")))
    if wanted.actor is not None:
        rows = rows.filter(actor=wanted.actor)
    if wanted.since is not None:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.before is not None:
        rows = rows.filter(seq__lt=wanted.before)
    return rows


def shown(rows: Sequence[AuditEntry], language: Language = Language.ENGLISH) -> list[AuditOut]:
    """Return entries with their sentences, in *language*."""
    told = {row.seq: decisions.fact_of(row.data["kind"], row.data["fact"]) for row in rows if "fact" in row.data}
    named = {one for fact in told.values() if isinstance(fact, facts.BakeApproved) for one, _ in fact.attempts}
    places = Instance.objects.filter(id__in=named).values_list("id", "server__name", "port")
    names = Names({instance_id: f"{server}:{port}" for instance_id, server, port in places}, language)
    return [
        AuditOut(
            **{name: getattr(row, name) for name in _COLUMNS},
            group=row.group or None,
            sentence=sentence(told[row.seq], names) if row.seq in told else _plain_sentence(row, language),
        )
        for row in rows
    ]


def exported(principal: Principal, wanted: Wanted, *, form: str) -> StreamingHttpResponse:
    """Return the wanted entries as a file, the oldest first."""
    kind = {"csv": "text/csv", "jsonl": "application/jsonl"}[form]
    headers = {"Content-Disposition": f'attachment; filename="rollwave-audit.{form}"'}
    return StreamingHttpResponse(_lines(principal, wanted, form), content_type=kind, headers=headers)


async def _lines(principal: Principal, wanted: Wanted, form: str) -> AsyncIterator[str]:
    """Give the file in pages: the log may be longer than the memory."""
    last = 0
    if form == "csv":
        yield _csv([list(AuditOut.model_fields)])
    while page := await sync_to_async(_page)(principal, wanted, last):
        last = page[-1].seq
        told = [one.model_dump(mode="json") for one in page]
        if form == "csv":
            yield _csv([[_cell(value) for value in one.values()] for one in told])
        else:
            yield "".join(encode(one).decode() + "\n" for one in told)


def _page(principal: Principal, wanted: Wanted, last: int) -> list[AuditOut]:
    return shown(list(selected(principal, wanted).filter(seq__gt=last).order_by("seq")[:1_000]))


def _csv(rows: list[list[Any]]) -> str:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else encode(value).decode()
    # A spreadsheet takes these for a formula, and runs it.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _plain_sentence(row: AuditEntry, language: Language) -> str:
    key = f"audit.{row.action}"
    because = say(language, "because", reason=row.reason) if row.reason else ""
    return say(
        language,
        key if key in TEXTS[language] else "audit.other",
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        because=because,
    )


_COLUMNS = tuple(name for name in AuditOut.model_fields if name not in {"group", "sentence"})
