"""Secrets of an installation: made once, by whichever process is first, readable by the owner alone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def secret_in(path: Path) -> str:
    """
    Return the secret in *path*, which is made where it is missing; of several that make it at once, one wins.

    Where there is no data directory (a tool that only wants the settings) it is one of this process alone.
    """
    if not path.parent.parent.is_dir():
        return secrets.token_urlsafe(48)
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is refused where the name is taken: nobody's secret is ever replaced.
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
    return _read(path)


def _read(path: Path) -> str:
    secret = path.read_text().strip()
    if not secret:
        raise ValueError(f"{path} is empty; restore it from a copy, or remove it, which ends what it guards")
    return secret
