"""What becomes of a stage on a host of which no answer comes, and what of a report goes on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import anyio
import pytest
from msgspec.structs import replace

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
from rollwave.ports.executor import HostReport, HostState, HostUnknownError, HostUnreachableError, Line

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


@pytest.mark.parametrize("state", [HostState.SUCCEEDED, HostState.FAILED])
def test_what_a_verb_did_goes_on_record_however_it_went(state):
    """One that failed tells how far it came."""
    lines = (Line(after_ms=7, text="current: 1.0 -> 2.0"),)
    report = HostReport(state=state, code="" if state is HostState.SUCCEEDED else "lifecycle.start_failed", lines=lines)

    assert _outcome(Stage.INSTALL, report).lines == lines
    assert _outcome(Stage.INSTALL, DONE).lines == ()


def test_what_no_database_stores_is_replaced():
    """An app may answer and print anything; PostgreSQL takes no NUL, and nobody takes half of a character."""
    odd, tame = "a\x00b\x1b[1m\ud800\tö 好", "a?b?[1m?\tö 好"
    done = replace(DONE, lines=(Line(after_ms=1, text=odd),))
    report = replace(done, state=HostState.FAILED, code="health.timeout", message=odd, detail={"output": odd})

    assert _outcome(Stage.VERIFY, done).lines == (Line(after_ms=1, text=tame),)
    assert _outcome(Stage.VERIFY, replace(done, running_version=odd)).running_version == tame
    failure = _outcome(Stage.VERIFY, report).failure
    assert failure
    assert (failure.message, failure.log) == (tame, tame)


class Slow:
    """A balancer that takes its time; *drains* says whether requests in flight come to an end."""

    def __init__(self, time: Time, *, drains: bool = True) -> None:
        self._time = time
        self._drains = drains

    async def mark_down(self, _member, *, drain_timeout_s):
        await self._time.sleep(drain_timeout_s if not self._drains else 4.1)
        return self._drains

    async def mark_up(self, _member):
        await self._time.sleep(0.25)


def at_balancer(stage: Stage, *, drains: bool = True, member: object = "web-1"):
    time = Time()
    effects = Effects(executors={}, balancers={"edge": Slow(time, drains=drains)}, clock=time)
    job = SimpleNamespace(member=member, balancer="edge", drain_timeout_s=30)

    async def own() -> None:
        await time.sleep(9)

    async def ask():
        return await effects.perform(job, stage, attempt=1, epoch=1, own=own)

    return anyio.run(ask)


def test_a_balancer_is_told_of_with_the_time_that_it_took():
    """Without what went before, such as to make sure of the slice; where there is no balancer, nothing is said."""
    (down,) = at_balancer(Stage.MARKDOWN).lines
    (up,) = at_balancer(Stage.MARKUP).lines

    assert down == Line(after_ms=4100, text="out of traffic at edge, and no request in flight, after 4.1 s")
    assert up == Line(after_ms=250, text="in traffic at edge after 0.2 s")
    assert at_balancer(Stage.MARKDOWN, drains=False).lines == ()
    assert at_balancer(Stage.MARKUP, member=None).lines == ()
