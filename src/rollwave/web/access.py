"""
Who may do what, where: one way to ask for the API and for pages. What nobody granted is denied.

A **grant** is a role for an app and an environment; ``*`` is all of them. A token is held to its own grants and to
those of its owner: it can never do more than the person whose it is.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import wraps
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from django.contrib.auth import get_user_model
from django.contrib.auth.views import redirect_to_login
from django.db.models import Q
from django.http import Http404
from django.shortcuts import render
from msgspec import Struct

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.store import models
from rollwave.web import origin
from rollwave.web.refusals import ForbiddenError
from rollwave.web.told import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, User
    from django.http import HttpRequest, HttpResponseBase

_HIGHEST_ID: Final = 2**63 - 1
"""Of a row; a database refuses to be asked for a higher one."""

log = structlog.get_logger()

EVERY: Final = "*"
"""All apps, or all environments."""


class Permission(Enum):
    """What an operation needs."""

    VIEW = "view"
    """Read."""
    OPERATE = "operate"
    """Release, brake, roll back, hold, push packages."""
    APPROVE = "approve"
    """Approve what somebody else asked for."""
    MANAGE = "manage"
    """Change the inventory, and who may do what."""


class Role(Enum):
    """A set of permissions with a name."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    @property
    def permissions(self) -> frozenset[Permission]:
        """What it allows."""
        return _ALLOWED[self]


_ALLOWED: Final = MappingProxyType(
    {
        Role.VIEWER: frozenset({Permission.VIEW}),
        Role.OPERATOR: frozenset({Permission.VIEW, Permission.OPERATE}),
        Role.APPROVER: frozenset({Permission.VIEW, Permission.APPROVE}),
        Role.ADMIN: frozenset(Permission),
    }
)


class Place(NamedTuple):
    """What an operation is about; no environment: it is enough to have the permission in one of the app's."""

    app: str = EVERY
    environment: str | None = EVERY


class Grant(Struct, frozen=True, kw_only=True):
    """A role for an app and an environment."""

    role: Role
    app: str = EVERY
    environment: str = EVERY

    def allows(self, permission: Permission, place: Place) -> bool:
        """Return whether it gives *permission* at *place*."""
        return (
            permission in self.role.permissions
            and self.app in (EVERY, place.app)
            and (place.environment is None or self.environment in (EVERY, place.environment))
        )


class Principal(Struct, frozen=True, kw_only=True):
    """
    Who asks.

    Attributes:
        name: The actor of every command: the user, or the token that is nobody's.
        limits: Sets of grants, each of which has to allow what is asked for: the user's, and the token's.
        user_id: The user; None for a token that is nobody's.
        token: Name of the token; None for a session.
    """

    name: str
    limits: tuple[tuple[Grant, ...], ...]
    user_id: int | None = None
    token: str | None = None


def may(principal: Principal, permission: Permission, *, app: str = EVERY, environment: str | None = EVERY) -> bool:
    """Return whether *principal* has *permission* for *app* in *environment*; by default: for everything."""
    place = Place(app, environment)
    return bool(principal.limits) and all(
        any(grant.allows(permission, place) for grant in grants) for grants in principal.limits
    )


def may_somewhere(principal: Principal, permission: Permission) -> bool:
    """Return whether *principal* has *permission* anywhere at all: what it then may see or do is asked for each."""
    return bool(principal.limits) and all(
        any(permission in grant.role.permissions for grant in grants) for grants in principal.limits
    )


def check(principal: Principal, permission: Permission, places: Iterable[Place] = ()) -> None:
    """
    Return if *principal* has *permission* somewhere, and at every one of *places*.

    Raises:
        ForbiddenError: If not; it names what is missing.
    """
    if not may_somewhere(principal, permission):
        raise _refused(principal, permission)
    for place in places:
        if not may(principal, permission, app=place.app, environment=place.environment):
            raise _refused(principal, permission, place)


def _refused(principal: Principal, permission: Permission, place: Place = Place()) -> ForbiddenError:  # noqa: B008  # it never changes
    error = ForbiddenError(
        actor=principal.name,
        permission=permission.value,
        app=None if place.app == EVERY else place.app,
        environment=None if place.environment == EVERY else place.environment,
    )
    log.warning("access_denied", token=principal.token, **error.facts)
    return error


def within(principal: Principal, permission: Permission, *, app: str, environment: str | None = None) -> Q:
    """
    Return the condition for the rows at which *principal* has *permission*.

    Args:
        principal: Who asks.
        permission: What for.
        app: The lookup of the app's name, such as ``group__app__name``.
        environment: The lookup of the environment; None for rows that belong to an app as a whole.
    """
    condition = Q() if principal.limits else _NONE
    for grants in principal.limits:
        allowed = _NONE
        for grant in grants:
            if permission in grant.role.permissions:
                of_app = {} if grant.app == EVERY else {app: grant.app}
                there = {} if grant.environment == EVERY or environment is None else {environment: grant.environment}
                allowed |= Q(**of_app, **there) if of_app or there else _ALL
        condition &= allowed
    return condition


_NONE: Final = Q(pk__in=())
_ALL: Final = ~Q(pk__in=())


def somewhere(**_parameters: Any) -> list[Place]:
    """For routes that look at each thing by themselves: lists, and those whose body tells what they are about."""
    return []


def everywhere(**_parameters: Any) -> list[Place]:
    """For routes that are about the whole installation."""
    return [Place()]


def of_group(*, name: str, **_parameters: Any) -> list[Place]:
    """For routes about the group *name*."""
    return _places(models.Group.objects.filter(name=name))


