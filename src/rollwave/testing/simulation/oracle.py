"""
The oracle: looks at the simulated world after every change of it and at every commit, and knows the law.

It judges by what the balancers route, what the hosts run and what the log says, never by what an engine believes.
Beside each check stands the invariant that it is for; docs/simulator.md has the whole table.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.commands import FleetChanged, TimeCame
from rollwave.domain.decide import decide
from rollwave.domain.model import Course, Phase, Progress, Stage, Standing
from rollwave.engine.effects import VERBS
from rollwave.ports.executor import HostState, HostVerb
from rollwave.ports.store import Transition
from rollwave.testing.simulation.chronicle import Chronicle
from rollwave.testing.simulation.history import Violation
from rollwave.testing.simulation.room import RoomLaw
from rollwave.testing.simulation.sight import Sight
from rollwave.testing.simulation.traffic import RESTARTS, TrafficLaws

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.model import Instance, State
    from rollwave.ports.executor import HostCommand, HostReport
    from rollwave.ports.store import Claim
    from rollwave.testing.simulation.world import World

STUCK_S: Final = 200.0
"""After which time without an event a deployment that waits for nobody is stuck, in seconds (I19)."""

_STAGES: Final = {verb: stage for stage, verb in VERBS.items()}


class Oracle:
    """
    Sees everything that happens.

    Args:
        world: What it looks at.

    Attributes:
        release_count: Deployments that were created.
        acknowledged: Command keys that some caller was told were accepted (I22).
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._sight = Sight(world)
        self._traffic = TrafficLaws(self._sight)
        self._room = RoomLaw(self._sight)
        self.release_count = 0
        self.acknowledged: set[str] = set()
        self._accepted: list[str] = []
        self._is_open = True
        self._moved_at: dict[int, float] = {}
        self._created_at: dict[int, float] = {}
        self._fences: dict[str, int] = {}
        self._results: dict[tuple[str, int, int, HostVerb], HostState] = {}
        self._ups: dict[int, dict[str, int]] = {}
        self._in_at: dict[int, set[str]] = {}

    # --- what there is ---

    def know(self, instance_id: int, name: str, group: str, server: str) -> None:
        """Learn of an instance."""
        self._sight.know(instance_id, name, group, server)
        self._traffic.know(instance_id)

    def forget(self, name: str) -> None:
        """An instance was removed."""
        self._world.history.add("fleet", f"{name} is removed")
        self._sight.forget(self._sight.ids[name])
        self._traffic.forget(self._sight.ids[name])

    @property
    def names(self) -> tuple[str, ...]:
        """Every instance."""
        return tuple(self._sight.names[one] for one in self._sight.groups)

    def server_of(self, name: str) -> str:
        """Return the server of an instance."""
        return self._sight.servers[self._sight.ids[name]]

    def close(self) -> None:
        """Look no more."""
        self._is_open = False

    # --- the log ---

    def created(self, deployment_id: int, planned: facts.Planned, state: State) -> None:
        """A deployment came to be."""
        if not self._is_open:
            return
        self._world.history.add(f"d{deployment_id}", planned)
        self.release_count += 1
        for chronicle in self._sight.chronicles.values():
            if chronicle.state.deployment.group == planned.group and not chronicle.is_over:
                self._sight.fail("I5", f"{planned.group} has another active deployment")
        fleet = {one.id: one for one in self._sight.fleet(planned.group)}
        for one in (one for batch in planned.batches for one in batch):
            if not fleet[one].can_take_part:
                # Planned from what was true a moment ago; it has to leave the plan before it is touched.
                self._world.history.add("oracle", f"{self._sight.names[one]} was planned and is held")
        self._sight.chronicles[deployment_id] = Chronicle(_with_fleet(state, fleet))
        self._moved_at[deployment_id] = self._created_at[deployment_id] = self._sight.now()
        self._accepted.append(planned.reason)
        balancer = self._world.balancers[planned.group]
        self._ups[deployment_id] = dict(balancer.ups)
        self._in_at[deployment_id] = set(balancer.serving(planned.group))

    def committed(self, deployment_id: int, entries: Sequence[facts.Fact | Transition], at: datetime) -> None:
        """A transaction was committed."""
        if not self._is_open or not entries:
            return
        for entry in entries:
            self._world.history.add(f"d{deployment_id}", _line(entry, self._sight.names))
        chronicle = self._sight.chronicles[deployment_id]
        group = chronicle.state.deployment.group
        fleet = self._sight.fleet(group)
        try:
            chronicle.take(entries, fleet=fleet, at=at)
            store = self._world.store
            chronicle.check_stored(store.state_of(deployment_id), store.targets_of(deployment_id), fleet)
        except Violation as violation:
            self._world.violated(violation)
        self._moved_at[deployment_id] = self._sight.now()
        for entry in entries:
            match entry:
                case Transition():
                    self._traffic.turned(entry.instance_id, entry.stage)
                    self._check_recorded(deployment_id, entry)
                case facts.SliceOpened(course=Course.CANARY | Course.FULL):
                    self._room.check_admission(chronicle, entry)
                case facts.PhaseChanged(phase=Phase.SUCCESS):
                    self._check_success(deployment_id, chronicle)
                case facts.CommandAccepted(reason=reason):
                    self._accepted.append(reason)
        if not all(isinstance(entry, Transition) for entry in entries):
            self._check_nothing_is_left(deployment_id, at)
        self._traffic.note_wishes(group)

    def _check_nothing_is_left(self, deployment_id: int, at: datetime) -> None:
        """I24: deciding again with nothing new changes nothing."""
        again = decide(self._world.store.load(deployment_id).state, TimeCame(), now=at)
        if again.facts:
            self._sight.fail("I24", f"d{deployment_id}: deciding again gives {again.facts}")

    def claimed(self, claim: Claim, owner: str) -> None:
        """A worker took a slice."""
        if self._is_open:
            self._world.history.add(owner, f"claims slice {claim.key} under epoch {claim.epoch}")

    def flagged(self, instance_id: int) -> None:
        """An operator changed a flag."""
        if not self._is_open:
            return
        instance = self._sight.instance(instance_id)
        self._world.history.add("flags", f"{instance.name} hold={instance.hold} offline={instance.offline}")
        self._sight.changed_at[instance_id] = self._sight.now()
        self._traffic.note_wishes(self._sight.groups[instance_id])

    def _check_recorded(self, deployment_id: int, entry: Transition) -> None:
        """I12: what is recorded as done was done, on the host or at the balancer."""
        if entry.progress is not Progress.SUCCESS:
            return
        one = entry.instance_id
        name = self._sight.names[one]
        if entry.stage in VERBS:
            result = self._results.get((name, deployment_id, entry.attempt, VERBS[entry.stage]))
            if result is not HostState.SUCCEEDED:
                self._sight.fail("I12", f"{entry.stage.name} of {name} is recorded as done; the host says {result}")
        elif (
            name not in self._sight.excused
            and self._sight.in_traffic(one) is not (entry.stage is Stage.MARKUP)
            and not self._sight.was_flagged_recently(one)
            and not (entry.stage is Stage.MARKUP and self._sight.was_put_wrong_recently(one))
        ):
            self._sight.fail("I12", f"{entry.stage.name} of {name} is recorded as done; the balancer disagrees")

    # --- traffic ---

    def traffic_changed(self, name: str) -> None:
        """A call to a balancer took a member out of traffic, or into it."""
        if self._is_open:
            self._traffic.changed(name)

    def forgot(self, group: str) -> None:
        """A balancer restarted, and everybody is in traffic: what is wrong now is not the engine's doing."""
        self._traffic.forgot(group)

    def answers_again(self, group: str) -> None:
        """Balancer or store can be reached again: what flags call for can be done from now on."""
        self._sight.answers_since[group] = self._sight.now()
        self._traffic.can_be_put_right(group)

    def served(self, name: str) -> None:
        """A client sent a request; where the server itself has no power, no engine could have helped."""
        host = self._world.executor.host(name)
        if name not in self._sight.excused and host.has_power and host.running is None:
            self._sight.fail("CUT", f"a client request reached {name}, where nothing runs")

    # --- hosts ---

    def host_worked(self, command: HostCommand, report: HostReport | None) -> None:
        """A verb began on a host (no report), or ended."""
        if not self._is_open:
            return
        name, deployment_id = command.plan.host.instance, command.plan.deployment_id
        what = f"{command.verb.value} of d{deployment_id} #{command.attempt} fence {command.fence}"
        self._world.history.add(name, f"{what} {f'{report.state.value} {report.code}' if report else 'begins'}")
        if report is None:
            self._host_began(name, command)
            return
        self._results[name, deployment_id, command.attempt, command.verb] = report.state
        host = self._world.executor.host_now(name)
        if command.verb is HostVerb.INSTALL and host.installs[deployment_id, command.attempt] > 1:
            self._sight.fail("I11", f"{name} was installed twice in attempt {command.attempt} of d{deployment_id}")
        if report.state is HostState.SUCCEEDED and command.verb in (HostVerb.VERIFY, HostVerb.PROVE, HostVerb.RESTORE):
            self._sight.proven[name] = host.running

    def _host_began(self, name: str, command: HostCommand) -> None:
        chronicle = self._sight.chronicles[command.plan.deployment_id]
        # By the name that it had then: it may have been removed since, and registered anew.
        one = next(one for one in chronicle.state.targets if self._sight.names[one] == name)
        if command.fence < self._fences.get(name, -1):
            self._sight.fail("I9", f"{name} began {command.verb.value} under fence {command.fence}, behind another")
        self._fences[name] = command.fence
        if command.attempt == 0:
            if one not in chronicle.prestaged:
                self._sight.fail("I21", f"{name} fetches ahead of time, and nothing had called for it")
        elif (one, command.attempt, _STAGES[command.verb]) not in chronicle.intents:
            self._sight.fail("I21", f"{name} began {command.verb.value}, and it is not on record")
        if command.verb in RESTARTS:
            self._sight.proven[name] = None
            if name in self._sight.excused or one not in self._sight.groups:
                return
            balancer = self._world.balancers[self._sight.groups[one]]
            if balancer.is_put_in(name):
                self._sight.fail("I4", f"{command.verb.value} began on {name} while it was in traffic")
            if balancer.in_flight(name) and name not in self._sight.drains:
                self._sight.fail("I4", f"{command.verb.value} began on {name} with requests in flight")

    # --- ends ---

    def _check_success(self, deployment_id: int, chronicle: Chronicle) -> None:
        """I18: all up, all proven, all on the goal version; I20: without trouble with one mark-up each."""
        goal = chronicle.state.deployment.goal.version
        ignores = chronicle.state.deployment.config.ignore_verify
        for one, target in chronicle.state.targets.items():
            name = self._sight.names[one]
            if target.standing is Standing.LEFT:
                continue
            host = self._world.executor.host(name)
            if target.standing is not Standing.SUCCESS:
                self._sight.fail("I18", f"d{deployment_id} succeeded, {name} is {target.standing.name}")
            if host.serves != goal or (self._sight.proven.get(name) != goal and not ignores):
                self._sight.fail("I18", f"d{deployment_id} succeeded, {name} runs {host.serves}, not a proven {goal}")
            if self._sight.instance(one).version != host.serves:
                self._sight.fail(
                    "I17", f"{name} is shown as {self._sight.instance(one).version} and runs {host.serves}"
                )
            # Who was held meanwhile comes back in its own time, and so does who was taken out too late (I26).
            is_wanted_out = self._sight.changed_at.get(one, -1) > self._created_at[
                deployment_id
            ] or self._sight.was_put_wrong_recently(one)
            if not self._sight.in_traffic(one) and not is_wanted_out:
                self._sight.fail("I18", f"d{deployment_id} succeeded, {name} is out of traffic")
            if not self._world.scenario.troubles:
                was_in = name in self._in_at[deployment_id]
                marked = not was_in or (one, target.attempt, Stage.MARKDOWN) in chronicle.intents
                ups = self._world.balancers[self._sight.groups[one]].ups[name] - self._ups[deployment_id].get(name, 0)
                if ups != int(marked) or target.attempt != 1:
                    self._sight.fail("I20", f"{name} went into traffic {ups} times in attempt {target.attempt}")

    def time_passed(self) -> None:
        """Look at what must not last: I19 and I26."""
        now = self._sight.now()
        quiet_since = self._world.storm.disturbed_at
        self._traffic.time_passed(quiet_since=quiet_since)
        for deployment_id in filter(None, map(self._world.store.active_of, sorted(set(self._sight.groups.values())))):
            # Whatever moves elsewhere may make room here, and takes a moment to get round.
            idle_since = max(*self._moved_at.values(), *self._sight.changed_at.values(), quiet_since)
            if now - idle_since > STUCK_S and not self._waits(deployment_id):
                self._sight.fail("I19", f"d{deployment_id} has not moved since {idle_since:.1f} and waits for nobody")

    def _waits(self, deployment_id: int) -> bool:
        state = self._sight.chronicles[deployment_id].state
        deployment = state.deployment
        if state.in_flight or deployment.abort:
            return False
        if deployment.brake or deployment.phase not in (Phase.CANARY, Phase.BAKING, Phase.ROLLING_OUT):
            return True
        if deployment.goes_by_hand and not all(batch.opened for batch in deployment.batches):
            return True
        # Where broken instances use up the budget, here or beside us, a person has to do something about them.
        again = decide(self._world.store.load(deployment_id).state, FleetChanged(), now=self._world.clock.now())
        is_blocked = any(self._sight.instance(one).failed for one in self._sight.groups)
        return is_blocked and not again.facts

    def finish(self) -> None:
        """Everything is over: what must be true at the end."""
        times = Counter(self._accepted)
        for key in sorted(self.acknowledged | times.keys()):
            # One that was given up may be there or not; never more than once.
            if times[key] > 1 or (key in self.acknowledged and not times[key]):
                told = "acknowledged" if key in self.acknowledged else "sent"
                self._sight.fail("I22", f"command {key} was {told}, and is {times[key]} times in the log")
        for deployment_id, chronicle in self._sight.chronicles.items():
            if not chronicle.is_over:
                self._sight.fail("I19", f"d{deployment_id} never ended")
            if not self._world.scenario.troubles and chronicle.state.deployment.phase is not Phase.SUCCESS:
                self._sight.fail("I20", f"nothing went wrong, and d{deployment_id} did not succeed")


def _with_fleet(state: State, fleet: dict[int, Instance]) -> State:
    return state.having(fleet=fleet)


def _line(entry: facts.Fact | Transition, names: dict[int, str]) -> object:
    if isinstance(entry, Transition):
        failed = f" {entry.failure.code}" if entry.failure else ""
        return f"{names[entry.instance_id]} #{entry.attempt} {entry.stage.name} {entry.progress.name}{failed}"
    return entry
