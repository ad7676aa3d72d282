"""How a deployment stands, in one sentence; and why one braked or failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.model import BrakeCause
from rollwave.words.catalog import TEXTS, either, key_of, name_of, say
from rollwave.words.language import Language

if TYPE_CHECKING:
    from rollwave.domain.facts import Braked
    from rollwave.domain.model import Brake, Failure
    from rollwave.domain.status import Summary


def status_sentence(summary: Summary, language: Language = Language.ENGLISH) -> str:
    """Return why a deployment's status is what it is."""
    progress = say(language, "done_of", done=summary.done_count, total=summary.total_count, version=summary.version)
    following, left = summary.following_count, summary.left_count
    return say(
        language,
        key_of(summary.why),
        progress=progress,
        flying=summary.flying_count,
        failed=summary.failed_count,
        following=say(language, "why.following", count=following) if following else "",
        left=say(language, "why.left", count=left) if left else "",
        finishing=say(language, "why.finishing", flying=summary.flying_count) if summary.flying_count else "",
        batch=summary.batch,
        until=say(language, "time", time=summary.until) if summary.until else say(language, "why.its_turn"),
        out=summary.out_count,
        limit=summary.limit_count,
        brake=brake_reason(summary.brake, language) if summary.brake else "",
        ways_out=_ways_out(summary, language),
        actor=summary.actor,
    )


def _ways_out(summary: Summary, language: Language) -> str:
    words = [say(language, f"way_out.{action.value}") for action in summary.ways_out]
    return either(language, words) if words else ""


def brake_reason(brake: Brake | Braked, language: Language = Language.ENGLISH) -> str:
    """Return why it braked: the words of the person who did, or those of the engine in *language*."""
    if brake.cause is BrakeCause.FAILURES and brake.limit_count:
        return say(language, "braked_by.failures", failed=brake.failed_count, limit=brake.limit_count)
    if brake.cause is BrakeCause.NO_CANARY:
        return say(language, "braked_by.no_canary")
    return brake.reason or name_of(brake.cause, language)


def failure_cause(code: str, language: Language = Language.ENGLISH) -> str:
    """Return what the code of a failure means; a code that we do not know stands for itself."""
    key = f"failure.{code}"
    return say(language, key) if key in TEXTS[language] else code


def failure_text(failure: Failure, language: Language = Language.ENGLISH) -> str:
    """Return why a target failed: what it means, where that is not English, and what was said, which always is."""
    if language is Language.ENGLISH:
        return failure.message
    return f"{failure_cause(failure.code, language)}{say(language, 'because', reason=failure.message)}"
