"""Secrets that we have to use and nobody may read: in the database they are sealed by a key that is not there."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class SealBrokenError(ValueError):
    """It was sealed by another key, or changed."""


def seal(secret: bytes) -> str:
    """Return *secret* as only a holder of the key can read it."""
    return _fernet().encrypt(secret).decode()


def unseal(sealed: str) -> bytes:
    """Return what was sealed; raises SealBrokenError."""
    try:
        return _fernet().decrypt(sealed.encode())
    except InvalidToken as error:
        raise SealBrokenError(
            "its settings were sealed by another key (secrets/notify.key, or ROLLWAVE_NOTIFY_KEY): enter them again"
        ) from error


def _fernet() -> Fernet:
    return Fernet(urlsafe_b64encode(hashlib.sha256(settings.NOTIFY_KEY.encode()).digest()))
