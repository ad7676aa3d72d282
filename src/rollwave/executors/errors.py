"""What keeps a command from its host, or an answer from us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.ports.executor import HostUnknownError

if TYPE_CHECKING:
    from rollwave.ports.executor import HostCommand


class HostNotReadyError(HostUnknownError):
    """The host cannot take commands, and it would be no use to try again before somebody has been there."""


def unknown(command: HostCommand, reason: str) -> HostUnknownError:
    """Return the error that says: *command* may have been done, and only the host knows."""
    host = command.plan.host
    return HostUnknownError(
        f"{command.verb.value} on {host.instance}: {reason}; its journal has to be read",
        instance=host.instance,
        verb=command.verb.value,
        attempt=command.attempt,
    )
