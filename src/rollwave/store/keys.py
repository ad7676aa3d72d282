"""Idempotency keys: every command happens at most once (I22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.errors import CommandRepeatedError, IdempotencyConflictError
from rollwave.store.dialect import execute, timestamp
from rollwave.store.models import AcceptedCommand

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.ports.store import CommandKey


def accept(command: CommandKey, *, deployment_id: int | None, at: datetime) -> None:
    """
    Use up a key; of two transactions that try at once, the second waits for the first to end.

    Raises:
        CommandRepeatedError: If it was used with the same request.
        IdempotencyConflictError: If it was used with another one.
    """
    is_new = execute(
        "INSERT INTO store_acceptedcommand (key, digest, deployment_id, at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (key) DO NOTHING",
        command.key,
        command.digest,
        deployment_id,
        timestamp(at),
    )
    if is_new:
        return
    raise CommandRepeatedError(key=command.key, deployment_id=accepted(command))


def accepted(command: CommandKey) -> int | None:
    """Return the deployment that an accepted command was about. See `Store.accepted`."""
    known = AcceptedCommand.objects.filter(key=command.key).first()
    if known is None:
        return None
    if known.digest != command.digest:
        raise IdempotencyConflictError(key=command.key)
    return known.deployment_id


def attach(command: CommandKey, *, deployment_id: int) -> None:
    """Say which deployment a key stands for, where that was made after the key was used up."""
    AcceptedCommand.objects.filter(key=command.key).update(deployment_id=deployment_id)
