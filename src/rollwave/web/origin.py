"""Where a request comes from, for the audit log and for the count of login attempts."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import structlog
from django.conf import settings

from rollwave.store import audit

if TYPE_CHECKING:
    from django.http import HttpRequest

log = structlog.get_logger()

_AGENT_CHARS = 200

_OF_PROXIES: Final = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")
"""Headers that a proxy adds."""


def address_of(request: HttpRequest) -> str:
    """Return the address of the client; of one behind a proxy only where the settings trust that."""
    return str(request.META.get("REMOTE_ADDR", ""))


def is_one_clients(request: HttpRequest) -> bool:
    """
    Return whether `address_of` is the client's own, and not that of a proxy before us, which all clients share.

    Where no proxy is trusted, one on this machine or in a private network that passes on where a request comes from is
    such a proxy; this is logged. Where one is, the operator has named them all: whoever else asks is a client.
    """
    address = address_of(request)
    if settings.SETTINGS.web.trusted_proxies or not any(name in request.headers for name in _OF_PROXIES):
        return True
    if not _is_near(address):
        return True
    warn_of_proxy(address)
    return False


def _is_near(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True  # none at all: a socket of this machine
    return not (getattr(found, "ipv4_mapped", None) or found).is_global


@lru_cache(maxsize=100)  # each address once: sign-ins that anybody can attempt are not to fill the log
def warn_of_proxy(address: str) -> None:
    """Say that clients cannot be told apart, and what makes them so."""
    log.warning(
        "proxy_not_trusted",
        address=address,
        hint=f'name it in rollwave.toml: [web] trusted_proxies = ["{address}"]; until then wrong passwords '
        "are counted for each name alone, and the audit log has the address of the proxy",
    )


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
