"""Where a request comes from, for the audit log and for the count of login attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.store import audit

if TYPE_CHECKING:
    from django.http import HttpRequest

_AGENT_CHARS = 200


def address_of(request: HttpRequest) -> str:
    """Return the address of the client; of one behind a proxy only where the settings trust that."""
    return str(request.META.get("REMOTE_ADDR", ""))


def note(request: HttpRequest, *, token: str = "") -> None:
    """Let the audit log know where all that is done from now on, in this request, comes from."""
    audit.origin.set(
        audit.Origin(
            address=address_of(request),
            agent=request.headers.get("User-Agent", "")[:_AGENT_CHARS],
            request_id=getattr(request, "request_id", ""),
            token=token,
        )
    )
