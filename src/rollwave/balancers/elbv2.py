"""
AWS Application and Network Load Balancers, through their target groups; needs ``rollwave[aws]``.

A pool is a target group, by its name; a member is registered in it by its address (type ``ip``) or by the name of its
server, which then is the id of the EC2 instance (type ``instance``), always with its port.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rollwave.balancers.drain import wait_until
from rollwave.balancers.pool_writer import PoolWriter
from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

AT_ONCE: Final = 100
"""How many targets are named in one call."""

_SET_UP: Final = frozenset(
    {
        "TargetGroupNotFound",
        "InvalidTarget",
        "TooManyTargets",
        "AccessDenied",
        "AccessDeniedException",
        "ValidationError",
    }
)
"""Refusals that only a person can do something about."""

_ABSENT: Final = "unused"
"""What AWS calls a target that is not registered, or whose group no load balancer uses."""

_TRAFFIC: Final = {"healthy": Traffic.IN, "unavailable": Traffic.IN, "draining": Traffic.DRAINING}
"""``unavailable``: its health is not checked. In every other state AWS sends it nothing."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Change:
    target: tuple[str, int]
    is_in: bool
    until: datetime
    is_late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    name: str
    reason: str

    @property
    def is_registered(self) -> bool:
        return self.name != "draining" and self.reason != "Target.NotRegistered"


