"""
Who stands behind a token: whoever made it can use it, so that neither approves what the other asked for.

Told from the audit log, which knows who made a token even when that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rollwave.domain.errors import OwnApprovalError
from rollwave.store.models import AuditEntry, Deployment
from rollwave.web.access import Grant, Role, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERYTHING: Final = to_text(Grant(role=Role.ADMIN))

_NEWEST: Final = 2**62


class Holder(NamedTuple):
    """Who asked: a name, and the token that was used; no token for a session."""

    name: str
    token: str


def check_other(deployment_id: int, approver: Holder) -> None:
    """
    Return if *approver* is not who asked for a deployment, and neither holds a token that the other has made.

    Raises:
        OwnApprovalError: If not.
    """
    groups = Deployment.objects.filter(id=deployment_id).values("group__name")
    planned = (
        AuditEntry.objects.filter(action="deployment.planned", subject=f"deployment/{deployment_id}", group__in=groups)
        .order_by("seq")
        .first()
    )
    if planned is None:
        return
    asked = line(Holder(planned.actor, planned.token), before=planned.seq)
    approves = line(approver)
    if asked[0] in approves or approves[0] in asked:
        raise OwnApprovalError(actor=approver.name)


def line(holder: Holder, *, before: int = _NEWEST) -> Sequence[str]:
    """
    Return who stands behind *holder*, the nearest first: a person, or a token that is nobody's, is named as an actor.

    A token that a token made is the same one, unless an administrator's made it: that one makes identities for others.

    Args:
        holder: Of whom.
        before: Place in the audit log; a name may have been given anew after it.
    """
    made = (
        AuditEntry.objects.filter(action="token.created", subject=f"token/{holder.token}", seq__lt=before)
        .order_by("-seq")
        .first()
        if holder.token
        else None
    )
    if made is None:
        return [holder.name]
    maker = Holder(made.actor, made.token)
    behind = line(maker, before=made.seq)
    is_nobodys = holder.name == holder.token
    is_one = not _manages_everything(maker, before=made.seq) if is_nobodys else maker.name == holder.name
    return behind if is_one else [holder.name, *behind]


def _manages_everything(maker: Holder, *, before: int) -> bool:
    """Return whether *maker*, a token that is nobody's, may do everything; the first one of an installation may."""
    made = (
        AuditEntry.objects.filter(action="token.created", subject=f"token/{maker.token}", seq__lt=before)
        .order_by("-seq")
        .first()
    )
    return made is None or _EVERYTHING in made.data.get("after", {}).get("grants", [_EVERYTHING])
