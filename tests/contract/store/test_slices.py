"""Laws of slices: one owner at a time, fenced by its epoch, and told of recalls."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.config import FailurePolicy
from rollwave.domain.errors import FencedError, RecalledError
from rollwave.domain.model import BrakeCause, Course, Entry, Progress, Stage, Standing
from tests.contract.store.crew import LEASE, NOON, Crew
from tests.contract.store.worlds import signed

SECOND = timedelta(seconds=1)


@pytest.fixture
def goal(world):
    """Package 2.0, and a group of four instances on 1.0."""
    world.add_group("shop")
    for number in range(4):
        world.add_instance("shop", f"s{number}", port=8000 + number)
    return world.add_package("2.0")


@pytest.fixture
def crew(world, goal):
    """A deployment whose first two targets are to be driven, as slice 1."""
    return Crew.begin(world, "shop", goal)


def test_a_slice_has_one_owner(crew):
    """While its lease lasts nobody else gets it, and neither does its owner once more."""
    assert crew.claim(1, owner="ann") is not None

    assert crew.claim(1, owner="bob") is None
    assert crew.claim(1, owner="ann") is None
    assert crew.claim(1, owner="bob", now=NOON + LEASE - SECOND) is None


def test_a_claim_tells_how_long_its_slice_has_waited_and_for_whom(crew):
    """When the slice was opened, and whether somebody had it before: a lease that ran out, or was taken away."""
    first = crew.claim(1, owner="ann", now=NOON + SECOND)
    second = crew.claim(1, owner="bob", now=NOON + SECOND + LEASE)

    assert (first.opened_at, first.is_takeover) == (NOON, False)
    assert (second.opened_at, second.is_takeover) == (NOON, True)


def test_a_slice_that_does_not_exist_cannot_be_claimed(crew):
    """A message may be about anything."""
    assert crew.claim(99) is None


def test_a_lease_that_is_over_can_be_taken_over(crew):
    """Under a higher epoch, and whoever had it before is fenced: nothing it writes is recorded (I9)."""
    first = crew.claim(1, owner="ann")
    one = crew.jobs(first)[0].target.instance_id

    second = crew.claim(1, owner="bob", now=NOON + LEASE)

    assert second.epoch > first.epoch
    with pytest.raises(FencedError) as fenced:
        crew.write(first, crew.saw(one, Stage.MARKDOWN))
    assert fenced.value.key == (crew.id, 1)
    crew.write(second, crew.saw(one, Stage.MARKDOWN))


def test_writing_renews_the_lease(crew):
    """Even an empty record does."""
    claim = crew.claim(1)

    crew.write(claim, lease_until=NOON + 3 * LEASE)

    assert crew.claim(1, now=NOON + 2 * LEASE) is None
    assert crew.claim(1, now=NOON + 3 * LEASE) is not None


def test_an_owner_that_was_late_goes_on_while_nobody_took_over(crew):
    """A lease that is over costs nothing until somebody claims the slice."""
    claim = crew.claim(1)
    crew.now = NOON + 2 * LEASE

    crew.write(claim)

    assert crew.claim(1, owner="bob") is None


def test_epochs_grow_over_all_slices(world, goal):
    """Whichever slice of whichever deployment: a later claim has a higher epoch."""
    world.add_group("books")
    world.add_instance("books", "b1")
    shop = Crew.begin(world, "shop", goal)
    books = Crew.begin(world, "books", goal)

    epochs = [
        crew.claim(1, now=NOON + turn * LEASE).epoch for turn, crew in enumerate((shop, books, shop, books, shop))
    ]

    assert epochs == sorted(set(epochs))


def test_a_closed_slice_is_over(crew):
    """It cannot be claimed again, and its last owner is fenced."""
    claim = crew.claim(1)
    crew.finish(claim)

    assert crew.claim(1, now=NOON + 2 * LEASE) is None
    with pytest.raises(FencedError):
        crew.write(claim)


def test_a_job_says_all_that_its_effects_need(world, goal, crew):
    """Host, package, member, settings: of the target's own instance."""
    claim = crew.claim(1)
    first = crew.state.fleet[min(crew.state.fleet)]

    assert claim.course is Course.FULL
    assert [job.target.instance_id for job in crew.jobs(claim)] == [one.instance_id for one in crew.state.in_flight]
    job = crew.jobs(claim)[0]
    assert job.target == crew.target(first.id)
    assert job.plan.deployment_id == crew.id
    assert job.plan.package == signed("2.0")
    assert (job.plan.host.instance, job.plan.host.server, job.plan.host.port) == (first.name, first.server, 8000)
    assert (job.balancer, job.member.name, job.member.port, job.member.pool) == ("lb", first.name, 8000, "shop")
    assert (job.executor, job.restores, job.not_before) == ("local", False, None)
    assert job.plan.previous_version is None
    assert len({job.plan.host.port for job in crew.jobs(claim)}) == len(crew.jobs(claim))


