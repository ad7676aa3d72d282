"""The health gate: what verify, bake and brake say now, in one word and one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from msgspec import Struct

from rollwave.domain.actions import FAILED_PHASES
from rollwave.domain.brake import failed_count
from rollwave.domain.budget import budget_of
from rollwave.domain.config import BakePolicy, FailurePolicy
from rollwave.domain.model import Phase
from rollwave.web.insight.duration import duration
from rollwave.web.language import language_shown
from rollwave.words.standing import brake_reason

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.model import State


class Gate(Struct, frozen=True, kw_only=True):
    """
    What the gate says.

    Attributes:
        word: In one word.
        tone: good, wait, bad or none.
        icon: Name of its icon.
        detail: Why.
        until: When what is waited for ends; None for nothing.
    """

    word: str
    tone: str
    icon: str
    detail: str
    until: datetime | None = None


_AT: Final = {
    Phase.PENDING: (gettext_lazy("Not started"), "none", "shield", ""),
    Phase.CANARY: (gettext_lazy("Verifying"), "none", "shield", gettext_lazy("the canary has no traffic yet")),
    Phase.VERIFY_SUCCESS: (gettext_lazy("Verified"), "wait", "shield-check", gettext_lazy("a person gives it traffic")),
    Phase.BAKING: (gettext_lazy("Baking"), "none", "shield", gettext_lazy("the canary goes into traffic")),
    Phase.BAKE_SUCCESS: (gettext_lazy("Baked"), "wait", "shield-check", gettext_lazy("a person rolls out the rest")),
    Phase.SUCCESS: (gettext_lazy("Passed"), "good", "shield-check", gettext_lazy("every target is proven")),
    Phase.ABORTED: (gettext_lazy("Given up"), "none", "shield-off", ""),
}
"""Word, tone, icon and detail where the phase alone says it."""


def gate(state: State) -> Gate:
    """Return what the gate says of *state*."""
    deployment = state.deployment
    phase = deployment.phase
    if deployment.brake and not phase.is_final:
        why = brake_reason(deployment.brake, language_shown())
        return Gate(word=_("Braked"), tone="wait", icon="octagon-pause", detail=why)
    if phase in FAILED_PHASES:
        return Gate(word=_("Failed"), tone="bad", icon="shield-x", detail=_failed(state))
    if phase is Phase.BAKING and deployment.bake_due_at:
        return Gate(
            word=_("Baking"),
            tone="none",
            icon="shield",
            detail=_("the canary takes traffic until"),
            until=deployment.bake_due_at,
        )
    if phase in _AT:
        word, tone, icon, detail = _AT[phase]
        return Gate(word=str(word), tone=tone, icon=icon, detail=str(detail))
    if deployment.config.ignore_verify:
        return Gate(word=_("Off"), tone="wait", icon="shield-off", detail=_("whatever verify says is ignored"))
    return Gate(word=_("Passing"), tone="good", icon="shield-check", detail=_failed(state))


def _failed(state: State) -> str:
    return _("%(failed)s failed, the brake comes at %(limit)s") % {
        "failed": f"{failed_count(state):,}",
        "limit": f"{budget_of(state).limit_count:,}",
    }


def rails(state: State) -> list[tuple[str, str]]:
    """Return the rules that hold for this release, each with its name."""
    config, budget = state.deployment.config, budget_of(state)
    limit = f"{budget.limit_count:,}"
    found = [
        (_("Auto-brake"), _("at %(limit)s failed targets") % {"limit": limit}),
        (
            _("Out of traffic"),
            _("at most %(limit)s of %(eligible)s") % {"limit": limit, "eligible": f"{budget.eligible_count:,}"},
        ),
    ]
    if state.deployment.canary_batch is not None:
        who = _("by itself") if config.bake_policy is BakePolicy.AUTO else _("a person decides")
        span = duration(config.bake_min_s) if config.bake_min_s else ""
        found.append((_("Bake"), f"{_('at least %(span)s') % {'span': span}}, {who}" if span else who))
    if state.deployment.goes_by_hand:
        found.append((_("Batches"), _("a person lets each one go")))
    elif config.batch_pause_s or config.tail_pause_s:
        pauses = {"first": duration(config.batch_pause_s), "later": duration(config.tail_pause_s)}
        found.append((_("Pause"), _("%(first)s, from batch 3 on %(later)s") % pauses))
    after = {
        FailurePolicy.LEAVE: _("stays out of traffic"),
        FailurePolicy.RESTORE: _("goes back to the old version"),
    }[config.on_target_failure]
    found.append((_("A failed target"), after))
    verify = (
        _("ignored") if config.ignore_verify else _("within %(span)s") % {"span": duration(config.startup_timeout_s)}
    )
    found.append((_("Verify"), verify))
    return found
