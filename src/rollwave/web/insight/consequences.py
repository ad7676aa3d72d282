"""What an action will do, said in figures before it does it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from msgspec import Struct

from rollwave.domain.actions import next_batch, retryable
from rollwave.domain.budget import budget_of, limit_of
from rollwave.domain.commands import Action
from rollwave.domain.model import Standing
from rollwave.web.commands import cause_of
from rollwave.web.insight.duration import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.domain.model import State, Target

DANGEROUS: Final = frozenset({Action.ABORT, Action.ROLLBACK})
"""What cannot be taken back: the name of the group has to be typed."""


class Consequences(Struct, frozen=True, kw_only=True):
    """
    An action before it is done.

    Attributes:
        action: The action.
        title: The question.
        sentences: What will happen.
        button: What the button says.
    """

    action: Action
    title: str
    sentences: tuple[str, ...]
    button: str

    @property
    def is_dangerous(self) -> bool:
        """Whether it cannot be taken back."""
        return self.action in DANGEROUS


class _Counts(Struct, frozen=True, kw_only=True):
    done: int
    flying: int
    failed: int
    pending: int
    total: int
    limit: int
    left_batches: int


def _counts(state: State) -> _Counts:
    of = Counter(target.standing for target in state.targets.values())
    waiting = {one.batch for one in state.targets.values() if one.standing is Standing.PENDING}
    return _Counts(
        done=of[Standing.SUCCESS],
        flying=of[Standing.IN_FLIGHT],
        failed=of[Standing.FAILED],
        pending=of[Standing.PENDING],
        total=len(state.targets),
        limit=budget_of(state).limit_count,
        left_batches=len(waiting),
    )


def targets(count: int) -> str:
    """Return a number of targets in words."""
    return ngettext("%(count)s target", "%(count)s targets", count) % {"count": f"{count:,}"}


def batches(count: int) -> str:
    """Return a number of batches in words."""
    return ngettext("%(count)s batch", "%(count)s batches", count) % {"count": f"{count:,}"}


def _at_most(limit: int) -> str:
    said = ngettext(
        "At most %(limit)s is out of traffic at a time.", "At most %(limit)s are out of traffic at a time.", limit
    )
    return said % {"limit": f"{limit:,}"}


def consequences(
    state: State, action: Action, *, cause: str = "", only: Sequence[str] = (), percent: int | None = None
) -> Consequences:
    """
    Return what *action* would do.

    A retry may be of one *cause*, by its code, or of *only* some targets; a limit may be raised to some *percent*.
    """
    again = _again(state, cause, only) if action is Action.RETRY else []
    title, button, sentences = _SAID[action](state, again)
    if action is Action.RAISE_LIMIT and percent is not None:
        sentences.insert(1, _raised(state, percent))
    return Consequences(action=action, title=title, button=button, sentences=tuple(sentences))


def _start(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    version = state.deployment.goal.version
    said = [
        ngettext(
            "%(targets)s goes to %(version)s in %(batches)s.",
            "%(targets)s go to %(version)s in %(batches)s.",
            counts.total,
        )
        % {
            "targets": targets(counts.total),
            "version": version,
            "batches": batches(len(state.deployment.batches)),
        },
        _at_most(counts.limit),
    ]
    if state.deployment.canary_batch is not None:
        count = len(state.in_batch(1))
        said.append(
            ngettext(
                "The first of them is a canary that waits, verified and out of traffic, for a decision.",
                "The first %(count)s of them are a canary that waits, verified and out of traffic, for a decision.",
                count,
            )
            % {"count": f"{count:,}"}
        )
    return _("Start the release of %(version)s?") % {"version": version}, _("Start"), said


def _approve(state: State, again: list[Target]) -> tuple[str, str, list[str]]:
    deployment = state.deployment
    _title, _button, said = _start(state, again)
    asked = _("%(actor)s asked for it; somebody else has to say that it may go ahead, and why.")
    return (
        _("Approve the release of %(version)s?") % {"version": deployment.goal.version},
        _("Approve"),
        [asked % {"actor": deployment.actor}, *said],
    )


def _bake(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    config = state.deployment.config
    verified = sum(one.standing is Standing.VERIFIED for one in state.in_batch(1))
    said = [
        ngettext(
            "%(targets)s with %(version)s takes production traffic.",
            "%(targets)s with %(version)s take production traffic.",
            verified,
        )
        % {"targets": targets(verified), "version": state.deployment.goal.version}
    ]
    if config.bake_min_s:
        said.append(_("The bake lasts at least %(span)s.") % {"span": duration(config.bake_min_s)})
    return _("Give the canary production traffic?"), _("Bake"), said


def _rollout(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    said = [
        ngettext("%(targets)s follows in %(batches)s.", "%(targets)s follow in %(batches)s.", counts.pending)
        % {"targets": targets(counts.pending), "batches": batches(counts.left_batches)},
        _at_most(counts.limit),
    ]
    return _("Roll out the rest?"), _("Roll out"), said


def _next(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    batch = next_batch(state)
    number = batch.number if batch else 0
    count = len(state.in_batch(number))
    said = [
        ngettext(
            "%(targets)s of batch %(number)s goes to %(version)s.",
            "%(targets)s of batch %(number)s go to %(version)s.",
            count,
        )
        % {
            "targets": targets(count),
            "number": number,
            "version": state.deployment.goal.version,
        }
    ]
    return _("Let batch %(number)s go?") % {"number": number}, _("Let it go"), said


def _brake(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    said = [
        ngettext(
            "Nothing new starts. %(targets)s in flight will finish, %(pending)s stays as it is.",
            "Nothing new starts. %(targets)s in flight will finish, %(pending)s stay as they are.",
            counts.pending,
        )
        % {"targets": targets(counts.flying), "pending": targets(counts.pending)},
        _("It can go on at any time."),
    ]
    return _("Brake?"), _("Brake"), said


def _resume(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    said = [
        ngettext(
            "%(targets)s is still to go, in %(batches)s.",
            "%(targets)s are still to go, in %(batches)s.",
            counts.pending,
        )
        % {"targets": targets(counts.pending), "batches": batches(counts.left_batches)},
        _("Failed: %(failed)s of %(limit)s allowed; it brakes by itself at %(limit)s.")
        % {"failed": counts.failed, "limit": counts.limit},
    ]
    return _("Go on?"), _("Resume"), said


def _again(state: State, cause: str, only: Sequence[str]) -> list[Target]:
    return [
        one
        for one in retryable(state)
        if (not cause or cause_of(one) == cause) and (not only or state.fleet[one.instance_id].name in only)
    ]


def _retry(state: State, again: list[Target]) -> tuple[str, str, list[str]]:
    others = len(retryable(state)) - len(again)
    said = [
        ngettext(
            "%(targets)s runs again, from the start. Those that already run %(version)s and are well are not touched.",
            "%(targets)s run again, from the start. Those that already run %(version)s and are well are not touched.",
            len(again),
        )
        % {"targets": targets(len(again)), "version": state.deployment.goal.version}
    ]
    if others:
        stays = ngettext(
            "%(targets)s that failed for other reasons stays as it is.",
            "%(targets)s that failed for other reasons stay as they are.",
            others,
        )
        said.append(stays % {"targets": targets(others)})
    if state.deployment.brake:
        said.append(_("The brake is released."))
    title = ngettext("Retry %(count)s target?", "Retry %(count)s targets?", len(again)) % {"count": f"{len(again):,}"}
    return title, _("Retry"), said


def _raise_limit(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    budget = budget_of(state)
    said = [
        _("Now %(percent)s %%: %(limit)s of %(eligible)s may be out of traffic; out now: %(out)s.")
        % {
            "percent": state.deployment.config.max_unavailable_percent,
            "limit": f"{budget.limit_count:,}",
            "eligible": f"{budget.eligible_count:,}",
            "out": f"{budget.out_count:,}",
        },
        _("A brake for failures comes that much later, too."),
    ]
    return _("Raise the limit?"), _("Raise"), said


def _raised(state: State, percent: int) -> str:
    eligible = budget_of(state).eligible_count
    told = {
        "percent": percent,
        "limit": f"{limit_of(eligible, max_unavailable_percent=percent):,}",
        "eligible": f"{eligible:,}",
    }
    return _("Then %(percent)s %%: %(limit)s of %(eligible)s.") % told


def _abort(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    said = [
        _("The release is given up, for good. %(targets)s in flight will finish.")
        % {"targets": targets(counts.flying)},
        ngettext(
            "%(done)s stays on %(version)s, %(pending)s as before: two versions run until the next release.",
            "%(done)s stay on %(version)s, %(pending)s as before: two versions run until the next release.",
            counts.done,
        )
        % {
            "done": targets(counts.done),
            "version": state.deployment.goal.version,
            "pending": targets(counts.pending),
        },
    ]
    if counts.failed:
        said.append(
            ngettext(
                "%(targets)s that failed stays out of traffic or on the old version.",
                "%(targets)s that failed stay out of traffic or on the old version.",
                counts.failed,
            )
            % {"targets": targets(counts.failed)}
        )
    return _("Abort the release of %(version)s?") % {"version": state.deployment.goal.version}, _("Abort"), said


def _rollback(state: State, _again: list[Target]) -> tuple[str, str, list[str]]:
    counts = _counts(state)
    previous = state.deployment.previous.version if state.deployment.previous else "?"
    half = max(1, (budget_of(state).eligible_count + 1) // 2)
    said = [
        _("This release is given up; %(targets)s in flight will finish first.") % {"targets": targets(counts.flying)},
        _("Then the whole group goes to %(version)s: two batches, at most %(half)s out of traffic, no download.")
        % {"version": previous, "half": f"{half:,}"},
        ngettext(
            "%(done)s leaves %(goal)s; those that still run %(version)s are only proven.",
            "%(done)s leave %(goal)s; those that still run %(version)s are only proven.",
            counts.done,
        )
        % {"done": targets(counts.done), "goal": state.deployment.goal.version, "version": previous},
    ]
    return _("Roll back to %(version)s?") % {"version": previous}, _("Roll back"), said


_SAID: Final = {
    Action.APPROVE: _approve,
    Action.START: _start,
    Action.BAKE: _bake,
    Action.ROLLOUT: _rollout,
    Action.NEXT: _next,
    Action.BRAKE: _brake,
    Action.RESUME: _resume,
    Action.RETRY: _retry,
    Action.RAISE_LIMIT: _raise_limit,
    Action.ABORT: _abort,
    Action.ROLLBACK: _rollback,
}
