"""The phases of a deployment as a table, so that one test walks every pair. Source: domain.md, phases."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

from rollwave.domain.model import Phase


class Trigger(Enum):
    """What can move a deployment from one phase to another."""

    START = "start"
    START_WITHOUT_CANARY = "start_without_canary"
    CANARY_VERIFIED = "canary_verified"
    CANARY_FAILED = "canary_failed"
    CANARY_LEFT = "canary_left"
    BAKE = "bake"
    BAKED = "baked"
    BAKE_FAILED = "bake_failed"
    ROLL_OUT = "roll_out"
    ALL_SUCCEEDED = "all_succeeded"
    SOME_FAILED = "some_failed"
    RETRY = "retry"
    ABORTED = "aborted"


TRANSITIONS: Final = MappingProxyType(
    {
        (Phase.PENDING, Trigger.START): Phase.CANARY,
        (Phase.PENDING, Trigger.START_WITHOUT_CANARY): Phase.ROLLING_OUT,
        (Phase.CANARY, Trigger.CANARY_VERIFIED): Phase.VERIFY_SUCCESS,
        (Phase.CANARY, Trigger.CANARY_FAILED): Phase.VERIFY_FAILURE,
        (Phase.VERIFY_SUCCESS, Trigger.CANARY_LEFT): Phase.CANARY,
        (Phase.VERIFY_SUCCESS, Trigger.BAKE): Phase.BAKING,
        (Phase.BAKING, Trigger.BAKED): Phase.BAKE_SUCCESS,
        (Phase.BAKING, Trigger.BAKE_FAILED): Phase.BAKE_FAILURE,
        (Phase.BAKE_SUCCESS, Trigger.ROLL_OUT): Phase.ROLLING_OUT,
        (Phase.ROLLING_OUT, Trigger.ALL_SUCCEEDED): Phase.SUCCESS,
        (Phase.ROLLING_OUT, Trigger.SOME_FAILED): Phase.FAILURE,
        # A retry; the braked phases among these are asked for the brake by the command itself.
        (Phase.CANARY, Trigger.RETRY): Phase.CANARY,
        (Phase.VERIFY_SUCCESS, Trigger.RETRY): Phase.CANARY,
        (Phase.VERIFY_FAILURE, Trigger.RETRY): Phase.CANARY,
        (Phase.BAKING, Trigger.RETRY): Phase.BAKING,
        (Phase.BAKE_FAILURE, Trigger.RETRY): Phase.BAKING,
        (Phase.ROLLING_OUT, Trigger.RETRY): Phase.ROLLING_OUT,
        (Phase.FAILURE, Trigger.RETRY): Phase.ROLLING_OUT,
        **{(phase, Trigger.ABORTED): Phase.ABORTED for phase in Phase if not phase.is_final},
    }
)
"""Every transition there is; a pair that is not here cannot happen."""
