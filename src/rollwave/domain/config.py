"""Settings of a deployment: few, plainly named, checked where they are made."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from rollwave.domain.errors import InvalidValueError
from rollwave.domain.said import said


class BatchMode(Enum):
    """Who starts a batch."""

    AUTO = "auto"
    MANUAL = "manual"


class FailurePolicy(Enum):
    """What becomes of a target that failed."""

    LEAVE = "leave"
    """It stays as it is, out of traffic, for a person to look at."""
    RESTORE = "restore"
    """It goes back to the previous version and into traffic; it still counts as failed."""


class BakePolicy(Enum):
    """Who says that the canary is good."""

    MANUAL = "manual"
    AUTO = "auto"


RANGES: Final = {
    "max_unavailable_percent": (1, 50),
    "canary_count": (0, 1_000),
    "batch_pause_s": (0, 86_400),
    "tail_pause_s": (0, 86_400),
    "startup_timeout_s": (1, 3_600),
    "bake_min_s": (0, 604_800),
}
"""Inclusive range of every whole-number setting."""


class DeploymentConfig(Struct, frozen=True, kw_only=True):
    """
    How a deployment rolls.

    Attributes:
        max_unavailable_percent: Largest share of the group that may be out of traffic, 1..50 percent.
        canary_count: Targets of the canary batch; 0 for no canary.
        batch_pause_s: Wait before a batch, in seconds.
        tail_pause_s: Wait before the third and later batches, in seconds.
        batch_mode: Whether a person lets each batch go.
        startup_timeout_s: How long verify may take, in seconds.
        ignore_verify: Go on whatever verify says.
        on_target_failure: Whether a failed target is left or restored.
        bake_policy: Whether a person or the clock (and the monitors) approves the bake and the rollout.
        bake_min_s: How long the canary takes traffic at least, in seconds.
        prestage: Hosts download while the canary bakes.
        requires_approval: Nothing begins before somebody else than who asked has approved it. A rollback needs none: it
            is what makes things good again.

    Raises:
        InvalidValueError: If a value is out of its range; names field, value and range.
    """

    max_unavailable_percent: int = 25
    canary_count: int = 1
    batch_pause_s: int = 0
    tail_pause_s: int = 0
    batch_mode: BatchMode = BatchMode.AUTO
    startup_timeout_s: int = 60
    ignore_verify: bool = False
    on_target_failure: FailurePolicy = FailurePolicy.LEAVE
    bake_policy: BakePolicy = BakePolicy.MANUAL
    bake_min_s: int = 0
    prestage: bool = True
    requires_approval: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidValueError(
                    field=name,
                    value=value,
                    expected=said("a whole number from %(low)s to %(high)s", low=low, high=high),
                )
