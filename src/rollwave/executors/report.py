"""The driver's report: from the last line that it printed to a `HostReport`, believing nothing that is not checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rollwave.ports.executor import CHARACTERS, LINES, HostReport, HostState, HostUnknownError, Line

if TYPE_CHECKING:
    from rollwave.ports.executor import HostCommand

_EXITS_WITH_REPORT: Final = frozenset({0, 70})
"""The driver's own exit codes; with 70 the report tells of a bug."""

_SHOWN_BYTES: Final = 2000

_LONGEST_MS: Final = 10**10

_TOLD_CHARACTERS: Final = 300
"""How much of the line that names the cause goes into a message; the facts have more."""


def parse_report(command: HostCommand, *, exit_code: int, stdout: bytes, stderr: bytes) -> HostReport:
    """
    Return what the driver said about *command*.

    Raises:
        HostUnknownError: If the driver did not end by itself, or its last line is no report on this command: whatever
            happened on the host, this answer does not tell. The facts have what was printed.
    """
    if exit_code not in _EXITS_WITH_REPORT:
        last_words = _last_line(stderr)
        reason = f"the driver ended with exit code {exit_code}{': ' if last_words else ''}{last_words}"
        raise _unknown(command, reason, exit_code, stdout, stderr)
    try:
        report = json.loads(stdout.rstrip().rpartition(b"\n")[2])
        return _checked(command, report)
    except (ValueError, RecursionError) as error:
        raise _unknown(command, f"the driver's answer is no report ({error})", exit_code, stdout, stderr) from error


def _last_line(output: bytes) -> str:
    return output.rstrip().rpartition(b"\n")[2].decode(errors="replace").strip()[:_TOLD_CHARACTERS]


def _checked(command: HostCommand, report: Any) -> HostReport:
    if not isinstance(report, dict):
        raise ValueError("not an object")  # noqa: TRY004  one kind of error for one kind of garbage
    identity = {"attempt": command.attempt, "verb": command.verb.value}
    for name, expected in identity.items():
        if report.get(name) != expected:
            raise ValueError(f"{name} is {report.get(name)!r}, not {expected!r}")
    # None where the driver could not read the plan.
    if report.get("deployment") not in (None, command.plan.deployment_id):
        raise ValueError(f"it is about deployment {report.get('deployment')!r}")
    state = HostState(report.get("state"))
    code = _text(report, "code")
    if (state is HostState.FAILED) != bool(code):
        raise ValueError(f"state {state.value} with code {code!r}")
    detail = report.get("detail")
    if not isinstance(detail, dict):
        raise ValueError("detail is not an object")  # noqa: TRY004  as above
    return HostReport(
        state=state,
        code=code,
        message=_text(report, "message"),
        running_version=_optional_text(report, "running_version"),
        detail=detail | {"current_version": _optional_text(report, "current_version")},
        lines=_lines(report.get("lines")),
    )


def _lines(told: Any) -> tuple[Line, ...]:
    """Return the lines that are some: they are for people, and nothing else in a report depends on them."""
    lines = told[:LINES] if isinstance(told, list) else []
    return tuple(Line(after_ms=one["after_ms"], text=one["text"][:CHARACTERS]) for one in lines if _is_line(one))


def _is_line(one: Any) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("text"), str):
        return False
    return type(one.get("after_ms")) is int and 0 <= one["after_ms"] < _LONGEST_MS


def _text(report: dict[str, Any], name: str) -> str:
    value = report.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, not text")  # noqa: TRY004  as above
    return value


def _optional_text(report: dict[str, Any], name: str) -> str | None:
    return None if report.get(name) is None else _text(report, name)


def _unknown(command: HostCommand, reason: str, exit_code: int, stdout: bytes, stderr: bytes) -> HostUnknownError:
    host = command.plan.host
    return HostUnknownError(
        f"{command.verb.value} on {host.instance}: {reason}",
        instance=host.instance,
        verb=command.verb.value,
        exit_code=exit_code,
        stdout=stdout[-_SHOWN_BYTES:].decode(errors="replace"),
        stderr=stderr[-_SHOWN_BYTES:].decode(errors="replace"),
    )
