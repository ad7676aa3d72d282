"""Accounts: Django's own users, with grants, and with every change in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import default_token_generator
from django.db import IntegrityError, transaction
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from rollwave.domain.errors import NotFoundError
from rollwave.store import audit
from rollwave.store.dialect import alone
from rollwave.web import access, tokens
from rollwave.web.access import Grant, Permission, Place, Principal, Role
from rollwave.web.problems import did_you_mean
from rollwave.web.refusals import LastManagerError, NameTakenError, UserExistsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.contrib.auth.models import User


def find(name: str) -> User:
    """Return a user; raises NotFoundError, which names those that are close."""
    users = get_user_model().objects
    user = users.filter(username=name).first()
    if user is None:
        hint = did_you_mean(name, users.values_list("username", flat=True)).removeprefix("; ")
        raise NotFoundError(kind="user", name=name, hint=hint)
    return user


def owner_of_token(maker: Principal, wanted: str | None) -> User | None:
    """
    Return whose a token is that *maker* makes: their own, or, where they manage everything, whose they want it to be.

    Returns:
        None for nobody's: *maker* is such a token itself, and wants no owner.

    Raises:
        ForbiddenError: If it is somebody else's, and they do not manage everything.
        NotFoundError: If there is no such user; it names those that are close.
    """
    if wanted is not None and wanted != maker.name:
        access.check(maker, Permission.MANAGE, access.everywhere())
        return find(wanted)
    return None if maker.user_id is None else get_user_model().objects.get(pk=maker.user_id)


def add(
    name: str,
    *,
    maker: Principal,
    grants: Sequence[Grant],
    now: datetime,
    full_name: str = "",
    email: str = "",
    password: str | None = None,
) -> User:
    """
    Make a user; without a password they choose one through an invitation, see `invitation`.

    Raises:
        UserExistsError: If the name is taken, in whatever case.
        NameTakenError: If a token that is nobody's is called so.
        ForbiddenError: If *maker* lacks something of *grants*.
    """
    _check(maker, grants)
    users = get_user_model().objects
    first, _, last = full_name.partition(" ")
    try:
        with transaction.atomic():
            alone("people")
            if users.filter(username__iexact=name).exists():
                raise UserExistsError(name=name)
            _check_name(name)
            user = users.create_user(name, email=email, password=password, first_name=first, last_name=last)
            access.give(grants, user_id=user.pk)
            log("created", user, actor=maker.name, now=now, after=standing(user))
    except IntegrityError as error:
        raise UserExistsError(name=name) from error
    return user


def add_first(name: str, password: str, *, now: datetime) -> User | None:
    """Make the first user, who may do everything; None where there is one already. Raises NameTakenError."""
    with transaction.atomic():
        alone("people")
        if get_user_model().objects.exists():
            return None
        _check_name(name)
        user = get_user_model().objects.create_user(name, password=password)
        access.give([Grant(role=Role.ADMIN)], user_id=user.pk)
        log("created", user, actor=name, now=now, after=standing(user))
        return user


def change(
    user: User,
    *,
    maker: Principal,
    now: datetime,
    grants: Sequence[Grant] | None = None,
    active: bool | None = None,
    full_name: str | None = None,
    email: str | None = None,
) -> None:
    """
    Change a user; None keeps what there is. Grants that single sign-on gave are its own, and stay.

    Raises:
        ForbiddenError: If *maker* lacks something of *grants*.
        LastManagerError: If nobody could manage everything any more.
    """
    with transaction.atomic():
        alone("people")
        before = standing(user)
        if grants is not None:
            _check(maker, grants)
            access.replace(grants, user_id=user.pk, from_groups=False)
        if active is not None:
            user.is_active = active
        if full_name is not None:
            user.first_name, _, user.last_name = full_name.partition(" ")
        if email is not None:
            user.email = email
        user.save()
        if not access.somebody_manages(now=now):
            raise LastManagerError(name=user.get_username())
        after = standing(user)
        if after != before:
            log("changed", user, actor=maker.name, now=now, before=before, after=after)


def remove(user: User, *, maker: Principal, now: datetime) -> None:
    """
    Remove a user and their tokens; what they did stays in the log.

    Raises:
        LastManagerError: If nobody could manage everything any more.
    """
    with transaction.atomic():
        alone("people")
        before, name = standing(user), user.get_username()
        user.delete()
        if not access.somebody_manages(now=now):
            raise LastManagerError(name=name)
        user.username = name
        log("removed", user, actor=maker.name, now=now, before=before)


def invitation(user: User, *, maker: Principal, now: datetime) -> str:
    """Return the address, without the host, at which a user chooses a password: good for a day, and for once."""
    with transaction.atomic():
        log("invited", user, actor=maker.name, now=now)
    encoded = urlsafe_base64_encode(force_bytes(user.pk))
    return f"/invitation/{encoded}/{default_token_generator.make_token(user)}"


def standing(user: User) -> dict[str, Any]:
    """Return what may be changed of a user."""
    return {
        "roles": [access.to_text(grant) for grant in access.grants_of(user_id=user.pk)],
        "active": user.is_active,
        "full_name": user.get_full_name(),
        "email": user.email,
    }


def log(what: str, user: User, *, actor: str, now: datetime, **data: object) -> None:
    """Add to the audit log what became of a user."""
    subject = f"user/{user.get_username()}"
    audit.append([audit.Entry(at=now, actor=actor, action=f"user.{what}", subject=subject, data=data)])


def _check_name(name: str) -> None:
    if tokens.is_nobodys(name):
        raise NameTakenError(name=name, kind="token")


def _check(maker: Principal, grants: Sequence[Grant]) -> None:
    for grant in grants:
        for permission in grant.role.permissions:
            access.check(maker, permission, [Place(grant.app, grant.environment)])
        access.check(maker, Permission.MANAGE, [Place(grant.app, grant.environment)])
