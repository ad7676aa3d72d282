"""Exit codes: one table, from the code of an error to the number that a script sees."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    NOT_FOUND = 4
    REFUSED = 5
    UNREACHABLE = 6
    DENIED = 7
    TIMED_OUT = 124
    INTERRUPTED = 130


MEANINGS: Final = MappingProxyType(
    {
        Exit.OK: "done; `status`: the release succeeded",
        Exit.FAILED: "the release failed or was aborted; any other error",
        Exit.USAGE: "mistakes in arguments, values, a spec or a package",
        Exit.WAITING: "the release is braked, or waits for a person",
        Exit.NOT_FOUND: "what was named does not exist",
        Exit.REFUSED: "not possible in the present state",
        Exit.UNREACHABLE: "the API was not found or does not answer",
        Exit.DENIED: "no valid token, or a signing key nobody trusts",
        Exit.TIMED_OUT: "`status --timeout` ran out",
        Exit.INTERRUPTED: "Ctrl-C; the release goes on",
    }
)
"""Every number in a few words, for the help and the documentation."""

_BY_CODE: Final = MappingProxyType(
    {
        "api": Exit.UNREACHABLE,
        "auth": Exit.DENIED,
        "deployment.own_approval": Exit.DENIED,
        "user": Exit.REFUSED,
        "command": Exit.REFUSED,
        "deployment": Exit.REFUSED,
        "group": Exit.REFUSED,
        "input": Exit.USAGE,
        "input.not_found": Exit.NOT_FOUND,
        "package": Exit.USAGE,
        "package.signature_invalid": Exit.DENIED,
        "package.store_damaged": Exit.FAILED,
        "package.store_full": Exit.FAILED,
        "package.unknown_key": Exit.DENIED,
        "package.version_taken": Exit.REFUSED,
        "release.interrupted": Exit.INTERRUPTED,
        "release.timed_out": Exit.TIMED_OUT,
        "request": Exit.USAGE,
        "request.unknown_route": Exit.UNREACHABLE,
        "spec": Exit.USAGE,
        "state": Exit.REFUSED,
        "token": Exit.REFUSED,
        "usage": Exit.USAGE,
    }
)
"""By dotted code; a code that is not listed has the number of its longest listed prefix."""


def exit_of(code: str) -> Exit:
    """Return the exit code for the dotted *code* of an error; FAILED where the table knows nothing better."""
    prefix = code
    while prefix:
        if prefix in _BY_CODE:
            return _BY_CODE[prefix]
        prefix = prefix.rpartition(".")[0]
    return Exit.FAILED


def exit_of_status(status: str) -> Exit | None:
    """Return the exit code for the coarse status of a deployment; None while it moves by itself."""
    return {
        "succeeded": Exit.OK,
        "failed": Exit.FAILED,
        "aborted": Exit.FAILED,
        "waiting": Exit.WAITING,
        "braked": Exit.WAITING,
    }.get(status)
