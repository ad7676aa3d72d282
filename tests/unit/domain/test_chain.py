"""The chain of one target: every entry, course and stage (domain.md, stages and rule 6)."""

from __future__ import annotations

import pytest

from rollwave.domain import chain
from rollwave.domain.config import FailurePolicy
from rollwave.domain.model import Course, Entry, Stage, Standing

MARKDOWN, DOWNLOAD, INSTALL, VERIFY, MARKUP, PROVE, RESTORE = Stage
ROLL = (MARKDOWN, DOWNLOAD, INSTALL, VERIFY, MARKUP)

WAYS = {
    # (entry, course, does the proof hold): the stages of an attempt without faults, and what it becomes.
    (Entry.FULL, Course.FULL, None): (ROLL, Standing.SUCCESS),
    (Entry.FULL, Course.CANARY, None): (ROLL[:-1], Standing.VERIFIED),
    (Entry.PROVE_OUT, Course.FULL, True): ((MARKDOWN, PROVE, MARKUP), Standing.SUCCESS),
    (Entry.PROVE_OUT, Course.FULL, False): ((MARKDOWN, PROVE, DOWNLOAD, INSTALL, VERIFY, MARKUP), Standing.SUCCESS),
    (Entry.PROVE_OUT, Course.CANARY, True): ((MARKDOWN, PROVE), Standing.VERIFIED),
    (Entry.PROVE_OUT, Course.CANARY, False): ((MARKDOWN, PROVE, DOWNLOAD, INSTALL, VERIFY), Standing.VERIFIED),
    (Entry.PROVE_IN, Course.FULL, True): ((PROVE, MARKUP), Standing.SUCCESS),
    (Entry.PROVE_IN, Course.FULL, False): ((PROVE, *ROLL), Standing.SUCCESS),
    (Entry.BAKE, Course.FULL, None): ((MARKUP,), Standing.SUCCESS),
}


def drive(entry, course, *, proof=True, fail_at=None, policy=FailurePolicy.LEAVE, restore_fails_at=None):
    """Return the stages that run and what the target becomes."""
    ran = []
    following = chain.FIRST[entry]
    failed_before = False
    while isinstance(following, Stage):
        stage = following
        ran.append(stage)
        failed = stage is restore_fails_at if failed_before else stage is fail_at
        if failed or (stage is PROVE and not proof):
            following = chain.after_failure(entry=entry, stage=stage, policy=policy, failed_before=failed_before)
            failed_before = failed_before or stage is not PROVE
        else:
            following = chain.after_success(entry=entry, course=course, stage=stage, failed_before=failed_before)
    return tuple(ran), following


@pytest.mark.parametrize(("way", "expected"), WAYS.items(), ids=str)
def test_an_attempt_without_faults_runs_these_stages_in_this_order(way, expected):
    """Every entry and course; a proof that fails is no failure: it goes the whole way instead."""
    entry, course, proof = way

    assert drive(entry, course, proof=proof is not False) == expected


@pytest.mark.parametrize(("way", "stages"), [(way, stages) for way, (stages, _) in WAYS.items()], ids=str)
def test_a_stage_that_fails_ends_the_attempt(way, stages):
    """Wherever it fails, the target is FAILED and no later stage runs (I6)."""
    entry, course, proof = way
    for index, stage in enumerate(stages):
        if stage is not PROVE:
            ran, became = drive(entry, course, proof=proof is not False, fail_at=stage)

            assert (ran, became) == (stages[: index + 1], Standing.FAILED)


@pytest.mark.parametrize("stage", [DOWNLOAD, INSTALL, VERIFY])
@pytest.mark.parametrize("course", [Course.CANARY, Course.FULL])
def test_a_target_is_restored_where_the_policy_says_so(stage, course):
    """The previous version comes back and goes into traffic, on a canary too; the target still counts as failed."""
    ran, became = drive(Entry.FULL, course, fail_at=stage, policy=FailurePolicy.RESTORE)

    assert ran[-3:] == (stage, RESTORE, MARKUP)
    assert became is Standing.FAILED


@pytest.mark.parametrize("stage", [MARKDOWN, MARKUP])
def test_a_target_is_not_restored_while_its_traffic_is_in_question(stage):
    """What failed at the balancer is still in traffic, or may be: nothing may be installed there."""
    ran, became = drive(Entry.FULL, Course.FULL, fail_at=stage, policy=FailurePolicy.RESTORE)

    assert ran == ROLL[: ROLL.index(stage) + 1]
    assert became is Standing.FAILED


def test_a_canary_that_is_baked_goes_on_after_its_proof():
    """Whichever stage proved it, what follows in the baking slice is markup."""
    for proof in (VERIFY, PROVE):
        assert chain.after_success(entry=Entry.BAKE, course=Course.FULL, stage=proof) is MARKUP


def test_an_attempt_has_not_failed_before_unless_it_is_said():
    """Its markup is a success, and its failure can be restored."""
    assert chain.after_success(entry=Entry.FULL, course=Course.FULL, stage=MARKUP) is Standing.SUCCESS
    assert chain.after_failure(entry=Entry.FULL, stage=VERIFY, policy=FailurePolicy.RESTORE) is RESTORE


@pytest.mark.parametrize("stage", [RESTORE, MARKUP])
def test_a_restoring_that_fails_is_not_restored_again(stage):
    """One way back, tried once."""
    ran, became = drive(Entry.FULL, Course.FULL, fail_at=VERIFY, policy=FailurePolicy.RESTORE, restore_fails_at=stage)

    assert ran.count(RESTORE) == 1
    assert ran[-1] is stage
    assert became is Standing.FAILED


@pytest.mark.parametrize("entry", Entry)
def test_traffic_comes_only_after_a_proof(entry):
    """On every way through the tables, the stage before markup proves what runs: verify or prove (I3)."""
    before_markup = {stage for stage, following in chain.AFTER_SUCCESS[entry].items() if following is MARKUP}

    assert before_markup <= {VERIFY, PROVE}


@pytest.mark.parametrize("entry", Entry)
def test_the_tables_are_complete(entry):
    """Every stage that a way can reach has a successor, for every outcome."""
    reached = {chain.FIRST[entry]}
    while True:
        following = {chain.AFTER_SUCCESS[entry][stage] for stage in reached}
        if PROVE in reached:
            following.add(chain.AFTER_FAILED_PROOF[entry])
        more = {stage for stage in following if isinstance(stage, Stage)} | reached
        if more == reached:
            break
        reached = more

    assert reached <= chain.AFTER_SUCCESS[entry].keys()
    assert (entry in chain.AFTER_FAILED_PROOF) == (PROVE in reached)
