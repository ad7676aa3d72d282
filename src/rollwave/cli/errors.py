"""What can go wrong between a person and the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from pathlib import Path


BUSY: Final = frozenset({502, 503, 504})
"""HTTP statuses of a server, or of a proxy before it, that will answer later."""


class UsageError(RollwaveError):
    """The command line itself is wrong."""

    code = "usage"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ApiError(RollwaveError):
    """
    The API refused, and said why.

    Attributes:
        status: HTTP status.
        field: Name of the field that is at fault, empty where none is.
        hint: What to do about it; empty where the message says it all.
    """

    def __init__(self, *, code: str, message: str, status: int, field: str = "", facts: dict[str, object]) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the server's own code, not this class's
        self.facts = facts
        self.status = status
        self.field = field
        self.hint = ""


class UnreachableError(RollwaveError):
    """Nobody answers at the endpoint."""

    code = "api.unreachable"

    def __init__(self, *, endpoint: str, reason: str) -> None:
        super().__init__(f"no answer from {endpoint}: {reason}", endpoint=endpoint, reason=reason)
        self.hint = "is it running? `rollwave serve` starts it here; --endpoint or ROLLWAVE_ENDPOINT names another"


class ReplyLostError(RollwaveError):
    """A write that must not be done twice was sent, and nobody knows whether it was done."""

    code = "api.reply_lost"

    def __init__(self, *, endpoint: str, reason: str, hint: str) -> None:
        super().__init__(
            f"{endpoint} gave no answer ({reason}): it may have been done, and was not asked for again",
            endpoint=endpoint,
            reason=reason,
        )
        self.hint = hint


class NotRollwaveError(RollwaveError):
    """Something answers at the endpoint, and it is not the API of Rollwave."""

    code = "api.not_rollwave"

    def __init__(self, *, endpoint: str, status: int, reason: str) -> None:
        super().__init__(
            f"what answers at {endpoint} is not Rollwave's API: {reason}",
            endpoint=endpoint,
            status=status,
            reason=reason,
        )
        self.hint = "check --endpoint (or ROLLWAVE_ENDPOINT), and the proxy in between"


class NoEndpointError(RollwaveError):
    """Nothing says where the API is."""

    code = "api.no_endpoint"

    def __init__(self, *, data_dir: Path) -> None:
        super().__init__(f"no Rollwave found: {data_dir / 'endpoint'} does not exist", data_dir=str(data_dir))
        self.hint = (
            "start one here with `rollwave serve`, or name one with --endpoint or ROLLWAVE_ENDPOINT "
            "(--data or ROLLWAVE_DATA names another data directory)"
        )


class UnreadableFileError(RollwaveError):
    """A file that was named cannot be read."""

    code = "usage.unreadable_file"

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}", path=path, reason=reason)


class InvalidSpecFileError(RollwaveError):
    """A spec file has mistakes; each was shown already, and nothing was changed."""

    code = "spec.invalid"

    def __init__(self, *, file: str, problems: list[dict[str, object]]) -> None:
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__(f"{file} has {count}; nothing was changed", file=file, problems=problems)


class TimedOutError(RollwaveError):
    """The release did not get there in time; it goes on."""

    code = "release.timed_out"

    def __init__(self, *, deployment_id: int, timeout_s: float, sentence: str) -> None:
        super().__init__(
            f"deployment {deployment_id} is not there after {timeout_s:g} s and goes on: {sentence}",
            deployment_id=deployment_id,
            timeout_s=timeout_s,
        )


class WatchInterruptedError(RollwaveError):
    """Somebody stopped watching; the release does not care."""

    code = "release.interrupted"

    def __init__(self, *, deployment_id: int, group: str) -> None:
        super().__init__(
            f"stopped watching; deployment {deployment_id} of {group} goes on", deployment_id=deployment_id, group=group
        )
        self.hint = f"`rollwave get {deployment_id} -w` watches again, `rollwave brake {deployment_id}` stops it safely"


def may_pass(error: RollwaveError) -> bool:
    """Return whether *error* says later rather than no: nobody answers, or what answers is being started."""
    if isinstance(error, ApiError):
        return error.status in BUSY
    return isinstance(error, UnreachableError) or (
        isinstance(error, NotRollwaveError) and error.facts["status"] in BUSY
    )


def hint_of(error: RollwaveError) -> str:
    """Return what to do about *error*, empty where the message says it all."""
    return str(getattr(error, "hint", "") or "")