def test_a_job_knows_the_way_back(world, goal):
    """The previous version, and whether a failed target goes back to it, and the deployment's own settings."""
    Crew.begin(world, "shop", goal).run_all()
    crew = Crew.begin(
        world,
        "shop",
        world.add_package("3.0"),
        on_target_failure=FailurePolicy.RESTORE,
        startup_timeout_s=7,
        ignore_verify=True,
    )

    job = crew.jobs(crew.claim(1))[0]

    assert job.restores
    assert job.plan.previous_version == "2.0"
    assert (job.plan.startup_timeout_s, job.plan.ignore_verify) == (7, True)


def test_a_group_without_a_balancer_has_no_members(world, goal):
    """Its stages at the balancer are nothing to do."""
    world.add_group("books", balancer="")
    world.add_instance("books", "b1")

    crew = Crew.begin(world, "books", goal)
    (job,) = crew.jobs(crew.claim(1))

    assert (job.member, job.balancer) == (None, "")


def test_whoever_takes_over_goes_on_from_the_records(world, crew):
    """The jobs of the next claim stand where the last record left them."""
    claim = crew.claim(1)
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    crew.write(claim, crew.saw(one, Stage.INSTALL, Progress.UNKNOWN), crew.saw(other, Stage.MARKUP, Progress.SUCCESS))

    again = crew.claim(1, now=NOON + LEASE)

    stands = {job.target.instance_id: (job.target.stage, job.target.progress) for job in crew.jobs(again)}
    assert stands == {one: (Stage.INSTALL, Progress.UNKNOWN), other: (Stage.MARKUP, Progress.SUCCESS)}


def test_settled_targets_are_no_jobs(crew):
    """Of a slice of which one target has failed, only the other one is left to drive."""
    claim = crew.claim(1)
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    settlement = cmd.Settlement(
        instance_id=one, standing=Standing.LEFT, stage=Stage.PROVE, progress=Progress.FAILURE, version="1.0"
    )
    crew.settle(claim, settlement)

    again = crew.claim(1, now=NOON + LEASE)

    assert [job.target.instance_id for job in crew.jobs(again)] == [other]


def test_a_prestage_fetches_for_those_that_have_not_begun(world, goal):
    """Its targets stay pending, and one that was admitted meanwhile is left to its own slice."""
    crew = Crew.begin(world, "shop", goal, prestage=True, max_unavailable_percent=25)
    (number,) = [one.number for one in crew.state.deployment.slices.values() if one.course is Course.PRESTAGE]
    later = [target.instance_id for target in crew.state.targets.values() if target.batch > 1]

    claim = crew.claim(number)

    assert [job.target.instance_id for job in crew.jobs(claim)] == later
    assert {job.target.standing for job in crew.jobs(claim)} == {Standing.PENDING}
    (full,) = crew.claim_open()
    crew.finish(full)
    again = crew.claim(number, now=NOON + 2 * LEASE)
    assert [job.target.instance_id for job in crew.jobs(again)] == later[1:]


def test_the_entry_of_a_target_is_the_one_it_was_admitted_with(world, goal):
    """A target that runs the goal already is to be proven where it stands."""
    running = world.add_instance("shop", "late", version="2.0")
    crew = Crew.begin(world, "shop", goal).run_all()

    assert crew.target(running).entry is Entry.PROVE_IN


# --- recalls ---


def test_a_hold_recalls_the_instance_from_its_worker(world, crew):
    """The next write is refused, until the worker has looked which instances may not take part (I23)."""
    claim = crew.claim(1)
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    world.store.set_hold(one, hold=True, actor="ann", reason="odd", at=NOON)

    with pytest.raises(RecalledError) as recalled:
        crew.write(claim, crew.saw(other, Stage.MARKDOWN))

    assert recalled.value.key == claim.key
    recalls, gone = world.store.held(claim.key)
    assert recalls > claim.recalls
    assert gone == {one}
    crew.write(claim, crew.saw(other, Stage.MARKDOWN), recalls=recalls)


