"""Laws of the use cases, on the in-memory store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.errors import (
    ActionNotAllowedError,
    EmptyGroupError,
    IdempotencyConflictError,
    NeverReleasedError,
)
from rollwave.domain.model import BrakeCause, Kind, Phase
from rollwave.engine.releases import Releases
from rollwave.ports.store import CommandKey
from tests.contract.store.crew import NOON, Crew, released
from tests.contract.store.worlds import MemoryWorld

KEY = CommandKey(key="start-1", digest="a" * 64)
START = cmd.Start(actor="ann")


@pytest.fixture
def world():
    world = MemoryWorld()
    world.add_group("shop")
    for number in range(4):
        world.add_instance("shop", f"s{number}")
    return world


@pytest.fixture
def crew(world):
    """A deployment that waits for its start."""
    return Crew.create(world, "shop", world.add_package("2.0"))


@pytest.fixture
def releases(world):
    return Releases(world.store)


def test_a_command_that_comes_again_changes_nothing(releases, crew):
    """It returns the deployment as it stands, even where it is not open any more (I22)."""
    started = releases.act(crew.id, START, now=NOON, command=KEY)
    with pytest.raises(ActionNotAllowedError):
        releases.act(crew.id, START, now=NOON)

    again = releases.act(crew.id, START, now=NOON, command=KEY)

    assert again.state.deployment.phase is Phase.ROLLING_OUT
    assert again.version == started.version


def test_a_command_that_comes_again_is_not_done_again(releases, crew, world):
    """Not even where it is open once more: what was braked and resumed since stays resumed."""
    brake = cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR)
    releases.act(crew.id, brake, now=NOON, command=KEY)
    releases.act(crew.id, cmd.Resume(actor="bob"), now=NOON)
    log = world.log(crew.id)

    again = releases.act(crew.id, brake, now=NOON, command=KEY)

    assert again.state.deployment.brake is None
    assert world.log(crew.id) == log


def test_a_key_stands_for_one_request(releases, crew):
    """Another request with that key is told so, whether or not what it asks for is open."""
    releases.act(crew.id, START, now=NOON, command=KEY)

    with pytest.raises(IdempotencyConflictError):
        releases.act(crew.id, START, now=NOON, command=replace(KEY, digest="b" * 64))


def test_a_command_that_is_accepted_meanwhile_counts_once(releases, crew, world):
    """Its twin commits while this one decides: the second returns what the first has made of the deployment."""
    twin = Releases(world.store)
    commit = world.store.commit

    def commit_late(*args, **kwargs):
        world.store.commit = commit
        twin.act(crew.id, START, now=NOON, command=KEY)
        return commit(*args, **kwargs)

    world.store.commit = commit_late

    after = releases.act(crew.id, START, now=NOON, command=KEY)

    assert after.state.deployment.phase is Phase.ROLLING_OUT
    assert sum(isinstance(fact, facts.CommandAccepted) for fact in world.log(crew.id)) == 1


def test_a_rollback_never_brings_what_was_not_good_before(world, releases):
    """It asks for no approval and has no canary; so neither a plan nor a command leads to a new version (I2)."""
    good, newer, never = (world.add_package(version) for version in ("1.0", "1.1", "2.0"))
    for package in (good, newer):
        released(world, "shop", package)

    def plan(goal):
        return releases.plan("shop", kind=Kind.ROLLBACK, config=DeploymentConfig(), goal=goal, actor="ann")

    assert plan(good).goal == good
    with pytest.raises(NeverReleasedError, match=r"possible: 1\.1, 1\.0;") as refused:
        plan(never)
    assert refused.value.facts["possible"] == ["1.1", "1.0"]

    crew = Crew.create(world, "shop", never)
    with pytest.raises(NeverReleasedError):
        releases.act(crew.id, cmd.GiveUp(actor="ann", rollback_to=never), now=NOON)
    assert releases.load(crew.id).state.deployment.abort is None
    assert releases.act(crew.id, cmd.GiveUp(actor="ann", rollback_to=good), now=NOON).state.deployment.abort


def test_where_nothing_was_good_a_rollback_says_so(world, releases):
    """The version is not the mistake then."""
    goal = world.add_package("1.0")
    with pytest.raises(NeverReleasedError, match="none, since nothing was"):
        releases.plan("shop", kind=Kind.ROLLBACK, config=DeploymentConfig(), goal=goal, actor="ann")


def hold_all(world, *, hold):
    for one in world.store.fleet("shop").instances:
        if not one.new:
            world.store.set_hold(one.id, hold=hold, actor="ann", reason="", at=NOON)


@pytest.fixture
def wanted(world, releases):
    """A deployment that was given up for a rollback, which cannot begin: all that has ever served is held."""
    good = world.add_package("1.0")
    released(world, "shop", good)
    crew = Crew.create(world, "shop", world.add_package("2.0"))
    crew.act(cmd.GiveUp(actor="ann", rollback_to=good))
    hold_all(world, hold=True)
    with pytest.raises(EmptyGroupError):
        releases.follow_rollback(crew.id, "shop", good, now=NOON)
    return (crew.id, "shop", good)


def test_a_rollback_that_cannot_begin_stays_asked_for(world, releases, wanted):
    """It begins as soon as it can, and once."""
    assert list(world.store.unfollowed_rollbacks()) == [wanted]
    hold_all(world, hold=False)

    rollback = releases.load(releases.follow_rollback(*wanted, now=NOON)).state.deployment

    assert (rollback.kind, rollback.goal) == (Kind.ROLLBACK, wanted[2])
    assert releases.follow_rollback(*wanted, now=NOON) == rollback.id
    assert list(world.store.unfollowed_rollbacks()) == []


def test_a_newer_deployment_takes_the_place_of_a_rollback_that_waits(world, releases, wanted):
    """Nobody expects an old wish to undo, once a hold is lifted, what was released since."""
    world.add_instance("shop", "s9", new=True)
    released(world, "shop", world.add_package("3.0"))

    hold_all(world, hold=False)

    assert list(world.store.unfollowed_rollbacks()) == []
