"""
Releases of any kind to groups of up to thirty instances, on servers that a neighbor shares, told as random stories.

Reports come late, together, in any order and twice; instances are held, go offline and come back; the neighbor moves;
people try every command whether it is open or not. Whatever happened: once it stops, the release comes to its end.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions, why_not
from rollwave.domain.commands import Action
from rollwave.domain.config import BakePolicy, BatchMode, DeploymentConfig, FailurePolicy
from rollwave.domain.decide import Decision, decide
from rollwave.domain.errors import ActionNotAllowedError, InvalidValueError
from rollwave.domain.evolve import fold, planned
from rollwave.domain.model import BrakeCause, Instance, Kind, Neighbor, Phase, Standing, State
from rollwave.domain.neighbors import is_working, neighbor
from rollwave.domain.progress import next_due
from rollwave.domain.status import summarize
from tests.property.domain.world import (
    GOAL,
    OLD,
    Outcome,
    absorb,
    begin,
    check,
    check_rest,
    decided,
    follow_flags,
    outcomes,
    work,
)

ONWARD = (
    Action.APPROVE,
    Action.START,
    Action.RETRY,
    Action.RESUME,
    Action.BAKE,
    Action.ROLLOUT,
    Action.NEXT,
    Action.BRAKE,
)
"""
What a person does who wants the release to come to its end, in this order. The brake is the last resort: a failed
target may take the room that a neighbor on its server had for the next one, and a retry wants the brake first.
"""

rarely = st.sampled_from((*(False,) * 7, True))


@st.composite
def groups(draw, *, most: int, kind: Kind, servers: st.SearchStrategy[int]) -> tuple[Instance, ...]:
    """A group in any condition, with at least one instance that a deployment of *kind* can plan."""

    def instance(number: int) -> Instance:
        new = kind is Kind.SCALE_OUT if number == 1 else draw(rarely)
        return Instance(
            id=number,
            name=f"shop/{number}",
            server=f"s{draw(servers)}",
            site=draw(st.sampled_from("ABC")),
            hold=number > 1 and draw(rarely),
            offline=number > 1 and draw(rarely),
            failed=draw(rarely),
            new=new,
            version=None if new else draw(st.sampled_from((OLD.version, OLD.version, OLD.version, GOAL.version))),
        )

    return tuple(instance(number) for number in range(1, draw(st.integers(1, most)) + 1))


configs = st.builds(
    DeploymentConfig,
    max_unavailable_percent=st.integers(1, 50),
    canary_count=st.integers(0, 3),
    batch_pause_s=st.sampled_from((0, 0, 60)),
    tail_pause_s=st.sampled_from((0, 0, 10)),
    bake_min_s=st.sampled_from((0, 300)),
    batch_mode=st.sampled_from(BatchMode),
    bake_policy=st.sampled_from(BakePolicy),
    on_target_failure=st.sampled_from(FailurePolicy),
    prestage=st.booleans(),
    requires_approval=st.booleans(),
)


class Release(RuleBasedStateMachine):
    """One deployment and everybody who has a hand in it."""

    @initialize(
        data=st.data(),
        config=configs,
        kind=st.sampled_from(Kind),
        previous=st.sampled_from((OLD, OLD, None)),
        other_percent=st.integers(1, 50),
        reads_own_work=st.booleans(),
    )
    def plan(self, data, config, kind, previous, other_percent, reads_own_work) -> None:
        # Sometimes two on one server, and often where the neighbor stands.
        fleet = data.draw(groups(most=30, kind=kind, servers=st.integers(1, 30)))
        # The neighbor has one on a server at most: more could be more than it can ever do without.
        servers = iter(data.draw(st.permutations(range(1, 17))))
        others = data.draw(groups(most=8, kind=Kind.ROLLOUT, servers=st.builds(lambda: next(servers))))
        self.others = {one.id: replace(one, version=None) for one in others}
        self.other_percent = other_percent
        self.reads_own_work = reads_own_work
        self.log = []
        self.undelivered: list[cmd.SliceReported] = []
        self.delivered: list[cmd.SliceReported] = []
        self.world, self.planned = begin(fleet, config, kind=kind, previous=previous)
        self.fleet = {one.id: one for one in fleet}

    # --- the engine's part: load, decide, commit ---

    def load(self) -> State:
        """Return the state as a store would: with what is going on elsewhere."""
        state = self.world.state
        theirs = {one.server for one in self.others.values() if is_working(one, None)}
        fleet = {one: replace(each, busy_elsewhere=each.server in theirs) for one, each in state.fleet.items()}
        return state.having(fleet=fleet, neighbors=(self.neighbor(state, counts_ours=self.reads_own_work),))

    def neighbor(self, state: State, *, counts_ours: bool) -> Neighbor:
        ours = {one.server for one in state.fleet.values() if is_working(one, state.targets.get(one.id))}
        fleet = [replace(one, busy_elsewhere=counts_ours and one.server in ours) for one in self.others.values()]
        return neighbor("blog", fleet=fleet, targets={}, deployment=None, max_unavailable_percent=self.other_percent)

    def tell(self, event: cmd.Command | cmd.Observation) -> Decision:
        state = self.load()
        decision = decided(state, event, self.world.now)
        self.log.extend(decision.facts)
        before = self.neighbor(state, counts_ours=True)
        self.world = absorb(self.world._replace(state=state), decision)
        after = self.neighbor(self.world.state, counts_ours=True)
        taken = sum(before.in_by_server.values()) - sum(after.in_by_server.values())
        assert taken <= before.room_count or taken <= 0, "I1: the neighbor has more out than allowed"
        return decision

    # --- workers ---

    def workable(self) -> list[int]:
        settling = {told.instance_id for report in self.undelivered for told in report.settled}
        return [one for one in self.world.drives if one not in settling]

    def perform(self, instance_id: int, outcome: Outcome) -> None:
        self.world, report = work(self.world, instance_id, outcome)
        if report:
            self.undelivered.append(report)

    @precondition(lambda self: self.workable())
    @rule(data=st.data(), steps=st.integers(1, 12))
    def work(self, data, steps) -> None:
        for _ in range(steps):
            if workable := self.workable():
                instance_id = data.draw(st.sampled_from(workable))
                self.perform(instance_id, data.draw(st.sampled_from(outcomes(self.world, instance_id))))

    @precondition(lambda self: self.workable())
    @rule(data=st.data())
    def work_well(self, data) -> None:
        """Some targets run to the end of their chain without a fault."""
        for instance_id in data.draw(st.sets(st.sampled_from(self.workable()), min_size=1)):
            while instance_id in self.workable():
                self.perform(instance_id, outcomes(self.world, instance_id)[0])

    @precondition(lambda self: self.undelivered)
    @rule(data=st.data(), everything=st.booleans())
    def deliver(self, data, everything) -> None:
        """Some of the reports arrive, those of one slice together."""
        indexes = range(len(self.undelivered))
        chosen = set(indexes) if everything else data.draw(st.sets(st.sampled_from(indexes), min_size=1))
        arriving = [self.undelivered[index] for index in data.draw(st.permutations(sorted(chosen)))]
        self.undelivered = [report for index, report in enumerate(self.undelivered) if index not in chosen]
        for number in dict.fromkeys(report.slice for report in arriving):
            together = [report for report in arriving if report.slice == number]
            self.arrive(
                cmd.SliceReported(
                    slice=number,
                    settled=tuple(told for report in together for told in report.settled),
                    failing=tuple(told for report in together for told in report.failing),
                )
            )

    def arrive(self, report: cmd.SliceReported) -> None:
        settled = {told.instance_id for told in report.settled}
        drives = {one: drive for one, drive in self.world.drives.items() if one not in settled}
        self.world = self.world._replace(drives=drives)
        self.tell(report)
        self.delivered.append(report)

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def deliver_again(self, data) -> None:
        """A report that is late or doubled changes nothing (I10)."""
        report = data.draw(st.sampled_from(self.delivered))
        assert decide(self.world.state, report, now=self.world.now).facts == ()

    @precondition(lambda self: self.prestage())
    @rule(data=st.data())
    def fetch(self, data) -> None:
        self.tell(cmd.SliceReported(slice=data.draw(st.sampled_from(self.prestage())), done=True))

    def prestage(self) -> list[int]:
        driven = {target.slice for target in self.world.state.in_flight}
        return [number for number in self.world.state.deployment.slices if number not in driven]

    # --- people, monitors, the clock ---

    @rule(data=st.data(), action=st.sampled_from(Action))
    def ask(self, data, action) -> None:
        """Somebody tries a command: what is open is accepted, what is not changes nothing."""
        event = data.draw(self.command(action))
        reason = why_not(self.load(), action)
        if reason:
            with pytest.raises(ActionNotAllowedError):
                self.tell(event)
            return
        try:
            self.tell(event)
        except InvalidValueError:
            assert action in (Action.RETRY, Action.RAISE_LIMIT)

    def command(self, action: Action) -> st.SearchStrategy[cmd.Command]:
        if action in ASKED and action not in (Action.RETRY, Action.BRAKE):
            return st.just(ASKED[action])
        ids = st.none() | st.frozensets(st.sampled_from(sorted(self.world.state.targets)))
        percents = st.integers(0, 60)
        return {
            Action.BRAKE: st.builds(cmd.ApplyBrake, actor=st.just("ann"), cause=st.sampled_from(BrakeCause)),
            Action.RETRY: st.builds(cmd.Retry, actor=st.just("ann"), instance_ids=ids),
            Action.RAISE_LIMIT: st.builds(cmd.RaiseLimit, actor=st.just("ann"), max_unavailable_percent=percents),
            Action.ABORT: st.just(cmd.GiveUp(actor="ann")),
            Action.ROLLBACK: st.just(cmd.GiveUp(actor="ann", rollback_to=OLD)),
        }[action]

    @rule()
    def go_on(self) -> None:
        """Somebody does what is asked for next, so that stories get somewhere."""
        wanted = [action for action in ONWARD[:-1] if action in open_actions(self.load())]
        if wanted:
            self.tell(ASKED[wanted[0]])

    @rule(data=st.data(), flag=st.sampled_from(("hold", "offline")))
    def change_fleet(self, data, flag) -> None:
        instance_id = data.draw(st.sampled_from(sorted(self.world.state.fleet)))
        self.set_flags({instance_id: {flag: not getattr(self.world.state.fleet[instance_id], flag)}})

    def set_flags(self, flags: dict[int, dict[str, bool]]) -> None:
        fleet = self.world.state.fleet
        changed = {one: replace(fleet[one], **changes) for one, changes in flags.items()}
        self.world = follow_flags(self.world._replace(state=self.world.state.having(fleet={**fleet, **changed})))
        self.tell(cmd.FleetChanged())

    @rule(data=st.data(), flag=st.sampled_from(("hold", "failed")))
    def move_neighbor(self, data, flag) -> None:
        """The neighbor takes an instance out or puts it back; ours on that server are busy meanwhile."""
        other = self.others[data.draw(st.sampled_from(sorted(self.others)))]
        self.others[other.id] = replace(other, **{flag: not getattr(other, flag)})
        self.tell(cmd.FleetChanged())

    @rule(seconds=st.sampled_from((0, 9, 10, 60, 300)))
    def wait(self, seconds) -> None:
        self.world = self.world._replace(now=self.world.now + timedelta(seconds=seconds))
        self.tell(cmd.TimeCame())

    @precondition(lambda self: self.world.state.deployment.phase is Phase.BAKING)
    @rule()
    def condemn(self) -> None:
        self.tell(cmd.BakeJudged(actor="monitor", reason="errors rise"))

    # --- the laws that hold at every moment, and at the end ---

    @invariant()
    def laws_hold(self) -> None:
        check(self.world)
        check_rest(self.world.state, self.world.now)

    def teardown(self) -> None:
        self.come_to_the_end()
        replayed = fold(planned(1, self.planned, fleet=self.fleet), self.log)
        assert replayed.deployment == self.world.state.deployment, "I21: the log tells another story"
        assert replayed.targets == self.world.state.targets, "I21: the log tells another story"
        for one, instance in self.world.state.fleet.items():
            told = replayed.fleet[one]
            assert (told.failed, told.new, told.version) == (instance.failed, instance.new, instance.version), "I21"

    def come_to_the_end(self) -> None:
        """With no more faults and nobody held, it ends: in SUCCESS, or in ABORTED where it was given up (I19)."""
        self.others = {one: replace(each, hold=False, failed=False) for one, each in self.others.items()}
        world_fleet, targets = self.world.state.fleet, self.world.state.targets
        # A broken instance that is no target can only be left aside: nobody works on it.
        aside = {one for one, each in world_fleet.items() if each.failed and one not in targets}
        self.set_flags({one: {"hold": one in aside, "offline": False} for one in world_fleet})
        for _ in range(20 * len(targets) + 50):
            if self.world.state.deployment.phase.is_final:
                break
            self.one_step_on()
        phase, told = self.world.state.deployment.phase, summarize(self.world.state)
        assert phase is (Phase.ABORTED if self.world.state.deployment.abort else Phase.SUCCESS), f"I19: stuck: {told}"
        if phase is Phase.SUCCESS:
            assert {target.standing for target in self.world.state.targets.values()} <= {
                Standing.SUCCESS,
                Standing.LEFT,
            }

    def one_step_on(self) -> None:
        for instance_id in tuple(self.workable()):
            while instance_id in self.workable():
                self.perform(instance_id, outcomes(self.world, instance_id)[0])
        arriving, self.undelivered = self.undelivered, []
        for report in arriving:
            self.arrive(report)
        if arriving:
            return
        due_at = next_due(self.world.state)
        wanted = [action for action in ONWARD if action in open_actions(self.load())]
        if due_at and due_at > self.world.now:
            self.world = self.world._replace(now=due_at)
            self.tell(cmd.TimeCame())
        elif wanted:
            self.tell(ASKED[wanted[0]])


ASKED = {
    Action.APPROVE: cmd.Approve(actor="bob", reason="ticket 7"),
    Action.START: cmd.Start(actor="ann"),
    Action.RESUME: cmd.Resume(actor="ann"),
    Action.RETRY: cmd.Retry(actor="ann"),
    Action.BAKE: cmd.Bake(actor="ann"),
    Action.ROLLOUT: cmd.RollOut(actor="ann"),
    Action.NEXT: cmd.NextBatch(actor="ann"),
    Action.BRAKE: cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR),
}

TestAnyRelease = Release.TestCase
TestAnyRelease.settings = settings(max_examples=60, stateful_step_count=50)
