"""Words for values of the domain: what a person reads instead of an enum's member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from django.utils.translation import ngettext
from django.utils.translation import pgettext_lazy as in_context

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Final = "\N{EN DASH}"
"""Stands where there is no value."""

STATUSES: Final[Mapping[str, tuple[Any, str]]] = {
    "pending": (later("Planned"), "wait"),
    "running": (later("Running"), "running"),
    "waiting": (later("Waiting"), "wait"),
    "braked": (later("Braked"), "bad"),
    "failed": (later("Failed"), "bad"),
    "aborting": (later("Aborting"), "wait"),
    "aborted": (later("Aborted"), ""),
    "succeeded": (later("Succeeded"), "good"),
}
"""What a release's status is called, and how it looks."""

KINDS: Final[Mapping[str, Any]] = {
    "rollout": later("Rollout"),
    "rollback": later("Rollback"),
    "scale_out": later("Scale-out"),
    "reroll": later("Reroll"),
}

FLAGS: Final[Mapping[str, tuple[Any, str]]] = {
    "hold": (later("held"), "wait"),
    "failed": (later("failed"), "bad"),
    "new": (in_context("instance", "new"), ""),
    "offline": (later("offline"), "bad"),
    "deploying": (later("deploying"), "running"),
    "in_service": (later("in service already"), ""),
}
"""Why an instance is not in traffic, or does not take part."""

FINDINGS: Final[Mapping[str, Any]] = {
    "reach": later("reach"),
    "clock": later("clock"),
    "directory": later("directory"),
    "disk": later("disk"),
    "start": later("start command"),
    "stop": later("stop command"),
    "program": later("program"),
    "health": later("health page"),
    "balancer": later("balancer"),
}
"""What is looked at on a server before a release; a program goes by its own name."""

SETTING_LABELS: Final[Mapping[str, Any]] = {
    "max_unavailable_percent": later("Largest share out of traffic, %"),
    "canary_count": later("Canary targets"),
    "batch_pause_s": later("Pause before a batch, s"),
    "tail_pause_s": later("Pause from the third batch on, s"),
    "batch_mode": later("Who starts a batch"),
    "startup_timeout_s": later("Time to start, s"),
    "ignore_verify": later("Go on whatever verify says"),
    "on_target_failure": later("A target that failed"),
    "bake_policy": later("Who approves the bake"),
    "bake_min_s": later("Shortest bake, s"),
    "prestage": later("Download ahead of time"),
    "requires_approval": later("Somebody else has to approve it"),
}

CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "batch_mode": {"auto": later("starts by itself"), "manual": later("a person lets each batch go")},
    "on_target_failure": {
        "leave": later("stays as it is, out of traffic"),
        "restore": later("goes back to the previous version"),
    },
    "bake_policy": {"manual": later("a person"), "auto": later("the clock and the monitors")},
}
"""What the values of a setting mean."""

CHANGES: Final[Mapping[str, tuple[Any, str]]] = {
    "create": (later("create"), "good"),
    "update": (later("change"), "wait"),
    "delete": (later("delete"), "bad"),
    "unchanged": (later("as it is"), ""),
}
"""What becomes of a thing of the spec."""

THINGS: Final[Mapping[str, Any]] = {
    "app": later("app"),
    "server": later("server"),
    "group": later("group"),
    "instance": in_context("thing", "instance"),
    "subscription": later("subscription"),
}
"""What a spec has in it."""

VERDICTS: Final[Mapping[str, tuple[Any, str]]] = {
    "ok": (later("good"), "good"),
    "note": (later("note"), ""),
    "missing": (later("missing"), "bad"),
}


def setting_words(name: str, value: object) -> str:
    """Return what the value of a setting means."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if value is None:
        return NOTHING
    return str(CHOICES.get(name, {}).get(str(value), value))


def wrong(field: str, value: str, expected: str) -> str:
    """Return what is wrong with a field: which, what stands there, and what would be right."""
    if not value:
        return _("%(field)s is empty; expected %(expected)s") % {"field": field, "expected": expected}
    told = {"field": field, "value": value, "expected": expected}
    return _("%(field)s is “%(value)s”; expected %(expected)s") % told


def span_words(seconds: float | None) -> str:
    """Return how long something took or will take, with the two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return _("%(count)s s") % {"count": f"{seconds:.1f}"}
    whole = round(seconds)
    if whole < 60:
        return _("%(count)s s") % {"count": whole}
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return _("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
    days = hours // 24
    return ngettext("%(count)s day", "%(count)s days", days) % {"count": days}