def test_a_server_that_goes_offline_recalls_its_instances(world, crew):
    """The same; and who has to look again is told."""
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id

    assert list(world.set_offline(crew.state.fleet[one].server, offline=True)) == [crew.id]

    with pytest.raises(RecalledError):
        crew.write(claim)
    assert world.store.held(claim.key)[1] == {one}


def test_a_hold_of_what_nobody_drives_recalls_nobody(world, crew):
    """Workers of other instances go on undisturbed."""
    claim = crew.claim(1)
    driven = {job.target.instance_id for job in crew.jobs(claim)}
    idle = next(one for one in crew.state.targets if one not in driven)

    assert world.store.set_hold(idle, hold=True, actor="ann", reason="", at=NOON) == crew.id

    crew.write(claim)


def test_a_hold_that_was_lifted_again_lets_the_worker_go_on(world, crew):
    """It looks, and finds nobody missing."""
    claim = crew.claim(1)
    one = crew.jobs(claim)[0].target.instance_id
    for hold in (True, False):
        world.store.set_hold(one, hold=hold, actor="ann", reason="", at=NOON)

    recalls, gone = world.store.held(claim.key)

    assert gone == frozenset()
    crew.write(claim, crew.saw(one, Stage.MARKDOWN), recalls=recalls)


def test_a_claim_after_a_recall_knows_of_it(world, crew):
    """Who claims a slice sees the recalls so far, and is not refused for them."""
    world.store.set_hold(crew.state.in_flight[0].instance_id, hold=True, actor="ann", reason="", at=NOON)

    crew.write(crew.claim(1))


# --- the outbox ---


def test_an_open_slice_is_sent_once(world, crew):
    """And again where it was sent long ago, and nobody has it."""
    assert list(world.store.undispatched(now=NOON, stale_before=NOON - SECOND)) == [(crew.id, 1)]
    assert list(world.store.undispatched(now=NOON + SECOND, stale_before=NOON - SECOND)) == []
    later = NOON + 2 * SECOND
    assert list(world.store.undispatched(now=later, stale_before=NOON + SECOND)) == [(crew.id, 1)]


def test_a_slice_that_somebody_has_is_not_sent(world, crew):
    """Until the lease is over: so a dead worker's slice comes to another one."""
    crew.claim(1)

    assert list(world.store.undispatched(now=NOON, stale_before=NOON - SECOND)) == []
    assert list(world.store.undispatched(now=NOON + LEASE, stale_before=NOON)) == [(crew.id, 1)]


def test_a_slice_whose_worker_died_is_sent_at_once_however_lately_it_was_sent(world, crew):
    """The message that brought it to the dead worker is used up: only the end of the lease is waited for."""
    long_ago = NOON - SECOND
    assert list(world.store.undispatched(now=NOON, stale_before=long_ago)) == [(crew.id, 1)]
    crew.claim(1)

    over = NOON + LEASE
    assert list(world.store.undispatched(now=over - SECOND, stale_before=long_ago)) == []
    assert list(world.store.undispatched(now=over, stale_before=long_ago)) == [(crew.id, 1)]
    assert list(world.store.undispatched(now=over, stale_before=long_ago)) == []


def test_a_closed_slice_is_not_sent(world, goal):
    """Neither one that was finished nor a prestage that a brake closed."""
    crew = Crew.begin(world, "shop", goal, prestage=True)
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))
    (claim,) = crew.claim_open()
    crew.finish(claim)

    assert list(world.store.undispatched(now=NOON, stale_before=NOON)) == []


def test_a_process_that_stops_gives_back_what_it_has(world, crew):
    """Nobody need wait for its leases to run out; what others have stays theirs."""
    crew.claim(1, owner="ann")

    assert world.store.release(owner="bob") == 0
    assert world.store.release(owner="ann") == 1

    assert crew.claim(1, owner="bob") is not None


def test_the_only_process_takes_every_slice(world, crew):
    """After a restart: what its predecessor had is sent again at once, and its predecessor is fenced."""
    before = crew.claim(1)
    world.store.undispatched(now=NOON, stale_before=NOON)

    assert world.store.release() == 1
    assert world.store.release() == 0

    assert list(world.store.undispatched(now=NOON, stale_before=NOON - SECOND)) == [(crew.id, 1)]
    assert crew.claim(1) is not None
    with pytest.raises(FencedError):
        crew.write(before)
