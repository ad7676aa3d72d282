"""Both languages say everything: every kind of event, reason, cause, action and failure has its words in each."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

from rollwave.domain.commands import Action
from rollwave.domain.facts import FACTS
from rollwave.domain.model import Brake, BrakeCause, Failure, Kind, Phase, Progress, Stage, Standing
from rollwave.domain.status import Status, Summary, Why
from rollwave.ports.store import StageChanged
from rollwave.words.catalog import TEXTS, either, key_of, name_of, say
from rollwave.words.language import Language, asked_for, language_of
from rollwave.words.standing import brake_reason, failure_cause, failure_text, status_sentence
from rollwave.words.text import Plural

SOURCE = Path(__file__).parents[3] / "src" / "rollwave"

NAMED = [Action, BrakeCause, Kind, Phase, Progress, Stage, Standing, Status, Why]
CODE = re.compile(r"\"((?:balancer|health|host|lifecycle|package)\.[a-z_]+)\"")
NO_FAILURES = {"host.python", "host.openssl", "host.zstd"}


def failure_codes():
    """Every code that the sources give to a failure of a target."""
    rooms = ("host", "engine", "executors", "balancers", "ports")
    texts = [path.read_text() for room in rooms for path in (SOURCE / room).glob("*.py")]
    found = {code for text in texts for code in CODE.findall(text)} - NO_FAILURES
    return sorted(found | {"lifecycle.start_failed", "lifecycle.stop_failed"})


def blanks(text):
    forms = [text] if isinstance(text, str) else list(text)
    return {name for form in forms for _, name, _, _ in Formatter().parse(form) if name}


@pytest.mark.parametrize("language", Language)
def test_every_member_that_people_read_has_a_name(language):
    for member in [member for kind in NAMED for member in kind]:
        assert key_of(member) in TEXTS[language], member


@pytest.mark.parametrize("language", Language)
def test_every_kind_of_event_has_words(language):
    for name in (*FACTS, StageChanged.__name__):
        assert any(key.partition("event.")[2].partition(".")[0] == name for key in TEXTS[language]), name


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("code", failure_codes())
def test_every_code_of_a_failure_is_explained(language, code):
    assert failure_cause(code, language) != code


def test_each_language_says_the_same_keys_with_the_same_facts():
    english = TEXTS[Language.ENGLISH]
    for language, texts in TEXTS.items():
        assert texts.keys() == english.keys(), language
        assert {key: blanks(text) for key, text in texts.items()} == {
            key: blanks(text) | ({"count"} & blanks(texts[key])) for key, text in english.items()
        }


def test_nothing_is_left_in_english():
    """Only what has no letters may be the same in both."""
    for key, text in TEXTS[Language.CHINESE].items():
        assert isinstance(text, str)
        words = re.sub(r"\{[^}]*\}", "", text)
        assert not words.strip(" :;()%") or re.search(r"[\u3000-\u9fff\uff00-\uffef]", words) or key == "time", key


def test_english_knows_one_from_many():
    assert say(Language.ENGLISH, "targets", count=1) == "1 target"
    assert say(Language.ENGLISH, "targets", count=2) == "2 targets"
    assert say(Language.CHINESE, "targets", count=1) == "1 个目标"
    assert any(isinstance(text, Plural) for text in TEXTS[Language.ENGLISH].values())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, Language.ENGLISH),
        ("", Language.ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", Language.CHINESE),
        ("en-US,en;q=0.9,zh;q=0.8", Language.ENGLISH),
        ("fr, zh;q=0.5, en;q=0.4", Language.CHINESE),
        ("zh;q=0", Language.ENGLISH),
        ("zh;q=odd, de", Language.ENGLISH),
        ("*", Language.ENGLISH),
        ("en;q=0.5, zh-Hant;q=0.6", Language.CHINESE),
    ],
)
def test_the_language_is_the_one_that_is_liked_best(header, language):
    assert asked_for(header) is language


def test_a_language_is_known_by_any_of_its_tags():
    assert {language_of(tag) for tag in ("zh", "zh-hans", "zh_CN", "ZH-Hans")} == {Language.CHINESE}
    assert language_of("de") is None


def test_alternatives():
    assert either(Language.ENGLISH, ["retry"]) == "retry"
    assert either(Language.ENGLISH, ["retry", "abort", "roll back"]) == "retry, abort or roll back"
    assert either(Language.CHINESE, ["重试", "终止", "回滚"]) == "重试、终止或回滚"


def test_a_status_in_chinese():
    summary = Summary(
        status=Status.FAILED,
        why=Why.SOME_FAILED,
        version="2.0",
        total_count=8,
        done_count=7,
        flying_count=0,
        failed_count=1,
        left_count=0,
        ways_out=(Action.RETRY, Action.ABORT),
    )
    assert status_sentence(summary, Language.CHINESE) == (
        "所有批次都已执行：失败 1 个，8 个中 7 个已到 2.0；可重试或终止。"
    )


def test_what_the_engine_braked_for_is_told_in_any_language_and_what_a_person_said_stays():
    failures = Brake(cause=BrakeCause.FAILURES, reason="3 failed, 3 allowed", failed_count=3, limit_count=3)
    assert brake_reason(failures) == failures.reason
    assert brake_reason(failures, Language.CHINESE) == "失败 3 个，最多允许 3 个"
    # Written before the counts were kept.
    assert brake_reason(Brake(cause=BrakeCause.FAILURES, reason="old"), Language.CHINESE) == "old"
    assert brake_reason(Brake(cause=BrakeCause.OPERATOR, reason="{lunch}"), Language.CHINESE) == "{lunch}"
    assert brake_reason(Brake(cause=BrakeCause.OPERATOR, reason=""), Language.CHINESE) == "人工"


def test_a_failure_in_chinese_says_what_it_means_and_what_was_said():
    failure = Failure(code="host.disk_full", message="3 MB missing", stage=Stage.DOWNLOAD)
    assert failure_text(failure) == "3 MB missing"
    assert failure_text(failure, Language.CHINESE) == "磁盘已满：3 MB missing"
    assert failure_cause("custom.code", Language.CHINESE) == "custom.code"


def test_names():
    assert name_of(Action.RAISE_LIMIT, Language.ENGLISH) == "raise limit"
    assert name_of(Phase.ROLLING_OUT, Language.CHINESE) == "批次发布中"
    assert say(Language.CHINESE, "time", time=datetime(2026, 1, 1, 12, 30, tzinfo=UTC)) == "2026-01-01 12:30:00 UTC"
