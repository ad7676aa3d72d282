"""Laws of groups and new deployments."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain.errors import (
    DeploymentActiveError,
    IdempotencyConflictError,
    NotFoundError,
    StateConflictError,
)
from rollwave.domain.model import BrakeCause, Kind, Phase, Standing
from rollwave.ports.store import CommandKey
from tests.contract.store.crew import NOON, Crew, planned, released

KEY = CommandKey(key="deploy-1", digest="a" * 64)


@pytest.fixture
def goal(world):
    """Package 2.0, and a group of four instances."""
    world.add_group("shop")
    for number in range(4):
        world.add_instance("shop", f"s{number}", site="AB"[number % 2])
    return world.add_package("2.0")


def test_a_deployment_begins_as_it_was_planned(world, goal):
    """It is pending, and its targets stand in rolling order, whatever the order of their ids."""
    plan = planned(world, "shop", goal, canary_count=1)
    plan = replace(plan, batches=tuple(tuple(reversed(batch)) for batch in reversed(plan.batches)))
    deployment_id = world.store.create(plan, at=NOON)

    state = world.store.load(deployment_id).state

    assert state.deployment.phase is Phase.PENDING
    assert (state.deployment.goal, state.deployment.config) == (goal, plan.config)
    assert list(state.targets) == [one for batch in plan.batches for one in batch]
    assert {target.standing for target in state.targets.values()} == {Standing.PENDING}
    assert world.log(deployment_id) == [plan]


def test_a_group_has_one_active_deployment(world, goal):
    """A second one is refused by name of the first, and leaves nothing behind, not even its command key (I5)."""
    first = Crew.create(world, "shop", goal)
    plan = planned(world, "shop", goal)

    with pytest.raises(DeploymentActiveError) as refused:
        world.store.create(plan, at=NOON, command=KEY)

    assert refused.value.facts["deployment_id"] == first.id
    assert refused.value.facts["phase"] == "pending"
    first.act(cmd.GiveUp(actor="ann"))
    assert world.store.create(plan, at=NOON, command=KEY) != first.id


def test_what_was_removed_after_the_plan_is_not_released_to(world, goal):
    """Such a plan is refused as one that came too late, and leaves nothing behind; a new one goes without it."""
    plan = planned(world, "shop", goal)
    (gone, *_), *_ = plan.batches
    world.remove_instance(gone)

    with pytest.raises(StateConflictError):
        world.store.create(plan, at=NOON, command=KEY)

    assert world.store.fleet("shop").active is None
    again = world.store.create(planned(world, "shop", goal), at=NOON, command=KEY)
    assert gone not in world.store.load(again).state.targets


def test_who_leaves_a_group_leaves_its_old_deployments(world, goal):
    """Their tables have one line less, and the group's next deployment does not know it."""
    first = released(world, "shop", goal)
    gone = max(world.store.load(first.id).state.targets)

    world.remove_instance(gone)

    assert gone not in world.store.load(first.id).state.targets
    assert gone not in {one.id for one in world.store.fleet("shop").instances}
    second = Crew.create(world, "shop", goal, kind=Kind.REROLL)
    assert gone not in second.state.targets


def test_the_group_is_free_once_its_deployment_is_over(world, goal):
    """The next deployment may come, and the group names it as the active one."""
    released(world, "shop", goal)
    assert world.store.fleet("shop").active is None

    second = Crew.create(world, "shop", goal, kind=Kind.REROLL)

    assert world.store.fleet("shop").active == (second.id, "pending")


def test_a_deployment_rests_while_no_slice_is_open(world, goal):
    """From its canary's end until somebody approves it; and no more once it is over."""
    crew = Crew.create(world, "shop", goal, canary_count=1)
    assert list(world.store.resting()) == [crew.id]

    crew.act(cmd.Start(actor="ann"))
    assert list(world.store.resting()) == []

    crew.run_all()
    assert list(world.store.resting()) == [crew.id]

    crew.act(cmd.GiveUp(actor="ann"))
    assert list(world.store.resting()) == []


def test_a_deployment_that_rests_shows_whether_a_decision_could_differ(world, goal):
    """By a version that rises with decisions and holds."""
    crew = Crew.create(world, "shop", goal)
    versions = [world.store.resting()[crew.id]]
    versions.append(world.store.resting()[crew.id])
    world.store.set_hold(max(crew.state.fleet), hold=True, actor="ann", reason="", at=NOON)
    versions.append(world.store.resting()[crew.id])
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))
    versions.append(world.store.resting()[crew.id])

    assert versions[0] == versions[1] < versions[2] < versions[3]


