"""Every action says in figures what it will do, before it does it, wherever a release stands."""

from __future__ import annotations

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions, retryable
from rollwave.domain.commands import Action
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import BrakeCause, Standing
from rollwave.web.insight import gate
from rollwave.web.insight.consequences import DANGEROUS, consequences
from rollwave.web.insight.duration import duration
from rollwave.web.portal import attention
from rollwave.web.portal.course import steps, story
from tests.stage import FULL, UNWELL, Play, make_group

CONFIG = DeploymentConfig(prestage=False, max_unavailable_percent=20, canary_count=2)


@pytest.fixture
def play(django_database) -> Play:
    return Play("shop-prod", make_group("shop-prod", 30), config=CONFIG)


def scenes(play: Play):
    yield "canary"
    yield play.finish()
    yield play.act(cmd.Bake)
    yield play.finish()
    yield play.act(cmd.RollOut)
    yield play.until(8)
    for failure in (UNWELL, FULL, UNWELL, FULL, UNWELL, UNWELL):
        flying = sorted(play.flying())
        yield play.advance(flying[:1], {flying[0]: failure})
    yield play.finish()
    yield play.act(cmd.ApplyBrake, cause=BrakeCause.OPERATOR) if not play.state.deployment.brake else None


def test_every_open_action_says_something_with_a_figure_or_a_version(play):
    seen: set[Action] = set()
    for _ in scenes(play):
        state = play.state
        for action in open_actions(state):
            seen.add(action)
            said = consequences(state, action)
            assert said.title.endswith("?")
            assert any(letter.isdigit() for letter in " ".join(said.sentences))
            assert said.is_dangerous == (action in DANGEROUS)

    assert seen >= {Action.BAKE, Action.ROLLOUT, Action.BRAKE, Action.RETRY, Action.ABORT, Action.ROLLBACK}


def test_failures_come_together_by_cause_and_each_has_its_own_retry(play):
    for _ in scenes(play):
        pass
    state = play.state
    causes = attention.causes(state)

    assert [(one.code, one.targets) for one in causes] == [("health.timeout", 4), ("host.disk_full", 2)]
    assert sum(one.retryable for one in causes) == len(retryable(state)) == 6
    for one in causes:
        assert consequences(state, Action.RETRY, cause=one.code).title == f"Retry {one.targets} targets?"
        assert "failed for other reasons" in " ".join(consequences(state, Action.RETRY, cause=one.code).sentences)


def test_the_stage_line_goes_from_left_to_right(play):
    """Done, then what is now or has failed, then what is to come: in every scene."""
    rank = {"done": 0, "now": 1, "failed": 1, "todo": 2}
    for _ in scenes(play):
        line = [rank[one.standing] for one in steps(play.state, story(play.id), now=play.clock.now())]
        assert line == sorted(line)
        assert line.count(1) <= 1


def test_the_gate_is_braked_when_the_release_is(play):
    for _ in scenes(play):
        state = play.state
        told = gate.gate(state)
        assert (told.word == "Braked") == (state.deployment.brake is not None)
        failed = sum(one.standing is Standing.FAILED for one in state.targets.values())
        if told.word == "Passing":
            assert told.detail == f"{failed} failed, the brake comes at 6"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (8.4, "8 s"), (60, "1 m"), (192, "3 m 12 s"), (3600, "1 h"), (7500, "2 h 5 m")],
)
def test_a_span_says_nothing_that_is_zero(seconds, said):
    assert duration(seconds) == said
