"""API tokens: random, shown once, stored as a digest; each has grants of its own, and most have an owner."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import timedelta
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.store import audit
from rollwave.store.dialect import alone
from rollwave.store.models import Token
from rollwave.web import access
from rollwave.web.access import Grant, Place, Principal, Role, check, grants_of
from rollwave.web.refusals import LastTokenError, NameTakenError, TokenExistsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from django.contrib.auth.models import User

FIRST_NAME: Final = "admin"
"""Name of the token that is made at the first start; ``admin-2`` and so on where a user is called like that."""

_PREFIX: Final = "rw_"
"""Lets a person and a secret scanner see what it is."""

_USE_RESOLUTION: Final = timedelta(minutes=1)
"""How exactly the last use is known: a write with every read would cost more than it tells."""


def digest_of(value: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(value.encode()).hexdigest()


def new_value() -> str:
    """Return a new token."""
    return _PREFIX + secrets.token_urlsafe(32)


def principal_of(value: str, *, now: datetime) -> Principal | None:
    """Return who the token *value* stands for; None where it is not valid, or its owner may not sign in any more."""
    token = Token.objects.select_related("owner").filter(_valid(now), digest=digest_of(value)).first()
    if token is None or (token.owner is not None and not token.owner.is_active):
        return None
    if token.last_used_at is None or now - token.last_used_at > _USE_RESOLUTION:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    own = grants_of(token_id=token.pk)
    if token.owner is None:
        return Principal(name=token.name, token=token.name, limits=(own,))
    limits = (own, grants_of(user_id=token.owner.pk))
    return Principal(name=token.owner.get_username(), user_id=token.owner.pk, token=token.name, limits=limits)


def make(
    name: str,
    *,
    maker: Principal,
    owner: User | None,
    grants: Sequence[Grant],
    now: datetime,
    expires_at: datetime | None,
) -> tuple[Token, str]:
    """
    Make a token; return it and its value, which nobody can read again.

    Args:
        name: Its name.
        maker: Who makes it: it gets no more than they have themselves.
        owner: Whose it is, which holds it to what they may; None for nobody's.
        grants: What it may do.
        now: The time.
        expires_at: When it ends; None for never.

    Raises:
        TokenExistsError: If the name is taken.
        NameTakenError: If it would be nobody's and called as a user is.
        ForbiddenError: If *maker* lacks something of *grants*, or is a token that ends before *expires_at*.
    """
    for grant in grants:
        for permission in grant.role.permissions:
            check(maker, permission, [Place(grant.app, grant.environment)])
    if maker.token is not None:
        own_end = Token.objects.get(name=maker.token).expires_at
        if own_end is not None and (expires_at is None or expires_at > own_end):
            raise InvalidValueError(
                field="expires_at",
                value=expires_at and expires_at.isoformat(),
                expected=said("at most %(end)s, when the token that asks ends itself", end=own_end.isoformat()),
            )
    value = new_value()
    try:
        with transaction.atomic():
            alone("people")
            if owner is None and _is_users(name):
                raise NameTakenError(name=name, kind="user")
            token = Token.objects.create(
                name=name, digest=digest_of(value), owner=owner, created_at=now, expires_at=expires_at
            )
            access.give(grants, token_id=token.pk)
            after = {
                "owner": owner and owner.get_username(),
                "grants": [access.to_text(one) for one in grants],
                "expires_at": expires_at and expires_at.isoformat(),
            }
            _log("token.created", name, actor=maker.name, now=now, after=after)
    except IntegrityError as error:
        raise TokenExistsError(name=name) from error
    return token, value


def delete(name: str, *, actor: str, now: datetime) -> None:
    """
    Make a token invalid from now on.

    Raises:
        NotFoundError: If there is no such token.
        LastTokenError: If nobody could manage anything any more.
    """
    with transaction.atomic():
        alone("people")
        token = Token.objects.filter(name=name).first()
        if token is None:
            raise NotFoundError(kind="token", name=name)
        token.delete()
        if not access.somebody_manages(now=now):
            raise LastTokenError(name=name)
        _log("token.deleted", name, actor=actor, now=now)


def is_nobodys(name: str) -> bool:
    """Return whether a token of this name, in whatever case, is nobody's: it acts by its own name."""
    return Token.objects.filter(name__iexact=name, owner=None).exists()


def _log(action: str, name: str, *, actor: str, now: datetime, **data: object) -> None:
    audit.append([audit.Entry(at=now, actor=actor, action=action, subject=f"token/{name}", data=data)])


def make_first(path: Path, *, now: datetime) -> bool:
    """
    Where there is no token at all, make one and write it to *path*, readable by the owner alone.

    A file that is there keeps its value: a crash came between the file and the database, or the database is new.

    Returns:
        Whether one was made.
    """
    with transaction.atomic():
        alone("people")
        return _make_first(path, now=now)


def _make_first(path: Path, *, now: datetime) -> bool:
    if Token.objects.exists():
        return False
    if not path.exists():
        aside = path.with_name(path.name + ".new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_value() + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    name = _free_name()
    token = Token.objects.create(name=name, digest=digest_of(path.read_text().strip()), created_at=now)
    access.give([Grant(role=Role.ADMIN)], token_id=token.pk)
    _log("token.created", name, actor="rollwave", now=now)
    return True


def _free_name() -> str:
    """Return a name for the first token, which is nobody's: the first one that is no user's."""
    names = chain([FIRST_NAME], (f"{FIRST_NAME}-{number}" for number in count(2)))
    return next(name for name in names if not _is_users(name))


def _is_users(name: str) -> bool:
    return get_user_model().objects.filter(username__iexact=name).exists()


def _valid(now: datetime) -> Q:
    return Q(expires_at__isnull=True) | Q(expires_at__gt=now)
