"""API tokens: random, shown once, stored as a digest."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import IntegrityError, transaction
from django.db.models import Q

from rollwave.domain.errors import NotFoundError
from rollwave.store.dialect import alone
from rollwave.store.models import AuditEntry, Token
from rollwave.web.refusals import LastTokenError, TokenExistsError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

FIRST_NAME: Final = "admin"
"""Name of the token that is made at the first start."""

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


def holder_of(value: str, *, now: datetime) -> str | None:
    """Return the name of the token *value*; None where it is not valid."""
    token = Token.objects.filter(_valid(now), digest=digest_of(value)).first()
    if token is None:
        return None
    if token.last_used_at is None or now - token.last_used_at > _USE_RESOLUTION:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.name


def make(name: str, *, actor: str, now: datetime, expires_at: datetime | None) -> tuple[Token, str]:
    """
    Make a token; return it and its value, which nobody can read again.

    Raises:
        TokenExistsError: If the name is taken.
    """
    value = new_value()
    try:
        with transaction.atomic():
            token = Token.objects.create(name=name, digest=digest_of(value), created_at=now, expires_at=expires_at)
            AuditEntry.objects.create(at=now, actor=actor, action="token.created", subject=f"token/{name}")
    except IntegrityError as error:
        raise TokenExistsError(name=name) from error
    return token, value


def delete(name: str, *, actor: str, now: datetime) -> None:
    """
    Make a token invalid from now on.

    Raises:
        NotFoundError: If there is no such token.
        LastTokenError: If no valid one would be left.
    """
    with transaction.atomic():
        alone("tokens")
        if not Token.objects.filter(name=name).exists():
            raise NotFoundError(kind="token", name=name)
        if not Token.objects.filter(_valid(now)).exclude(name=name).exists():
            raise LastTokenError(name=name)
        Token.objects.filter(name=name).delete()
        AuditEntry.objects.create(at=now, actor=actor, action="token.deleted", subject=f"token/{name}")


def make_first(path: Path, *, now: datetime) -> bool:
    """
    Where there is no token at all, make one and write it to *path*, readable by the owner alone.

    A file that is there keeps its value: a crash came between the file and the database, or the database is new.

    Returns:
        Whether one was made.
    """
    with transaction.atomic():
        alone("tokens")
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
    Token.objects.create(name=FIRST_NAME, digest=digest_of(path.read_text().strip()), created_at=now)
    AuditEntry.objects.create(at=now, actor="rollwave", action="token.created", subject=f"token/{FIRST_NAME}")
    return True


def _valid(now: datetime) -> Q:
    return Q(expires_at__isnull=True) | Q(expires_at__gt=now)
