"""
The audit log: a chain of entries that nobody changes, drops or inserts without its being noticed.

Each entry carries a code (HMAC-SHA-256) over itself and the code before it; the end of the chain is sealed, so that an
entry that is missing there is missed, too. The key is not in the database: whoever can write there alone can forge
nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from msgspec import Struct

from rollwave.domain.said import Said, said
from rollwave.store.dialect import alone, in_transaction, snapshot
from rollwave.store.models import AuditEntry, AuditHead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEAD: Final = 1
"""Row of the only head that there is."""

_FIELDS: Final = (
    "actor",
    "token",
    "action",
    "subject",
    "app",
    "environment",
    "group",
    "address",
    "agent",
    "request_id",
    "reason",
)
"""The texts of an entry, in the order in which its code covers them."""

_PAGE: Final = 2_000


class Origin(Struct, frozen=True, kw_only=True):
    """
    Where a command came from.

    Attributes:
        address: Of the client.
        agent: What it calls itself.
        request_id: Names its request in our log.
        token: Name of the token that it used; empty for a session.
    """

    address: str = ""
    agent: str = ""
    request_id: str = ""
    token: str = ""


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  # it is frozen
"""Of the request that is being answered; without one it is the engine's own doing."""


class Entry(Struct, frozen=True, kw_only=True):
    """
    What was done.

    Attributes:
        at: When.
        actor: By whom: a user, a token that is nobody's, ``policy`` or ``engine``.
        action: What, such as ``deployment.brake``.
        subject: To what, such as ``deployment/12``.
        reason: Why.
        app, environment, group: Whose; empty where it is nobody's.
        data: What was before and what after, as JSON values.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    reason: str = ""
    app: str = ""
    environment: str = ""
    group: str = ""
    data: Mapping[str, Any] = {}


class Flaw(Struct, frozen=True, kw_only=True):
    """Something that is wrong with the chain: at which place, and what."""

    seq: int
    what: Said


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a look at the whole chain; *head* names its end: keep it elsewhere to compare with it later."""

    count: int
    head: str
    flaws: tuple[Flaw, ...]


def append(entries: Sequence[Entry]) -> None:
    """
    Add entries to the chain, in the transaction that is open, else in one of their own.

    To be called last in a transaction: from here on nobody else can append until it ends.
    """
    if entries:
        in_transaction(_append, entries)


def _append(entries: Sequence[Entry]) -> None:
    alone("audit")
    head = AuditHead.objects.filter(pk=_HEAD).first() or AuditHead(pk=_HEAD)
    where = origin.get()
    seq, code = head.seq, head.code
    rows = []
    for entry in entries:
        seq += 1
        row = AuditEntry(
            seq=seq,
            at=entry.at.astimezone(UTC),
            actor=entry.actor,
            token=where.token,
            action=entry.action,
            subject=entry.subject,
            app=entry.app,
            environment=entry.environment,
            group=entry.group,
            address=where.address,
            agent=where.agent,
            request_id=where.request_id,
            reason=entry.reason,
            data=json.loads(json.dumps(entry.data)),
        )
        code = row.code = code_of(row, before=code)
        rows.append(row)
    AuditEntry.objects.bulk_create(rows)
    AuditHead.objects.update_or_create(pk=_HEAD, defaults={"seq": seq, "code": code, "seal": seal_of(seq, code)})


def code_of(row: Any, *, before: str) -> str:
    """Return the code of an entry that follows the one with the code *before*; empty for the first."""
    covered = [before, row.seq, row.at.astimezone(UTC).isoformat(), *(getattr(row, name) for name in _FIELDS), row.data]
    return _mac(json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def seal_of(seq: int, code: str) -> str:
    """Return what proves that the chain ends with this entry."""
    return _mac(f"head {seq} {code}")


def _mac(text: str) -> str:
    return hmac.new(settings.AUDIT_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def verify(*, known_head: str | None = None) -> Verdict:
    """
    Look at the whole chain.

    Args:
        known_head: ``SEQ:CODE`` of an earlier verdict, which the chain still has to contain: so a database that was put
            back as a whole is noticed.

    Raises:
        ValueError: If *known_head* is not of that form.
    """
    known_seq, _, known_code = (known_head or "0:").partition(":")
    wanted = int(known_seq)
    flaws = []
    seq, code = 0, ""
    with snapshot():
        head = AuditHead.objects.filter(pk=_HEAD).first() or AuditHead(pk=_HEAD)
        for row in _in_order():
            if row.seq != seq + 1:
                flaws.append(Flaw(seq=seq + 1, what=_missing(seq + 1, row.seq - 1)))
            elif row.code != code_of(row, before=code):
                flaws.append(Flaw(seq=row.seq, what=said("changed, inserted or moved: its code does not fit")))
            if row.seq == wanted and row.code != known_code:
                flaws.append(Flaw(seq=wanted, what=said("another entry than the one that was known")))
            seq, code = row.seq, row.code
    if seq < wanted:
        flaws.append(Flaw(seq=seq + 1, what=_missing(seq + 1, wanted)))
    if (head.seq or head.seal) and head.seal != seal_of(head.seq, head.code):
        flaws.append(Flaw(seq=head.seq, what=said("the seal of the chain's end does not fit")))
    if seq < head.seq:
        flaws.append(Flaw(seq=seq + 1, what=_missing(seq + 1, head.seq)))
    elif (head.seq, head.code) != (seq, code):
        flaws.append(Flaw(seq=head.seq, what=said("the sealed end is another entry than the last one")))
    return Verdict(count=seq, head=f"{seq}:{code}", flaws=tuple(flaws))


def _in_order() -> Iterator[AuditEntry]:
    """Give every entry by its place; in pages, for there may be millions."""
    last = 0
    while page := list(AuditEntry.objects.filter(seq__gt=last).order_by("seq")[:_PAGE]):
        yield from page
        last = page[-1].seq


def _missing(first: int, last: int) -> Said:
    return (
        said("entry %(first)s is missing", first=first)
        if first == last
        else said("entries %(first)s to %(last)s are missing", first=first, last=last)
    )
