"""Sentences: one for every kind of event, in words a person would use."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rollwave.domain import facts
from rollwave.domain.commands import Action, Settlement
from rollwave.domain.model import BrakeCause, Course, Entry, Failure, PackageRef, Progress, Stage, Standing
from rollwave.ports.store import StageChanged
from rollwave.words.language import Language
from rollwave.words.story import Names, sentence

NAMES = Names({1: "shop/s1:80", 2: "shop/s2:80"})
FAILURE = Failure(code="health.timeout", message="no healthy answer in 60 s", stage=Stage.VERIFY)
AT = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def settled(standing: Standing, *ids: int, failure: Failure | None = None) -> facts.TargetsSettled:
    return facts.TargetsSettled(
        settlements=tuple(
            Settlement(instance_id=one, standing=standing, stage=None, progress=None, failure=failure, version="1.1")
            for one in ids
        )
    )


@pytest.mark.parametrize("kind", [*facts.FACTS.values(), StageChanged])
def test_every_kind_of_event_has_a_sentence_of_its_own(kind):
    assert sentence.dispatch(kind) is not sentence.dispatch(object)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (facts.CommandAccepted(action=Action.RAISE_LIMIT, actor="ann"), "ann asked for raise limit"),
        (facts.CommandAccepted(action=Action.BRAKE, actor="ann", reason="odd"), "ann asked for brake: odd"),
        (
            facts.Braked(cause=BrakeCause.FAILURES, reason="2 failed, 2 allowed", actor="engine"),
            "engine braked (failures): 2 failed, 2 allowed",
        ),
        (
            facts.AbortRequested(reason="bad", rollback_to=PackageRef(id=1, version="1.0")),
            "It is being given up, then rolled back to 1.0: bad",
        ),
        (facts.BatchScheduled(number=2, due_at=AT), "Batch 2 waits until 2026-01-01 12:30:00 UTC"),
        (facts.SliceOpened(number=1, course=Course.FULL, entries=((1, Entry.FULL),)), "s1:80 starts"),
        (
            facts.SliceOpened(number=1, course=Course.PRESTAGE, entries=((1, Entry.FULL),)),
            "s1:80 fetches ahead of time",
        ),
        (
            facts.SliceOpened(number=1, course=Course.FULL, entries=tuple((one, Entry.FULL) for one in range(9))),
            "9 targets start",
        ),
        (settled(Standing.SUCCESS, 1, 2), "s1:80, s2:80 done on 1.1"),
        (settled(Standing.FAILED, 1, failure=FAILURE), "s1:80 failed (no healthy answer in 60 s)"),
        (
            facts.TargetsFailing(failures=((7, FAILURE),)),
            "instance 7 failed (the new version did not come up in time) and will be put back",
        ),
        (
            StageChanged(slice=1, attempt=2, stage=Stage.VERIFY, progress=Progress.FAILURE, failure=FAILURE),
            "verify failed (attempt 2): no healthy answer in 60 s",
        ),
    ],
)
def test_sentences(event, expected):
    assert sentence(event, NAMES) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (facts.CommandAccepted(action=Action.BRAKE, actor="ann", reason="odd"), "ann 请求刹车：odd"),
        (
            facts.Braked(cause=BrakeCause.FAILURES, reason="", actor="engine", failed_count=2, limit_count=2),
            "engine 刹车（失败过多）：失败 2 个，最多允许 2 个",
        ),
        (facts.Braked(cause=BrakeCause.OPERATOR, reason="", actor="ann"), "ann 刹车（人工）"),
        (
            facts.SliceOpened(number=1, course=Course.FULL, entries=((1, Entry.FULL), (2, Entry.FULL))),
            "s1:80、s2:80 开始",
        ),
        (
            settled(Standing.FAILED, 1, failure=FAILURE),
            "s1:80 失败（新版本未能按时点火成功：no healthy answer in 60 s）",
        ),
    ],
)
def test_sentences_in_chinese(event, expected):
    assert sentence(event, Names({1: "shop/s1:80", 2: "shop/s2:80"}, Language.CHINESE)) == expected
