"""``driver.py check``, the same whatever carries it: the question as one argument, the answer as the last line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from rollwave.ports.executor import HostAnswer, HostUnknownError

if TYPE_CHECKING:
    from rollwave.ports.executor import HostQuestion

CHECK_LIMIT_S: Final = 25.0
"""How long a server may look at itself, in seconds."""


def check_arguments(question: HostQuestion) -> tuple[str, str]:
    """Return the driver's arguments."""
    document = {
        "deploy_path": question.host.deploy_path,
        "start": question.start,
        "stop": question.stop,
        "health_path": question.health_path,
        "port": question.host.port,
        "free_bytes": question.free_bytes,
        "app": question.app,
        "instance": question.host.instance,
        "server": question.host.server,
    }
    return ("check", json.dumps(document))


def parse_check(question: HostQuestion, *, exit_code: int, stdout: bytes, stderr: bytes) -> HostAnswer:
    """
    Return what the driver said.

    Raises:
        HostUnknownError: If that was no answer; it says what was said instead, an old Python's complaint perhaps.
    """
    last = stdout.strip().rpartition(b"\n")[2]
    try:
        return msgspec.json.decode(last, type=HostAnswer)
    except msgspec.DecodeError as error:
        said = (stderr or stdout).decode(errors="replace").strip()[-500:]
        raise HostUnknownError(
            f"{question.host.server} could not look at itself (exit code {exit_code}): {said or 'it said nothing'}; "
            f"the driver needs Python 3.8 or newer there",
            server=question.host.server,
        ) from error
