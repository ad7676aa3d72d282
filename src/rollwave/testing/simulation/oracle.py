"""
The oracle: looks at the simulated world after every change of it and at every commit, and knows the law.

It judges by what the balancers route, what the hosts run and what the log says, never by what an engine believes.
Beside each check stands the invariant that it is for; docs/simulator.md has the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.commands import FleetChanged, TimeCame
from rollwave.domain.config import BatchMode
from rollwave.domain.decide import decide
from rollwave.domain.model import Course, Entry, Phase, Progress, Stage, Standing
from rollwave.engine.effects import VERBS
from rollwave.ports.executor import HostState, HostVerb
from rollwave.ports.store import Transition
from rollwave.testing.simulation.chronicle import Chronicle, limit_of
from rollwave.testing.simulation.history import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rollwave.domain.model import Instance, State
    from rollwave.ports.executor import HostCommand, HostReport
    from rollwave.ports.store import Claim
    from rollwave.testing.simulation.world import World

GRACE_S: Final = 8.0
"""For how long a call that was right when it was made may still arrive, in seconds."""

PUT_RIGHT_S: Final = 30.0
"""Within which undisturbed time a balancer must agree with the flags again, in seconds (I26)."""

STUCK_S: Final = 200.0
"""After which time without an event a deployment that waits for nobody is stuck, in seconds (I19)."""

_RESTARTS: Final = (HostVerb.INSTALL, HostVerb.RESTORE)
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
        self.release_count = 0
        self.acknowledged: set[str] = set()
        self._accepted: list[str] = []
        self._is_open = True
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._groups: dict[int, str] = {}
        self._servers: dict[int, str] = {}
        self._chronicles: dict[int, Chronicle] = {}
        self._moved_at: dict[int, float] = {}
        self._created_at: dict[int, float] = {}
        self._proven: dict[str, str | None] = {}
        self._fences: dict[str, int] = {}
        self._results: dict[tuple[str, int, int, HostVerb], HostState] = {}
        self._wants: dict[str, list[tuple[float, bool | None]]] = {}
        self._changed_at: dict[int, float] = {}
        self._turned_at: dict[tuple[int, Stage], float] = {}
        self._wrong_since: dict[int, float] = {}
        self._excused: set[str] = set()
        self._drains: set[str] = set()
        self._ups: dict[int, dict[str, int]] = {}
        self._in_at: dict[int, set[str]] = {}

    # --- what there is ---

    def know(self, instance_id: int, name: str, group: str, server: str) -> None:
        """Learn of an instance."""
        self._names[instance_id] = name
        self._ids[name] = instance_id
        self._groups[instance_id] = group
        self._servers[instance_id] = server
        self._wants[name] = [(self._now(), self._wants_in(instance_id))]

    @property
    def names(self) -> tuple[str, ...]:
        """Every instance."""
        return tuple(self._ids)

    def server_of(self, name: str) -> str:
        """Return the server of an instance."""
        return self._servers[self._ids[name]]

    def close(self) -> None:
        """Look no more."""
        self._is_open = False

    def _now(self) -> float:
        return self._world.loop.time()

    def _instance(self, instance_id: int) -> Instance:
        return self._world.store.instance(instance_id)

    def _fleet(self, group: str) -> list[Instance]:
        return [self._instance(one) for one, its_group in self._groups.items() if its_group == group]

    def _in_traffic(self, instance_id: int) -> bool:
        return self._world.balancers[self._groups[instance_id]].in_traffic(self._names[instance_id])

    # --- the log ---

    def created(self, deployment_id: int, planned: facts.Planned, state: State) -> None:
        """A deployment came to be."""
        if not self._is_open:
            return
        self._world.history.add(f"d{deployment_id}", planned)
        self.release_count += 1
        for chronicle in self._chronicles.values():
            if chronicle.state.deployment.group == planned.group and not chronicle.is_over:
                self._fail("I5", f"{planned.group} has another active deployment")
        fleet = {one.id: one for one in self._fleet(planned.group)}
        for one in (one for batch in planned.batches for one in batch):
            if not fleet[one].can_take_part:
                # Planned from what was true a moment ago; it has to leave the plan before it is touched.
                self._world.history.add("oracle", f"{self._names[one]} was planned and is held")
        self._chronicles[deployment_id] = Chronicle(_with_fleet(state, fleet))
        self._moved_at[deployment_id] = self._created_at[deployment_id] = self._now()
        self._accepted.append(planned.reason)
        balancer = self._world.balancers[planned.group]
        self._ups[deployment_id] = dict(balancer.ups)
        self._in_at[deployment_id] = set(balancer.serving(planned.group))

    def committed(self, deployment_id: int, entries: Sequence[facts.Fact | Transition], at: datetime) -> None:
        """A transaction was committed."""
        if not self._is_open or not entries:
            return
        for entry in entries:
            self._world.history.add(f"d{deployment_id}", _line(entry, self._names))
        chronicle = self._chronicles[deployment_id]
        group = chronicle.state.deployment.group
        fleet = self._fleet(group)
        try:
            chronicle.take(entries, fleet=fleet, at=at)
            store = self._world.store
            chronicle.check_stored(store.state_of(deployment_id), store.targets_of(deployment_id), fleet)
        except Violation as violation:
            self._world.violated(violation)
        self._moved_at[deployment_id] = self._now()
        for entry in entries:
            match entry:
                case Transition():
                    self._turned_at[entry.instance_id, entry.stage] = self._now()
                    self._check_recorded(deployment_id, entry)
                case facts.SliceOpened(course=Course.CANARY | Course.FULL):
                    self._check_budget(chronicle, entry)
                case facts.PhaseChanged(phase=Phase.SUCCESS):
                    self._check_success(deployment_id, chronicle)
                case facts.CommandAccepted(reason=reason):
                    self._accepted.append(reason)
        if not all(isinstance(entry, Transition) for entry in entries):
            self._check_nothing_is_left(deployment_id, at)
        self._note_wishes(group)

    def _check_nothing_is_left(self, deployment_id: int, at: datetime) -> None:
        """I24: deciding again with nothing new changes nothing."""
        again = decide(self._world.store.load(deployment_id).state, TimeCame(), now=at)
        if again.facts:
            self._fail("I24", f"d{deployment_id}: deciding again gives {again.facts}")

    def claimed(self, claim: Claim, owner: str) -> None:
        """A worker took a slice."""
        if self._is_open:
            self._world.history.add(owner, f"claims slice {claim.key} under epoch {claim.epoch}")

    def flagged(self, instance_id: int) -> None:
        """An operator changed a flag."""
        if not self._is_open:
            return
        instance = self._instance(instance_id)
        self._world.history.add("flags", f"{instance.name} hold={instance.hold} offline={instance.offline}")
        self._changed_at[instance_id] = self._now()
        self._note_wishes(self._groups[instance_id])

    def _note_wishes(self, group: str) -> None:
        for one, its_group in self._groups.items():
            if its_group == group:
                wants = self._wants_in(one)
                known = self._wants.setdefault(self._names[one], [])
                if not known or known[-1][1] is not wants:
                    known.append((self._now(), wants))

    def _wants_in(self, instance_id: int) -> bool | None:
        """Whether the flags and the log want an instance in traffic; None while a worker is changing that (rule 8)."""
        active = self._world.store.active_of(self._groups[instance_id])
        is_out = self._chronicles[active].is_out_for_work(instance_id) if active in self._chronicles else False
        if is_out is not False:
            return False if is_out else None
        instance = self._instance(instance_id)
        return not (instance.hold or instance.failed or instance.new or instance.offline)

    def _check_recorded(self, deployment_id: int, entry: Transition) -> None:
        """I12: what is recorded as done was done, on the host or at the balancer."""
        if entry.progress is not Progress.SUCCESS:
            return
        one = entry.instance_id
        name = self._names[one]
        if entry.stage in VERBS:
            result = self._results.get((name, deployment_id, entry.attempt, VERBS[entry.stage]))
            if result is not HostState.SUCCEEDED:
                self._fail("I12", f"{entry.stage.name} of {name} is recorded as done; the host says {result}")
        elif (
            name not in self._excused
            and self._in_traffic(one) is not (entry.stage is Stage.MARKUP)
            and not self._recently_flagged(one)
        ):
            self._fail("I12", f"{entry.stage.name} of {name} is recorded as done; the balancer disagrees")

    def _recently_flagged(self, instance_id: int) -> bool:
        return self._now() - self._changed_at.get(instance_id, -GRACE_S) < GRACE_S

    # --- I1 ---

    def _check_budget(self, chronicle: Chronicle, opened: facts.SliceOpened) -> None:
        """I1: what is out of traffic in the world, or is about to be, is at most the limit, at each admission."""
        group = chronicle.state.deployment.group
        fresh = [one for one, entry in opened.entries if entry is not Entry.BAKE and self._takes_out(one)]
        for name in sorted({group, *(self._groups[other] for one in fresh for other in self._beside(one))}):
            if name != group and not any(self._costs(one, name) for one in fresh):
                continue
            fleet = self._fleet(name)
            out = [one.name for one in fleet if self._is_out(one, name)]
            limit = self._limit(name, fleet)
            if fresh and len(out) > limit:
                self._fail("I1", f"{name}: {len(out)} out of traffic, {limit} allowed: {out}")

    def _takes_out(self, instance_id: int) -> bool:
        """Whether admitting an instance takes it out; what was out, or has its server busy elsewhere, costs nothing."""
        is_excused = self._names[instance_id] in self._excused
        return self._in_traffic(instance_id) and not is_excused and not self._is_busy(instance_id, but_for=())

    def _costs(self, instance_id: int, neighbor: str) -> bool:
        """Whether working on an instance takes another group's instance out that was in until now."""
        beside = [one for one in self._beside(instance_id) if self._groups[one] == neighbor]
        return any(
            self._instance(one).can_take_part
            and self._in_traffic(one)
            and not self._is_underway(one)
            and not self._is_busy(one, but_for=(self._groups[instance_id],))
            for one in beside
        )

    def _is_busy(self, instance_id: int, *, but_for: Sequence[str]) -> bool:
        """Whether another group than these has the instance's server out of traffic."""
        own = self._groups[instance_id]
        return any(
            self._has_out(one) and not self._instance(one).hold and self._counts_elsewhere(one)
            for one in self._beside(instance_id)
            if self._groups[one] != own and self._groups[one] not in but_for
        )

    def _beside(self, instance_id: int) -> list[int]:
        server = self._servers[instance_id]
        return [one for one, its in self._servers.items() if its == server and one != instance_id]

    def _limit(self, group: str, fleet: Sequence[Instance]) -> int:
        active = self._world.store.active_of(group)
        if active is not None:
            return limit_of(self._chronicles[active].state, fleet)
        eligible = [one for one in fleet if one.can_take_part and not one.new]
        return max(1, len(eligible) * 25 // 100)

    def _is_out(self, instance: Instance, group: str) -> bool:
        active = self._world.store.active_of(group)
        initial = active is not None and self._chronicles[active].state.deployment.initial
        if not instance.can_take_part or (instance.new and not initial):
            return False
        return self._has_out(instance.id) or self._is_busy(instance.id, but_for=())

    def _counts_elsewhere(self, instance_id: int) -> bool:
        instance = self._instance(instance_id)
        return instance.failed or self._is_underway(instance_id)

    def _is_underway(self, instance_id: int) -> bool:
        active = self._world.store.active_of(self._groups[instance_id])
        target = self._chronicles[active].state.targets.get(instance_id) if active is not None else None
        return target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED)

    def _has_out(self, instance_id: int) -> bool:
        """Whether an instance is out of traffic or about to be; one that was let go just now is on its way back."""
        if self._is_underway(instance_id):
            return True
        instance = self._instance(instance_id)
        if instance.new:
            return instance.failed
        return not self._in_traffic(instance_id) and not self._recently_flagged(instance_id)

    # --- traffic ---

    def traffic_changed(self, name: str) -> None:
        """A call to a balancer took a member out of traffic, or into it."""
        if not self._is_open:
            return
        one = self._ids[name]
        is_in = self._in_traffic(one)
        self._world.history.add("balancer", f"{name} is {'in' if is_in else 'out'}")
        self._restored_by_call(one, is_in=is_in)
        self._check_intended(one, is_in=is_in)
        if is_in and self._instance(one).hold and not self._recently_flagged(one):
            self._fail("I23", f"{name} went in and is held")
        if is_in:
            self._check_fit(one)

    def _restored_by_call(self, instance_id: int, *, is_in: bool) -> None:
        """What a balancer that forgot had let in stays excused until it has drained: the keeper does not wait."""
        name = self._names[instance_id]
        balancer = self._world.balancers[self._groups[instance_id]]
        if name in self._excused and not is_in and balancer.in_flight(name):
            self._drains.add(name)
        else:
            self._drains.discard(name)
        self._excused.discard(name)

    def _check_intended(self, instance_id: int, *, is_in: bool) -> None:
        """I21, I23: nothing moves at a balancer but what the log or the flags called for, now or a moment ago."""
        name = self._names[instance_id]
        for index, (_, wants) in reversed(list(enumerate(known := self._wants[name]))):
            if wants is is_in or (wants is None and self._is_begun(instance_id, is_in=is_in)):
                return
            if known[index][0] < self._now() - GRACE_S:
                break
        law = "I23" if self._instance(instance_id).hold and is_in else "I21"
        self._fail(law, f"{name} went {'in' if is_in else 'out'}, and nothing had called for it")

    def _is_begun(self, instance_id: int, *, is_in: bool) -> bool:
        """Whether a worker is to move it that way now, or was a moment ago."""
        stage = Stage.MARKUP if is_in else Stage.MARKDOWN
        if self._now() - self._turned_at.get((instance_id, stage), -GRACE_S) < GRACE_S:
            return True
        active = self._world.store.active_of(self._groups[instance_id])
        return active is not None and self._chronicles[active].is_turning(instance_id, stage)

    def _check_fit(self, instance_id: int) -> None:
        name = self._names[instance_id]
        host = self._world.executor.host(name)
        if host.at_work and host.at_work.verb in _RESTARTS:
            self._fail("I4", f"{name} went in while {host.at_work.verb.value} was at work")
        if host.running is None or self._proven.get(name) != host.running:
            self._fail("I3", f"{name} went in running {host.running}; proven is {self._proven.get(name)}")
        active = self._world.store.active_of(self._groups[instance_id])
        if active is None:
            return
        chronicle = self._chronicles[active]
        deployment, target = chronicle.state.deployment, chronicle.state.targets.get(instance_id)
        is_canary = target is not None and deployment.canary_batch is not None and target.batch == 1
        if not is_canary or deployment.phase is Phase.ROLLING_OUT or host.running != deployment.goal.version:
            return
        assert target is not None
        was_before = (instance_id, target.attempt, Stage.MARKDOWN) not in chronicle.intents
        if not was_before and (instance_id, target.attempt) not in chronicle.approvals:
            self._fail("I2", f"canary {name} took traffic in attempt {target.attempt}, and nobody approved that")

    def forgot(self, group: str) -> None:
        """A balancer restarted, and everybody is in traffic: what is wrong now is not the engine's doing."""
        for one, its_group in self._groups.items():
            if its_group == group and self._wants_in(one) is not True:
                self._excused.add(self._names[one])

    def served(self, name: str) -> None:
        """A client sent a request."""
        if name not in self._excused and self._world.executor.host(name).running is None:
            self._fail("CUT", f"a client request reached {name}, where nothing runs")

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
            self._fail("I11", f"{name} was installed twice in attempt {command.attempt} of d{deployment_id}")
        if report.state is HostState.SUCCEEDED and command.verb in (HostVerb.VERIFY, HostVerb.PROVE, HostVerb.RESTORE):
            self._proven[name] = host.running

    def _host_began(self, name: str, command: HostCommand) -> None:
        one = self._ids[name]
        chronicle = self._chronicles[command.plan.deployment_id]
        if command.fence < self._fences.get(name, -1):
            self._fail("I9", f"{name} began {command.verb.value} under fence {command.fence}, behind another")
        self._fences[name] = command.fence
        if command.attempt == 0:
            if one not in chronicle.prestaged:
                self._fail("I21", f"{name} fetches ahead of time, and nothing had called for it")
        elif (one, command.attempt, _STAGES[command.verb]) not in chronicle.intents:
            self._fail("I21", f"{name} began {command.verb.value}, and it is not on record")
        if command.verb in _RESTARTS:
            self._proven[name] = None
            balancer = self._world.balancers[self._groups[one]]
            if name in self._excused:
                return
            if balancer.in_traffic(name):
                self._fail("I4", f"{command.verb.value} began on {name} while it was in traffic")
            if balancer.in_flight(name) and name not in self._drains:
                self._fail("I4", f"{command.verb.value} began on {name} with requests in flight")

    # --- ends ---

    def _check_success(self, deployment_id: int, chronicle: Chronicle) -> None:
        """I18: all up, all proven, all on the goal version; I20: without trouble with one mark-up each."""
        goal = chronicle.state.deployment.goal.version
        ignores = chronicle.state.deployment.config.ignore_verify
        for one, target in chronicle.state.targets.items():
            name = self._names[one]
            if target.standing is Standing.LEFT:
                continue
            host = self._world.executor.host(name)
            if target.standing is not Standing.SUCCESS:
                self._fail("I18", f"d{deployment_id} succeeded, {name} is {target.standing.name}")
            if host.running != goal or (self._proven.get(name) != goal and not ignores):
                self._fail("I18", f"d{deployment_id} succeeded, {name} runs {host.running}, not a proven {goal}")
            if self._instance(one).version != host.running:
                self._fail("I17", f"{name} is shown as {self._instance(one).version} and runs {host.running}")
            # Who was held meanwhile comes back in its own time (I26).
            is_wanted_out = self._changed_at.get(one, -1) > self._created_at[deployment_id]
            if not self._in_traffic(one) and not is_wanted_out:
                self._fail("I18", f"d{deployment_id} succeeded, {name} is out of traffic")
            if not self._world.scenario.troubles:
                was_in = name in self._in_at[deployment_id]
                marked = not was_in or (one, target.attempt, Stage.MARKDOWN) in chronicle.intents
                ups = self._world.balancers[self._groups[one]].ups[name] - self._ups[deployment_id].get(name, 0)
                if ups != int(marked) or target.attempt != 1:
                    self._fail("I20", f"{name} went into traffic {ups} times in attempt {target.attempt}")

    def time_passed(self) -> None:
        """Look at what must not last: I19 and I26."""
        now = self._now()
        quiet_since = self._world.storm.disturbed_at
        for one, name in self._names.items():
            wants = self._wants_in(one)
            if wants is self._in_traffic(one):
                self._excused.discard(name)
            if wants is None or wants is self._in_traffic(one):
                self._wrong_since.pop(one, None)
                continue
            since = self._wrong_since.setdefault(one, now)
            if now - max(since, quiet_since) > PUT_RIGHT_S:
                self._fail("I26", f"{name} is {'out' if wants else 'in'} since {since:.1f}, and the flags disagree")
        for deployment_id in self._world.store.active():
            # Whatever moves elsewhere may make room here, and takes a moment to get round.
            idle_since = max(*self._moved_at.values(), *self._changed_at.values(), quiet_since)
            if now - idle_since > STUCK_S and not self._waits(deployment_id):
                self._fail("I19", f"d{deployment_id} has not moved since {idle_since:.1f} and waits for nobody")

    def _waits(self, deployment_id: int) -> bool:
        state = self._chronicles[deployment_id].state
        deployment = state.deployment
        if state.in_flight or deployment.abort:
            return False
        if deployment.brake or deployment.phase not in (Phase.CANARY, Phase.BAKING, Phase.ROLLING_OUT):
            return True
        if deployment.config.batch_mode is BatchMode.MANUAL and not all(batch.opened for batch in deployment.batches):
            return True
        # Where broken instances use up the budget, here or beside us, or canaries that wait for one another, a person
        # has to do something about them.
        again = decide(self._world.store.load(deployment_id).state, FleetChanged(), now=self._world.clock.now())
        is_blocked = any(
            self._instance(one).failed or (self._is_underway(one) and not state.in_flight) for one in self._names
        )
        return is_blocked and not again.facts

    def finish(self) -> None:
        """Everything is over: what must be true at the end."""
        for key in sorted(self.acknowledged):
            if (times := self._accepted.count(key)) != 1:
                self._fail("I22", f"command {key} was acknowledged, and is {times} times in the log")
        for deployment_id, chronicle in self._chronicles.items():
            if not chronicle.is_over:
                self._fail("I19", f"d{deployment_id} never ended")
            if not self._world.scenario.troubles and chronicle.state.deployment.phase is not Phase.SUCCESS:
                self._fail("I20", f"nothing went wrong, and d{deployment_id} did not succeed")

    def _fail(self, law: str, message: str) -> None:
        self._world.violated(Violation(law, message))


def _with_fleet(state: State, fleet: dict[int, Instance]) -> State:
    return state.having(fleet=fleet)


def _line(entry: facts.Fact | Transition, names: dict[int, str]) -> object:
    if isinstance(entry, Transition):
        failed = f" {entry.failure.code}" if entry.failure else ""
        return f"{names[entry.instance_id]} #{entry.attempt} {entry.stage.name} {entry.progress.name}{failed}"
    return entry
