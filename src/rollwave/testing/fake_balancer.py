"""A balancer in memory: the semantics of the real ones, scripted failures, and the ground truth."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock


class BalancerFault(Enum):
    """How one call to the fake goes wrong."""

    UNREACHABLE = "unreachable"
    """The call has no effect and raises."""
    LOST_REPLY = "lost_reply"
    """The call takes effect, and raises all the same."""


@dataclass(eq=False, slots=True)
class _State:
    pool: str
    is_in: bool = True
    request_count: int = 0


class FakeBalancer:
    """
    Members in traffic, requests in flight, and everything a test wants to do to them.

    Time passes through *clock* alone, and not at all where nothing has to be waited for.

    Args:
        clock: Waiting and time.
        members: Members, all in traffic.
        poll_s: How often a call that has to wait looks again, in seconds.
        up_timeout_s: Most time until `mark_up` finds the member healthy, in seconds.
        watch: Told the name of every member that a call took out of traffic or into it, for an oracle.

    Attributes:
        is_down: While True, every call raises `BalancerUnknownError` without effect.
        request_delay_s: Time between a call and its effect, in seconds.
        reply_delay_s: Time between a call's effect and its return, in seconds.
        unhealthy: Names of members that fail the balancer's own health check: whatever they are told, they are out.
        downs: How often each member went out of traffic, by name.
        ups: How often each member came into traffic by `mark_up`, by name.
    """

    def __init__(
        self,
        clock: Clock,
        members: Iterable[Member] = (),
        *,
        poll_s: float = 0.05,
        up_timeout_s: float = 30.0,
        watch: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._clock = clock
        self._poll_s = poll_s
        self._up_timeout_s = up_timeout_s
        self._watch = watch
        self._states: dict[str, _State] = {}
        self._faults: deque[BalancerFault] = deque()
        self.is_down = False
        self.request_delay_s = 0.0
        self.reply_delay_s = 0.0
        self.unhealthy: set[str] = set()
        self.downs: Counter[str] = Counter()
        self.ups: Counter[str] = Counter()
        for member in members:
            self.add(member)

    # The port.

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Stop new requests, then wait until none is in flight."""
        fault = await self._arrive()
        state = self._state(member)
        if state.is_in:
            state.is_in = False
            self.downs[member.name] += 1
            self._watch(member.name)
        await self._reply(fault)
        deadline = self._clock.now() + timedelta(seconds=drain_timeout_s)
        while state.request_count:
            left_s = (deadline - self._clock.now()).total_seconds()
            if left_s <= 0:
                return False
            await self._clock.sleep(min(self._poll_s, left_s))
            self._check_reachable()
        return True

    async def mark_up(self, member: Member) -> None:
        """Put *member* into traffic."""
        fault = await self._arrive()
        state = self._state(member)
        if not state.is_in:
            state.is_in = True
            self.ups[member.name] += 1
            self._watch(member.name)
        await self._reply(fault)
        deadline = self._clock.now() + timedelta(seconds=self._up_timeout_s)
        while member.name in self.unhealthy:
            if self._clock.now() >= deadline:
                raise BalancerUnknownError(f"{member.name} is not up: its health check fails", member=member.name)
            await self._clock.sleep(self._poll_s)
            self._check_reachable()

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return the truth by name."""
        fault = await self._arrive()
        answer = {member.name: self._traffic(member) for member in members}
        await self._reply(fault)
        return answer

    # What a test does to it.

    def add(self, member: Member, *, is_in: bool = True) -> None:
        """Set *member* up, in traffic or out; its pool begins to exist with its first member."""
        self._states[member.name] = _State(pool=member.pool, is_in=is_in)

    def remove(self, name: str) -> None:
        """Take a member out of the balancer's configuration: it is known no more."""
        del self._states[name]

    def begin_request(self, name: str) -> bool:
        """Send one request to the member; False if it takes no new requests (then nothing happened)."""
        takes_it = self.in_traffic(name)
        if takes_it:
            self._states[name].request_count += 1
        return takes_it

    def end_request(self, name: str) -> None:
        """Let one request in flight to the member end."""
        state = self._states[name]
        if not state.request_count:
            raise AssertionError(f"no request is in flight to {name}")
        state.request_count -= 1

    def fail_next(self, *faults: BalancerFault) -> None:
        """Let the next calls go wrong, one fault per call, in this order."""
        self._faults.extend(faults)

    def forget(self) -> None:
        """Restart: everybody is in traffic again, and nobody was told."""
        for state in self._states.values():
            state.is_in = True

    # The ground truth.

    def knows(self, name: str) -> bool:
        """Return whether the member is configured."""
        return name in self._states

    def in_traffic(self, name: str) -> bool:
        """Return whether the member takes new requests."""
        return self.is_put_in(name) and name not in self.unhealthy

    def is_put_in(self, name: str) -> bool:
        """Return whether the member was told to take new requests, healthy or not."""
        return self._states[name].is_in

    def in_flight(self, name: str) -> int:
        """Return how many requests are in flight to the member."""
        return self._states[name].request_count

    def serving(self, pool: str) -> tuple[str, ...]:
        """Return the names of the pool's members that take new requests."""
        return tuple(name for name, state in self._states.items() if state.pool == pool and self.in_traffic(name))

    def out_of_traffic(self, pool: str) -> tuple[str, ...]:
        """Return the names of the pool's members that take no new requests."""
        return tuple(name for name, state in self._states.items() if state.pool == pool and not self.in_traffic(name))

    # Inside.

    def _state(self, member: Member) -> _State:
        state = self._states.get(member.name)
        if state is None or state.pool != member.pool:
            raise BalancerPoolError(
                f"the balancer does not know {member.name} in pool {member.pool!r}; set it up first",
                pool=member.pool,
                member=member.name,
            )
        return state

    def _traffic(self, member: Member) -> Traffic:
        state = self._state(member)
        if self.in_traffic(member.name):
            return Traffic.IN
        return Traffic.DRAINING if state.request_count else Traffic.OUT

    def _check_reachable(self) -> None:
        if self.is_down:
            raise BalancerUnknownError("the balancer is down")

    async def _arrive(self) -> BalancerFault | None:
        if self.request_delay_s:
            await self._clock.sleep(self.request_delay_s)
        self._check_reachable()
        fault = self._faults.popleft() if self._faults else None
        if fault is BalancerFault.UNREACHABLE:
            raise BalancerUnknownError("the balancer could not be reached", fault=fault.value)
        return fault

    async def _reply(self, fault: BalancerFault | None) -> None:
        if self.reply_delay_s:
            await self._clock.sleep(self.reply_delay_s)
        if fault is BalancerFault.LOST_REPLY:
            raise BalancerUnknownError("the balancer's reply was lost", fault=fault.value)
