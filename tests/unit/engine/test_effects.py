"""What becomes of a stage on a host of which no answer comes, and what of a report goes on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import anyio
import pytest

from rollwave.domain.model import Progress, Stage
from rollwave.engine.effects import (
    HOST_LIMIT_S,
    LOG_COLUMNS,
    LOG_LINES,
    LONGEST_WAIT_S,
    UNREACHABLE_LIMIT_S,
    Effects,
    _outcome,
)
from rollwave.ports.executor import HostReport, HostState, HostUnknownError, HostUnreachableError

SILENT = HostUnknownError("no answer")
DEAD = HostUnreachableError("no route")
DONE = HostReport(state=HostState.SUCCEEDED)


class Time:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


class Journal:
    """An executor whose every question takes a second; *answers* says what comes at which second."""

    def __init__(self, time: Time, answers) -> None:
        self._time = time
        self._answers = answers

    async def status(self, _command):
        await self._time.sleep(1)
        answer = self._answers(self._time.passed_s)
        if isinstance(answer, Exception):
            raise answer
        return answer


def found_out(answers) -> tuple[Progress, str, float]:
    """Return how a verify went, by which code, and how long that took."""
    time = Time()
    effects = Effects(executors={"dc1": Journal(time, answers)}, balancers={}, clock=time)
    job = SimpleNamespace(plan=None, executor="dc1")

    async def own() -> None:
        pytest.fail("a host is fenced by itself")

    async def ask():
        return await effects.find_out(job, Stage.VERIFY, attempt=1, epoch=1, own=own)

    outcome = anyio.run(ask)
    return outcome.progress, outcome.failure.code if outcome.failure else "", time.passed_s


@pytest.mark.parametrize(("error", "limit_s"), [(SILENT, HOST_LIMIT_S), (DEAD, UNREACHABLE_LIMIT_S)])
def test_who_never_answers_has_failed_in_time_and_as_what_it_is(error, limit_s) -> None:
    """A server that cannot be reached at all is given up sooner than one that is there and silent."""
    progress, code, took_s = found_out(lambda _at: error)

    assert (progress, code) == (Progress.FAILURE, error.code)
    assert limit_s <= took_s <= limit_s + LONGEST_WAIT_S + 2


def test_who_is_back_before_the_limit_has_lost_nothing() -> None:
    progress, code, _ = found_out(lambda at: DEAD if at < UNREACHABLE_LIMIT_S - LONGEST_WAIT_S else DONE)

    assert (progress, code) == (Progress.SUCCESS, "")


def test_only_an_absence_without_a_break_counts() -> None:
    """A server that shows signs of life in between is silent, and not gone: its longer limit counts."""
    progress, code, took_s = found_out(lambda at: SILENT if int(at) % 2 else DEAD)

    assert progress is Progress.FAILURE
    assert code in {SILENT.code, DEAD.code}
    assert took_s > HOST_LIMIT_S


def failed(**detail: object) -> str:
    report = HostReport(state=HostState.FAILED, code="health.timeout", message="no", detail=detail)
    outcome = _outcome(Stage.VERIFY, report)
    assert outcome.progress is Progress.FAILURE
    assert outcome.failure
    return outcome.failure.log


def test_a_failure_keeps_the_last_lines_that_the_host_printed():
    """So many, so wide, and none where the host kept none: every list of targets carries them."""
    printed = "".join(f"{number} {'x' * 500}end\n" for number in range(100))
    kept = failed(output=printed).splitlines()

    assert len(kept) == LOG_LINES
    assert all(len(line) == LOG_COLUMNS and line.endswith("end") for line in kept)
    assert failed(output="cannot bind\n") == "cannot bind"
    assert failed(traceback="Traceback\nKeyError") == "Traceback\nKeyError"
    assert failed() == failed(output=None) == failed(output="\n") == ""
