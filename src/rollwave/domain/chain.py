"""
The chain of one target: which stage follows which. A worker drives it; nothing here knows about batches.

Source: domain.md, stages and rule 6.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rollwave.domain.config import FailurePolicy
from rollwave.domain.model import Course, Entry, Stage, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST: Final = MappingProxyType(
    {
        Entry.FULL: Stage.MARKDOWN,
        Entry.PROVE_OUT: Stage.MARKDOWN,
        Entry.PROVE_IN: Stage.PROVE,
        Entry.BAKE: Stage.MARKUP,
    }
)
"""The stage with which an attempt begins."""

_ROLL: Final[Mapping[Stage, Stage | Standing]] = {
    Stage.MARKDOWN: Stage.DOWNLOAD,
    Stage.DOWNLOAD: Stage.INSTALL,
    Stage.INSTALL: Stage.VERIFY,
    Stage.VERIFY: Stage.MARKUP,
    Stage.MARKUP: Standing.SUCCESS,
}

AFTER_SUCCESS: Final[Mapping[Entry, Mapping[Stage, Stage | Standing]]] = MappingProxyType(
    {
        Entry.FULL: MappingProxyType(_ROLL),
        Entry.PROVE_OUT: MappingProxyType({**_ROLL, Stage.MARKDOWN: Stage.PROVE, Stage.PROVE: Stage.MARKUP}),
        Entry.PROVE_IN: MappingProxyType({**_ROLL, Stage.PROVE: Stage.MARKUP}),
        # A verified canary stands after its verify, or after the proof that stood in for it.
        Entry.BAKE: MappingProxyType(
            {Stage.VERIFY: Stage.MARKUP, Stage.PROVE: Stage.MARKUP, Stage.MARKUP: Standing.SUCCESS}
        ),
    }
)
"""What follows a stage that succeeded: the next stage, or what the target has become."""

AFTER_FAILED_PROOF: Final = MappingProxyType(
    {
        Entry.PROVE_OUT: Stage.DOWNLOAD,
        Entry.PROVE_IN: Stage.MARKDOWN,
    }
)
"""A proof that fails is no failure of the target: it goes the whole way instead."""

RESTORABLE: Final = frozenset({Stage.DOWNLOAD, Stage.INSTALL, Stage.VERIFY})
"""Stages after whose failure the previous version can be brought back: the target is drained, and the host answered."""


def after_success(*, entry: Entry, course: Course, stage: Stage, failed_before: bool = False) -> Stage | Standing:
    """
    Return what follows *stage*, which succeeded.

    Args:
        entry: How the attempt entered the chain.
        course: How far the slice drives: a canary stops before markup and waits.
        stage: The stage that succeeded.
        failed_before: The attempt failed and is being restored: its markup ends it as FAILED.
    """
    if stage is Stage.RESTORE:
        return Stage.MARKUP
    if failed_before and stage is Stage.MARKUP:
        return Standing.FAILED
    following = AFTER_SUCCESS[entry][stage]
    if course is Course.CANARY and following is Stage.MARKUP:
        return Standing.VERIFIED
    return following


def after_failure(
    *, entry: Entry, stage: Stage, policy: FailurePolicy, failed_before: bool = False
) -> Stage | Standing:
    """
    Return what follows *stage*, which failed: the next stage, or FAILED.

    Args:
        entry: How the attempt entered the chain.
        stage: The stage that failed.
        policy: Whether a failed target is restored; RESTORE only where there is a previous version.
        failed_before: The attempt failed already, so this is the restoring that failed.
    """
    if stage is Stage.PROVE:
        return AFTER_FAILED_PROOF[entry]
    if policy is FailurePolicy.RESTORE and stage in RESTORABLE and not failed_before:
        return Stage.RESTORE
    return Standing.FAILED
