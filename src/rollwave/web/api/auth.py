"""Who asks: a bearer token, whose name is the actor of every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ninja.security import HttpBearer

from rollwave.web import tokens
from rollwave.web.context import services

if TYPE_CHECKING:
    from django.http import HttpRequest


class BearerToken(HttpBearer):
    """Admits whoever sends a valid token."""

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        """Return the token's name, None where it is not valid."""
        del request
        return tokens.holder_of(token, now=services().clock.now())


def actor_of(request: HttpRequest) -> str:
    """Return the name of the token that a request came with."""
    return str(getattr(request, "auth"))  # noqa: B009  # ninja adds it; the type does not know