def of_deployment(*, deployment_id: int, **_parameters: Any) -> Iterator[Place]:
    """For routes about a deployment; raises NotFoundError where there is none."""
    there = [] if deployment_id > _HIGHEST_ID else _places(models.Group.objects.filter(deployments=deployment_id))
    if not there:
        raise NotFoundError(kind="deployment", name=deployment_id)
    yield from there


def of_server(*, name: str, **_parameters: Any) -> list[Place]:
    """For routes about a server: every group on it; one that carries none yet is everybody's."""
    there = models.Server.objects.filter(name=name)
    return _places(models.Group.objects.filter(instances__server__name=name).distinct()) or (
        [Place()] if there.exists() else []
    )


def of_app(*, app: str | None = None, name: str | None = None, **_parameters: Any) -> list[Place]:
    """For routes about an app, whatever the environment."""
    return [Place(app or name or EVERY, None)]


def _places(groups: Any) -> list[Place]:
    return [Place(app, environment) for app, environment in groups.values_list("app__name", "environment")]


def principal_of_user(user: User | AnonymousUser) -> Principal | None:
    """Return who the user of a session is; None for one who has not signed in, or may not any more."""
    if user.pk is None or not user.is_active:
        return None
    return Principal(name=user.get_username(), user_id=user.pk, limits=(grants_of(user_id=user.pk),))


def admit(request: HttpRequest, principal: Principal) -> None:
    """Let whatever answers *request* know who asks."""
    setattr(request, "principal", principal)  # noqa: B010  # ours; the type does not know


def principal_of(request: HttpRequest) -> Principal:
    """Return who asks; AttributeError, a bug, where the route or the page admitted nobody."""
    principal: Principal = getattr(request, "principal")  # noqa: B009  # ours; the type does not know
    return principal


def grants_of(**holder: Any) -> tuple[Grant, ...]:
    """Return the grants of ``user_id`` or ``token_id``."""
    rows = models.Grant.objects.filter(**holder).values_list("role", "app", "environment").distinct()
    return tuple(Grant(role=Role(role), app=app, environment=environment) for role, app, environment in sorted(rows))


def give(grants: Iterable[Grant], **holder: Any) -> None:
    """Add grants to ``user_id`` or ``token_id``; ``from_groups=True`` says that single sign-on gave them."""
    models.Grant.objects.bulk_create(
        [
            models.Grant(role=grant.role.value, app=grant.app, environment=grant.environment, **holder)
            for grant in dict.fromkeys(grants)
        ]
    )


def replace(grants: Iterable[Grant], *, user_id: int, from_groups: bool) -> None:
    """Give a user these grants instead of those that came the same way, from single sign-on or not."""
    models.Grant.objects.filter(user=user_id, from_groups=from_groups).delete()
    give(grants, user_id=user_id, from_groups=from_groups)


def to_text(grant: Grant) -> str:
    """Return a grant as people write it: ``operator``, ``operator:shop`` or ``operator:shop/production``."""
    there = "" if grant.environment == EVERY else f"/{grant.environment}"
    return grant.role.value if grant.app == EVERY and not there else f"{grant.role.value}:{grant.app}{there}"


def from_text(text: str) -> Grant:
    """Return the grant that `to_text` writes as *text*; raises InvalidValueError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        roles = ", ".join(role.value for role in Role)
        raise InvalidValueError(
            field="role",
            value=text,
            expected=said("ROLE, ROLE:APP or ROLE:APP/ENVIRONMENT with ROLE one of %(roles)s", roles=roles),
        )
    role, app, environment = found.groups()
    return Grant(role=Role(role), app=app or EVERY, environment=environment or EVERY)


TEXT_PATTERN: Final = r"(viewer|operator|approver|admin)(?::(\*|[a-z0-9-]{1,63})(?:/(\*|[A-Za-z0-9._-]{1,63}))?)?"
"""A grant as people write it."""

_TEXT: Final = re.compile(TEXT_PATTERN)


def somebody_manages(*, now: datetime) -> bool:
    """Return whether anybody who can ask is left with everything: a user who can sign in, or a valid token."""
    all_of_it = {"grants__role": Role.ADMIN.value, "grants__app": EVERY, "grants__environment": EVERY}
    users = get_user_model().objects.filter(is_active=True, **all_of_it)
    tokens = models.Token.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), **all_of_it)
    return users.exists() or tokens.filter(Q(owner__isnull=True) | Q(owner__in=users)).exists()


def needs(
    permission: Permission, where: Callable[..., Iterable[Place]] = somewhere
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """
    Return a decorator for a page: whoever has not signed in goes to the login, whoever may not gets a 403.

    The view finds who asks by `principal_of`; whatever it does, the audit log knows from where.

    Args:
        permission: What it takes.
        where: Tells from the page's parameters what it is about.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def page(request: HttpRequest, **parameters: Any) -> HttpResponseBase:
            principal = principal_of_user(request.user)
            if principal is None:
                return redirect_to_login(request.get_full_path())
            admit(request, principal)
            origin.note(request)
            try:
                check(principal, permission, where(**parameters))
            except NotFoundError as error:
                raise Http404(told(error)) from error
            except ForbiddenError as error:
                return render(request, "people/forbidden.html", {"facts": error.facts}, status=HTTPStatus.FORBIDDEN)
            return view(request, **parameters)

        page.permission = permission  # type: ignore[attr-defined]  # a test asks every page for it
        return page

    return decorate
