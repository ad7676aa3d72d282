"""The log on the card of a target: how its stages stood, and what each did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import translation

from rollwave.domain.model import Failure, Progress, Stage
from rollwave.ports.executor import Line
from rollwave.ports.store import StageChanged
from rollwave.web.portal import target_card

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def install(progress: Progress, *lines: Line, attempt: int = 1, failure: Failure | None = None) -> StageChanged:
    return StageChanged(
        slice=1, attempt=attempt, stage=Stage.INSTALL, progress=progress, failure=failure, lines=tuple(lines)
    )


def test_what_a_stage_did_stands_before_its_end_at_the_time_when_it_did_it():
    """Counted from its beginning; a host whose clock runs fast has done nothing after the end."""
    log = [
        (after(0), install(Progress.RUNNING)),
        (after(3), install(Progress.SUCCESS, Line(after_ms=1_500, text="stop"), Line(after_ms=9_000, text="start"))),
        (after(60), install(Progress.RUNNING, attempt=2)),
        (after(62), install(Progress.SUCCESS, Line(after_ms=500, text="stop"), attempt=2)),
    ]

    with translation.override("en"):
        lines = list(target_card._lines(log))

    assert [(line.at, line.did, line.text) for line in lines if line.did] == [
        (after(1.5), "install", "stop"),
        (after(3), "install", "start"),
        (after(60.5), "install", "stop"),
    ]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert [bool(line.did) for line in lines] == [False, True, True, False, False, True, False]


def test_what_was_done_is_told_beside_what_went_wrong():
    """By whatever worker saw the beginning: where none did, all of it is as old as the end."""
    failure = Failure(code="lifecycle.start_failed", message="no", stage=Stage.INSTALL, log="bind: address in use")
    seen = install(Progress.FAILURE, Line(after_ms=1_000, text="current: 1.0 -> 2.0"), failure=failure)

    with translation.override("zh-hans"):
        did, failed = target_card._lines([(after(5), seen)])

    assert (did.at, did.text, did.tone) == (after(5), "current: 1.0 -> 2.0", "")
    assert did.did not in {"", "install"}
    assert (failed.at, failed.tone, failed.said) == (after(5), "bad", failure.log)