class Elbv2Balancer:
    """
    Registers and deregisters targets.

    Args:
        region: AWS region; None: that of the environment.
        clock: Waiting and time.
        write_timeout_s: A change that was not sent by then is given up, in seconds.
        up_timeout_s: Most time until AWS's own health check has accepted a member, in seconds.
        gather_s: How long a change waits for others of its pool, in seconds: they go into one call.
        poll_s: How often AWS is asked while something is awaited, in seconds: its API counts calls.
    """

    def __init__(
        self,
        *,
        region: str | None,
        clock: Clock,
        write_timeout_s: float = 1.0,
        up_timeout_s: float = 120.0,
        gather_s: float = 0.1,
        poll_s: float = 2.0,
    ) -> None:
        self._region = region
        self._clock = clock
        self._write_timeout = timedelta(seconds=write_timeout_s)
        self._up_timeout_s = up_timeout_s
        self._gather_s = gather_s
        self._poll_s = poll_s
        self._client: Any = None
        self._making = asyncio.Lock()
        self._groups: dict[str, tuple[str, str]] = {}
        self._writers: dict[str, PoolWriter[_Change]] = {}
        self._reads: dict[str, SharedRead[Mapping[tuple[str, int], _State]]] = {}

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Deregister *member*, then wait until AWS says that its deregistration is complete."""
        await self._put(member, is_in=False)

        async def is_drained() -> bool:
            return (await self._state(member)).name != "draining"

        return await wait_until(is_drained, clock=self._clock, timeout_s=drain_timeout_s, poll_s=self._poll_s)

    async def mark_up(self, member: Member) -> None:
        """Register *member*; returns once AWS's own health check has accepted it."""
        await self._put(member, is_in=True)

        async def is_up() -> bool:
            return _traffic(await self._state(member)) is Traffic.IN

        if not await wait_until(is_up, clock=self._clock, timeout_s=self._up_timeout_s, poll_s=self._poll_s):
            state = await self._state(member)
            raise BalancerUnknownError(
                f"{member.name} is registered in target group {member.pool!r} and still {state.name} after "
                f"{self._up_timeout_s:g} s ({state.reason or 'no reason given'})",
                member=member.name,
                state=state.name,
            )

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return what AWS says about each target; who is registered and not healthy gets nothing and is out."""
        if not members:
            return {}
        states = await self._states(members[0].pool)
        _, kind = await self._group(members[0].pool)
        return {member.name: _traffic(_state_of(states, _target(member, kind))) for member in members}

    async def _put(self, member: Member, *, is_in: bool) -> None:
        until = self._clock.now() + self._write_timeout
        _, kind = await self._group(member.pool)
        change = _Change(target=_target(member, kind), is_in=is_in, until=until)
        await self._writer(member.pool).put(change)
        if change.is_late:
            # Another process may have been told the opposite meanwhile.
            raise BalancerUnknownError(
                f"AWS was busy with other changes, and that of {member.name} was not begun", member=member.name
            )

    def _writer(self, pool: str) -> PoolWriter[_Change]:
        if pool not in self._writers:

            async def write(changes: Sequence[_Change]) -> None:
                await self._write(pool, changes)

            self._writers[pool] = PoolWriter(write, clock=self._clock, gather_s=self._gather_s)
        return self._writers[pool]

    async def _write(self, pool: str, changes: Sequence[_Change]) -> None:
        arn, _ = await self._group(pool)
        states = await self._states(pool)
        last = {change.target: change for change in changes}
        for name, is_in in (("deregister_targets", False), ("register_targets", True)):
            now = self._clock.now()
            some = [change for change in last.values() if change.is_in is is_in]
            for change in some:
                change.is_late = change.until < now
            targets = [
                {"Id": change.target[0], "Port": change.target[1]}
                for change in some
                if not change.is_late and _state_of(states, change.target).is_registered is not is_in
            ]
            for begin in range(0, len(targets), AT_ONCE):
                await self._call(name, pool, TargetGroupArn=arn, Targets=targets[begin : begin + AT_ONCE])

    async def _state(self, member: Member) -> _State:
        _, kind = await self._group(member.pool)
        return _state_of(await self._states(member.pool), _target(member, kind))

    async def _states(self, pool: str) -> Mapping[tuple[str, int], _State]:
        if pool not in self._reads:

            async def read() -> Mapping[tuple[str, int], _State]:
                arn, _ = await self._group(pool)
                answer = await self._call("describe_target_health", pool, TargetGroupArn=arn)
                return {
                    (one["Target"]["Id"], one["Target"]["Port"]): _State(
                        name=one["TargetHealth"]["State"], reason=one["TargetHealth"].get("Reason", "")
                    )
                    for one in answer["TargetHealthDescriptions"]
                }

            self._reads[pool] = SharedRead(read)
        return await self._reads[pool].get()

    async def _group(self, pool: str) -> tuple[str, str]:
        """Return ARN and type of the target group, which do not change while it is there."""
        if pool not in self._groups:
            answer = await self._call("describe_target_groups", pool, Names=[pool])
            (group,) = answer["TargetGroups"]
            self._groups[pool] = (group["TargetGroupArn"], group["TargetType"])
        return self._groups[pool]

    async def _call(self, name: str, pool: str, **arguments: Any) -> Any:
        try:
            function: Callable[..., Any] = getattr(await self._connected(), name)
            return await asyncio.to_thread(function, **arguments)
        except ClientError as error:
            code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code == "TargetGroupNotFound":
                self._groups.pop(pool, None)  # it may be made again, under another ARN
            kind = BalancerPoolError if code in _SET_UP else BalancerUnknownError
            raise kind(f"AWS refused {name} for target group {pool!r}: {code}: {said}", pool=pool, code=code) from error
        except BotoCoreError as error:
            raise BalancerUnknownError(
                f"AWS did not answer {name} for target group {pool!r} ({error}); see region, credentials and network",
                pool=pool,
            ) from error

    async def _connected(self) -> Any:
        async with self._making:
            if self._client is None:
                # One try each, and short: what is sent takes effect at once or never; who asked asks again.
                config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
                self._client = await asyncio.to_thread(boto3.client, "elbv2", region_name=self._region, config=config)
            return self._client


def _target(member: Member, kind: str) -> tuple[str, int]:
    if kind == "instance":
        return (member.name.partition("/")[2].rpartition(":")[0], member.port)
    return (member.address, member.port)


def _state_of(states: Mapping[tuple[str, int], _State], target: tuple[str, int]) -> _State:
    return states.get(target, _State(name=_ABSENT, reason="Target.NotRegistered"))


def _traffic(state: _State) -> Traffic:
    return _TRAFFIC.get(state.name, Traffic.OUT)
