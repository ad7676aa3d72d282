"""API tokens over HTTP: each sees and makes its own; whoever manages everything, all of them."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import AwareDatetime, Field

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.store.models import Token
from rollwave.web import access, tokens
from rollwave.web.access import Permission, Principal, principal_of
from rollwave.web.api.auth import actor_of, needs
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.context import services
from rollwave.web.fields import Input, like
from rollwave.web.people import accounts
from rollwave.web.refusals import LastTokenError, NameTakenError, TokenExistsError

router = Router(tags=["people"])

Name = Annotated[str, like(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", said("letters, digits and . _ @ -, at most 100"))]
RoleText = Annotated[
    str, like(access.TEXT_PATTERN, said("ROLE, ROLE:APP or ROLE:APP/ENVIRONMENT; viewer, operator, approver or admin"))
]


class TokenOut(Output):
    """A token, without its value."""

    name: str
    owner: str | None = Field(description="Whose it is; it never may more than they do. null: nobody's.")
    roles: list[str] = Field(description="operator, operator:shop, operator:shop/production, ...")
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class NewToken(TokenOut):
    """A token that was just made."""

    token: str = Field(description="Its value, shown this once.")


class TokenIn(Input):
    """A token to make."""

    name: Name
    roles: list[RoleText] | None = Field(default=None, description="null: all that whoever makes it may.")
    owner: str | None = Field(default=None, description="Another user, for whoever manages everything.")
    expires_at: AwareDatetime | None = Field(default=None, description="With its time zone; null: it never expires.")


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[TokenOut]))
def list_tokens(request: HttpRequest) -> list[TokenOut]:
    """List one's own tokens; whoever manages everything sees all."""
    rows = Token.objects.select_related("owner").prefetch_related("grants").order_by("name")
    principal = principal_of(request)
    if not access.may(principal, Permission.MANAGE):
        rows = rows.filter(owner_id=principal.user_id, owner__isnull=False)
    return [shown(row) for row in rows]


@router.post(
    "",
    auth=needs(Permission.VIEW),
    response=answers(
        TokenExistsError, NameTakenError, NotFoundError, InvalidValueError, *BODY_ERRORS, created=NewToken
    ),
)
def make_token(request: HttpRequest, body: TokenIn) -> Status[NewToken]:
    """
    Make a token; the answer is the only place that shows its value.

    It belongs to whoever makes it, and never may more than they do. One that a token makes ends with it at the latest.
    """
    now = services().clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidValueError(field="expires_at", value=body.expires_at.isoformat(), expected=said("a time to come"))
    maker = principal_of(request)
    grants = own_grants(maker) if body.roles is None else [access.from_text(one) for one in body.roles]
    if not grants:
        raise InvalidValueError(field="roles", value=[], expected=said("at least one role"))
    owner = accounts.owner_of_token(maker, body.owner)
    row, value = tokens.make(body.name, maker=maker, owner=owner, grants=grants, now=now, expires_at=body.expires_at)
    return Status(201, NewToken(**shown(row).model_dump(), token=value))


@router.delete("/{name}", auth=needs(Permission.VIEW), response=answers(NotFoundError, LastTokenError) | {204: None})
def delete_token(request: HttpRequest, name: str) -> HttpResponse:
    """Make a token invalid at once."""
    check_owner(principal_of(request), name)
    tokens.delete(name, actor=actor_of(request), now=services().clock.now())
    response = HttpResponse(status=204)
    # Nothing is of no type.
    del response["Content-Type"]
    return response


def own_grants(principal: Principal) -> tuple[access.Grant, ...]:
    """Return what a new token of *principal* may by default: the narrowest of the sets of grants that hold it."""
    return principal.limits[0]


def check_owner(principal: Principal, name: str) -> None:
    """Return if a token is the principal's own, or they manage everything; else there is none: raises NotFoundError."""
    owners = Token.objects.filter(name=name).values_list("owner_id", flat=True)
    if access.may(principal, Permission.MANAGE) or (principal.user_id is not None and principal.user_id in owners):
        return
    raise NotFoundError(kind="token", name=name, hint=f"none of {principal.name}'s")


def shown(row: Token) -> TokenOut:
    """Return a token as the API shows it."""
    grants = [
        access.Grant(role=access.Role(one.role), app=one.app, environment=one.environment) for one in row.grants.all()
    ]
    return TokenOut(
        name=row.name,
        owner=row.owner.get_username() if row.owner else None,
        roles=[access.to_text(one) for one in grants],
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
