"""Users over HTTP: who may sign in, and what they may do where."""

from typing import Annotated, Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import Field

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.web import access
from rollwave.web.access import Permission, everywhere, principal_of
from rollwave.web.api.auth import needs
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.api.tokens import Name, RoleText
from rollwave.web.context import services
from rollwave.web.fields import Flag, Input, like
from rollwave.web.people import accounts
from rollwave.web.refusals import LastManagerError, NameTakenError, UserExistsError

router = Router(tags=["people"])
me_router = Router(tags=["people"])

FullName = Annotated[str, like(r"[^\0\r\n]{0,200}", said("a name of at most 200 characters"))]
Email = Annotated[
    str, like(r"|[^@\s\0]{1,64}@[^@\s\0]{1,180}", said("an address such as maria@example.com, or nothing"))
]


class UserOut(Output):
    """Somebody who may sign in."""

    name: str
    full_name: str
    email: str
    active: bool = Field(description="Whether they may sign in, and their tokens work.")
    roles: list[str] = Field(description="operator, operator:shop, operator:shop/production, ...")
    group_roles: list[str] = Field(description="The same, given by the groups that single sign-on told us of.")
    joined_at: Time
    last_signed_in_at: Time | None


class UserIn(Input):
    """A user to make; they choose their password through an invitation."""

    name: Name
    roles: list[RoleText] = Field(default_factory=list)
    full_name: FullName = ""
    email: Email = ""


class UserChange(Input):
    """What to change; what is not named stays."""

    roles: list[RoleText] | None = Field(default=None, description="All of them; those of groups stay.")
    full_name: FullName | None = None
    email: Email | None = None
    active: Flag | None = None


class InvitationOut(Output):
    """A way to choose a password."""

    path: str = Field(description="Address below that of the portal: good for a day, and for once. Pass it on.")


class InvitedUser(UserOut):
    """A user that was just made."""

    invitation: str = Field(description="Address at which they choose a password: good for a day, and for once.")


class MeOut(Output):
    """Who asks."""

    name: str
    token: str | None = Field(description="Name of the token that was sent; null for a session.")
    limits: list[list[str]] = Field(description="Sets of roles; each of them has to allow what is asked for.")


@me_router.get("", auth=needs(Permission.VIEW), response=answers(ok=MeOut))
def read_me(request: HttpRequest) -> MeOut:
    """Say who asks, and what they may."""
    principal = principal_of(request)
    limits = [[access.to_text(grant) for grant in grants] for grants in principal.limits]
    return MeOut(name=principal.name, token=principal.token, limits=limits)


_MANAGES = needs(Permission.MANAGE, everywhere)


@router.get("", auth=_MANAGES, response=answers(ok=list[UserOut]))
def list_users(request: HttpRequest) -> list[UserOut]:
    """List all users."""
    del request
    return [shown(user) for user in get_user_model().objects.prefetch_related("grants").order_by("username")]


@router.post(
    "",
    auth=_MANAGES,
    response=answers(UserExistsError, NameTakenError, InvalidValueError, *BODY_ERRORS, created=InvitedUser),
)
def make_user(request: HttpRequest, body: UserIn) -> Status[InvitedUser]:
    """Make a user; the answer has the invitation to pass on."""
    maker, now = principal_of(request), services().clock.now()
    grants = [access.from_text(one) for one in body.roles]
    user = accounts.add(body.name, maker=maker, grants=grants, now=now, full_name=body.full_name, email=body.email)
    path = accounts.invitation(user, maker=maker, now=now)
    return Status(201, InvitedUser(**shown(user).model_dump(), invitation=path))


@router.get("/{name}", auth=_MANAGES, response=answers(NotFoundError, ok=UserOut))
def read_user(request: HttpRequest, name: str) -> UserOut:
    """Read one user."""
    del request
    return shown(accounts.find(name))


@router.patch(
    "/{name}",
    auth=_MANAGES,
    response=answers(NotFoundError, LastManagerError, InvalidValueError, *BODY_ERRORS, ok=UserOut),
)
def change_user(request: HttpRequest, name: str, body: UserChange) -> UserOut:
    """Change a user: roles, name, address, or whether they may sign in."""
    accounts.change(
        accounts.find(name),
        maker=principal_of(request),
        now=services().clock.now(),
        grants=None if body.roles is None else [access.from_text(one) for one in body.roles],
        active=body.active,
        full_name=body.full_name,
        email=body.email,
    )
    return shown(accounts.find(name))


@router.delete("/{name}", auth=_MANAGES, response=answers(NotFoundError, LastManagerError) | {204: None})
def remove_user(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a user and their tokens; what they did stays in the log."""
    accounts.remove(accounts.find(name), maker=principal_of(request), now=services().clock.now())
    response = HttpResponse(status=204)
    # Nothing is of no type.
    del response["Content-Type"]
    return response


@router.post("/{name}/invitation", auth=_MANAGES, response=answers(NotFoundError, ok=InvitationOut))
def invite_user(request: HttpRequest, name: str) -> InvitationOut:
    """Make a new way to choose a password, for whoever has forgotten theirs."""
    user = accounts.find(name)
    return InvitationOut(path=accounts.invitation(user, maker=principal_of(request), now=services().clock.now()))


def shown(user: Any) -> UserOut:
    """Return a user as the API shows them."""
    rows = list(user.grants.all())
    own, of_groups = ([_text(row) for row in rows if row.from_groups is one] for one in (False, True))
    return UserOut(
        name=user.get_username(),
        full_name=user.get_full_name(),
        email=user.email,
        active=user.is_active,
        roles=own,
        group_roles=of_groups,
        joined_at=user.date_joined,
        last_signed_in_at=user.last_login,
    )


def _text(row: Any) -> str:
    return access.to_text(access.Grant(role=access.Role(row.role), app=row.app, environment=row.environment))
