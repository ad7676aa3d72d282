"""The laws of traffic: nothing goes in or out but what was called for, is fit to, and is wanted; it stays so (I26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain.model import Phase, Stage
from rollwave.ports.executor import HostVerb
from rollwave.testing.simulation.sight import GRACE_S

if TYPE_CHECKING:
    from rollwave.testing.simulation.sight import Sight

PUT_RIGHT_S: Final = 30.0
"""Within which undisturbed time a balancer must agree with the flags again, in seconds (I26)."""

RESTARTS: Final = (HostVerb.INSTALL, HostVerb.RESTORE)
"""What must not happen to a member in traffic (I4)."""


class TrafficLaws:
    """
    Compares what the balancers do with what the log and the flags call for: I2, I3, I4, I21, I23 and I26.

    Args:
        sight: What there is to see.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._wants: dict[str, list[tuple[float, bool | None]]] = {}
        self._turned_at: dict[tuple[int, Stage], float] = {}
        self._wrong_since: dict[int, float] = {}

    def know(self, instance_id: int) -> None:
        """Learn of an instance."""
        self._wants[self._sight.names[instance_id]] = [(self._sight.now(), self.wants_in(instance_id))]

    def forget(self, instance_id: int) -> None:
        """Forget an instance that was removed."""
        self._wrong_since.pop(instance_id, None)

    def turned(self, instance_id: int, stage: Stage) -> None:
        """A worker began or ended a stage."""
        self._turned_at[instance_id, stage] = self._sight.now()

    def note_wishes(self, group: str) -> None:
        """Remember what is wanted of a group's instances from now on."""
        for one, its_group in self._sight.groups.items():
            if its_group == group:
                wants = self.wants_in(one)
                known = self._wants.setdefault(self._sight.names[one], [])
                if not known or known[-1][1] is not wants:
                    known.append((self._sight.now(), wants))

    def wants_in(self, instance_id: int) -> bool | None:
        """Return whether flags and log want an instance in traffic; None while a worker is changing that (rule 8)."""
        active = self._sight.world.store.active_of(self._sight.groups[instance_id])
        instance = self._sight.instance(instance_id)
        chronicle = self._sight.chronicles.get(active) if active is not None else None
        if chronicle and chronicle.is_back_in(instance_id):
            return not (instance.hold or instance.offline)
        is_out = chronicle.is_out_for_work(instance_id) if chronicle else False
        if is_out is not False:
            return False if is_out else None
        return not (instance.hold or instance.failed or instance.new or instance.offline)

    def changed(self, name: str) -> None:
        """A call to a balancer took a member out of traffic, or into it."""
        one = self._sight.ids[name]
        is_in = self._sight.in_traffic(one)
        self._sight.world.history.add("balancer", f"{name} is {'in' if is_in else 'out'}")
        self._restored_by_call(one, is_in=is_in)
        self._check_intended(one, is_in=is_in)
        if is_in and self._sight.instance(one).hold and not self._sight.was_flagged_recently(one):
            self._sight.fail("I23", f"{name} went in and is held")
        if is_in:
            self._check_fit(one)

    def _restored_by_call(self, instance_id: int, *, is_in: bool) -> None:
        """What a balancer that forgot had let in stays excused until it has drained: the keeper does not wait."""
        name = self._sight.names[instance_id]
        balancer = self._sight.world.balancers[self._sight.groups[instance_id]]
        if name in self._sight.excused and not is_in and balancer.in_flight(name):
            self._sight.drains.add(name)
        else:
            self._sight.drains.discard(name)
        self._sight.excused.discard(name)

    def _check_intended(self, instance_id: int, *, is_in: bool) -> None:
        """I21, I23: nothing moves at a balancer but what the log or the flags called for, now or a moment ago."""
        name = self._sight.names[instance_id]
        for index, (_, wants) in reversed(list(enumerate(known := self._wants[name]))):
            if wants is is_in or (wants is None and self._is_begun(instance_id, is_in=is_in)):
                return
            if known[index][0] < self._sight.now() - GRACE_S:
                break
        law = "I23" if self._sight.instance(instance_id).hold and is_in else "I21"
        self._sight.fail(law, f"{name} went {'in' if is_in else 'out'}, and nothing had called for it")

    def _is_begun(self, instance_id: int, *, is_in: bool) -> bool:
        """Whether a worker is to move it that way now, or was a moment ago."""
        stage = Stage.MARKUP if is_in else Stage.MARKDOWN
        if self._sight.now() - self._turned_at.get((instance_id, stage), -GRACE_S) < GRACE_S:
            return True
        active = self._sight.world.store.active_of(self._sight.groups[instance_id])
        return active is not None and self._sight.chronicles[active].is_turning(instance_id, stage)

    def _check_fit(self, instance_id: int) -> None:
        name = self._sight.names[instance_id]
        host = self._sight.world.executor.host(name)
        if host.at_work and host.at_work.verb in RESTARTS:
            self._sight.fail("I4", f"{name} went in while {host.at_work.verb.value} was at work")
        if host.serves is None or self._sight.proven.get(name) != host.serves:
            self._sight.fail("I3", f"{name} went in running {host.serves}; proven is {self._sight.proven.get(name)}")
        active = self._sight.world.store.active_of(self._sight.groups[instance_id])
        if active is None:
            return
        chronicle = self._sight.chronicles[active]
        deployment, target = chronicle.state.deployment, chronicle.state.targets.get(instance_id)
        is_canary = target is not None and deployment.canary_batch is not None and target.batch == 1
        if not is_canary or deployment.phase is Phase.ROLLING_OUT or host.serves != deployment.goal.version:
            return
        assert target is not None
        was_before = (instance_id, target.attempt, Stage.MARKDOWN) not in chronicle.intents
        if not was_before and (instance_id, target.attempt) not in chronicle.approvals:
            self._sight.fail("I2", f"canary {name} took traffic in attempt {target.attempt}, and nobody approved that")

    def forgot(self, group: str) -> None:
        """A balancer restarted, and everybody is in traffic: what is wrong now is not the engine's doing."""
        self._sight.forgot_at[group] = self._sight.now()
        for one, its_group in self._sight.groups.items():
            if its_group == group and self.wants_in(one) is not True:
                self._sight.excused.add(self._sight.names[one])

    def can_be_put_right(self, group: str) -> None:
        """Balancer or store can be reached again; what a balancer that forgot let in is put right from now on."""
        if any(self._sight.groups[self._sight.ids[name]] == group for name in self._sight.excused):
            self._sight.forgot_at[group] = self._sight.now()

    def time_passed(self, *, quiet_since: float) -> None:
        """I26: what is wrong at a balancer does not last, once nothing has disturbed it since then."""
        now = self._sight.now()
        for one in self._sight.groups:
            name = self._sight.names[one]
            wants = self.wants_in(one)
            if wants is self._sight.in_traffic(one):
                self._sight.excused.discard(name)
            if wants is None or wants is self._sight.in_traffic(one):
                self._wrong_since.pop(one, None)
                continue
            since = self._wrong_since.setdefault(one, now)
            if now - max(since, quiet_since) > PUT_RIGHT_S:
                self._sight.fail(
                    "I26", f"{name} is {'out' if wants else 'in'} since {since:.1f}, and the flags disagree"
                )
