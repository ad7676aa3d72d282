"""
Who asks the API, and whether they may: a bearer token, or the session of a page.

Every route says what it needs with ``auth=needs(...)``; one that says nothing is closed to everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ninja.security import HttpBearer
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from rollwave.web import access, origin, tokens
from rollwave.web.context import services
from rollwave.web.refusals import CsrfError, ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest

    from rollwave.web.access import Permission, Place, Principal


class Need:
    """
    What a route needs.

    Args:
        permission: Which permission.
        where: Tells from the parameters in the route's path what it is about.
    """

    def __init__(self, permission: Permission, where: Callable[..., Iterable[Place]]) -> None:
        self.permission = permission
        self._where = where

    def check(self, request: HttpRequest, principal: Principal) -> Principal:
        """Return *principal* if it may; raises ForbiddenError."""
        origin.note(request, token=principal.token or "")
        # Before anything is refused: the log names who it was.
        access.admit(request, principal)
        match = request.resolver_match
        access.check(principal, self.permission, self._where(**(match.kwargs if match else {})))
        return principal


class BearerToken(HttpBearer):
    """Admits whoever sends a valid token that may do what the route needs."""

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need

    def authenticate(self, request: HttpRequest, token: str) -> Principal | None:
        """Return whose the token is, None where it is not valid; raises ForbiddenError."""
        principal = tokens.principal_of(token, now=services().clock.now())
        return principal and self.need.check(request, principal)


class SessionCookie(AuthBase):
    """Admits whoever has signed in to the portal, and may do what the route needs."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "rollwave_session"

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need

    def __call__(self, request: HttpRequest) -> Principal | None:
        """Return whose the session is, None without one; raises ForbiddenError, and CsrfError for a forged write."""
        # A client that names a token means the token.
        if request.headers.get("Authorization"):
            return None
        principal = access.principal_of_user(request.user)
        if principal is None:
            return None
        if check_csrf(request):
            raise CsrfError
        return self.need.check(request, principal)


class Undeclared(AuthBase):
    """Admits nobody: for a route that forgot to say what it needs."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Any:
        """Raise ForbiddenError."""
        del request
        raise ForbiddenError(actor="nobody", permission="undeclared")


def needs(permission: Permission, where: Callable[..., Iterable[Place]] = access.somewhere) -> list[AuthBase]:
    """
    Return the ``auth`` of a route.

    Args:
        permission: What it takes.
        where: What the route is about; by default the route looks at each thing by itself, see `access.principal_of`.
    """
    need = Need(permission, where)
    return [BearerToken(need), SessionCookie(need)]


def actor_of(request: HttpRequest) -> str:
    """Return the name of who asks: the actor of every command."""
    return access.principal_of(request).name


def check_group(request: HttpRequest, permission: Permission, group: str) -> None:
    """Return if whoever asks has *permission* for a group, or there is no such group; raises ForbiddenError."""
    access.check(access.principal_of(request), permission, access.of_group(name=group))