def test_a_command_creates_once(world, goal):
    """The same key gives the same deployment, even after it has ended; another request with that key is refused."""
    first = Crew.create(world, "shop", goal, command=KEY)
    again = world.store.create(planned(world, "shop", goal), at=NOON, command=KEY)
    assert again == first.id
    first.act(cmd.GiveUp(actor="ann"))

    assert world.store.create(planned(world, "shop", goal), at=NOON, command=KEY) == first.id
    with pytest.raises(IdempotencyConflictError):
        world.store.create(planned(world, "shop", goal), at=NOON, command=replace(KEY, digest="b" * 64))


def test_whether_a_command_was_accepted_can_be_asked(world, goal):
    """Before anything is decided: the answer is the deployment that it was about; asking uses no key up (I22)."""
    start = replace(KEY, key="start-1")
    assert world.store.accepted(KEY) is None
    crew = Crew.create(world, "shop", goal, command=KEY)
    assert world.store.accepted(start) is None
    crew.act(cmd.Start(actor="ann"), command=start)

    assert (world.store.accepted(KEY), world.store.accepted(start)) == (crew.id, crew.id)
    with pytest.raises(IdempotencyConflictError):
        world.store.accepted(replace(KEY, digest="b" * 64))


def test_what_starts_by_itself_is_due_at_once(world, goal):
    """One that waits for somebody is not."""
    waiting = Crew.create(world, "shop", goal)
    assert (world.store.next_due(), list(world.store.due(NOON))) == (None, [])
    waiting.act(cmd.GiveUp(actor="ann"))

    starting = Crew.create(world, "shop", goal, starts=True)

    assert (world.store.next_due(), list(world.store.due(NOON))) == (NOON, [starting.id])
    starting.act(cmd.TimeCame())
    assert (world.store.next_due(), list(world.store.due(NOON))) == (None, [])


def test_what_does_not_exist_is_said_so(world):
    """Groups and deployments alike."""
    with pytest.raises(NotFoundError):
        world.store.fleet("nowhere")
    with pytest.raises(NotFoundError):
        world.store.load(999)


def test_a_fleet_shows_its_instances_with_their_flags(world):
    """As they were registered, oldest first, with the canaries that the group prefers."""
    world.add_group("shop")
    first = world.add_instance("shop", "s1", port=81, site="B", new=True, version=None)
    second = world.add_instance("shop", "s2", failed=True)
    world.prefer("shop", second)

    fleet = world.store.fleet("shop")

    assert (fleet.group, fleet.app, fleet.canaries) == ("shop", "shop", (second,))
    assert [one.id for one in fleet.instances] == [first, second]
    assert [one.name for one in fleet.instances] == ["shop/s1:81", "shop/s2:80"]
    assert [(one.server, one.site, one.version) for one in fleet.instances] == [("s1", "B", None), ("s2", "A", "1.0")]
    assert [(one.new, one.failed, one.hold, one.offline) for one in fleet.instances] == [
        (True, False, False, False),
        (False, True, False, False),
    ]


def test_only_success_makes_a_package_stable(world, goal):
    """Neither a deployment under way nor one that was aborted does."""
    crew = Crew.begin(world, "shop", goal)
    assert world.store.fleet("shop").stable is None
    crew.act(cmd.GiveUp(actor="ann"))
    for claim in crew.claim_open():
        crew.finish(claim)
    assert crew.phase is Phase.ABORTED
    assert (world.store.fleet("shop").stable, world.store.fleet("shop").good) == (None, ())

    released(world, "shop", goal)

    assert world.store.fleet("shop").good == (goal,)
    assert (world.store.fleet("shop").stable, world.store.fleet("shop").before_stable) == (goal, None)


def test_two_rollbacks_lead_on_back(world, goal):
    """From 4.0 to 3.0 to 2.0, and not to 4.0 again."""
    packages = [goal, world.add_package("3.0"), world.add_package("4.0")]
    for package in packages:
        released(world, "shop", package)
    for expected in reversed(packages[:-1]):
        before = world.store.fleet("shop").before_stable
        assert before == expected
        released(world, "shop", before, kind=Kind.ROLLBACK)

    assert set(world.store.fleet("shop").good) == set(packages)
    assert (world.store.fleet("shop").stable, world.store.fleet("shop").before_stable) == (goal, None)
