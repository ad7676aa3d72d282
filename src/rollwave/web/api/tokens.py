"""API tokens over HTTP."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import AwareDatetime, Field

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.store.models import Token
from rollwave.web import tokens
from rollwave.web.api.auth import actor_of
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.context import services
from rollwave.web.fields import Input, like
from rollwave.web.refusals import LastTokenError, TokenExistsError

router = Router(tags=["tokens"])


class TokenOut(Output):
    """A token, without its value."""

    name: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class NewToken(TokenOut):
    """A token that was just made."""

    token: str = Field(description="Its value, shown this once.")


class TokenIn(Input):
    """A token to make; its name is the actor of every command that it carries."""

    name: Annotated[str, like(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", "letters, digits and . _ @ -, at most 100")]
    expires_at: AwareDatetime | None = Field(default=None, description="With its time zone; null: it never expires.")


@router.get("", response=answers(ok=list[TokenOut]))
def list_tokens(request: HttpRequest) -> list[TokenOut]:
    """List all tokens."""
    del request
    return [TokenOut.model_validate(row) for row in Token.objects.order_by("name")]


@router.post("", response=answers(TokenExistsError, InvalidValueError, *BODY_ERRORS, created=NewToken))
def make_token(request: HttpRequest, body: TokenIn) -> Status[NewToken]:
    """Make a token; the answer is the only place that shows its value."""
    now = services().clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidValueError(field="expires_at", value=body.expires_at.isoformat(), expected="a time to come")
    row, value = tokens.make(body.name, actor=actor_of(request), now=now, expires_at=body.expires_at)
    return Status(201, NewToken(**TokenOut.model_validate(row).model_dump(), token=value))


@router.delete("/{name}", response=answers(NotFoundError, LastTokenError) | {204: None})
def delete_token(request: HttpRequest, name: str) -> HttpResponse:
    """Make a token invalid at once."""
    tokens.delete(name, actor=actor_of(request), now=services().clock.now())
    response = HttpResponse(status=204)
    # Nothing is of no type.
    del response["Content-Type"]
    return response
