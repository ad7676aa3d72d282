"""The balancer: which instances take client traffic."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Member(Struct, frozen=True, kw_only=True, gc=False):
    """
    One instance as a balancer sees it.

    Attributes:
        pool: Name of the traffic pool.
        name: Unique name of the instance, ``<group>/<server>:<port>``.
        address: Host name or IP address that serves.
        port: TCP port that serves.
    """

    pool: str
    name: str
    address: str
    port: int


class Traffic(Enum):
    """Whether a balancer sends new requests to a member, read from the balancer itself."""

    IN = "in"
    OUT = "out"
    DRAINING = "draining"
    """No new requests, and some are still in flight."""
    SPLIT = "split"
    """Of several balancers before the same members some send new requests, and some do not."""

    def is_as_wanted(self, *, in_traffic: bool) -> bool:
        """Say whether it is what a traffic flag of *in_traffic* asks for; `SPLIT` never is."""
        return self is Traffic.IN if in_traffic else self in (Traffic.OUT, Traffic.DRAINING)


class BalancerUnknownError(RollwaveError):
    """The balancer did not answer: what it does with the member is unknown until it has been read."""

    code = "balancer.unknown"


class BalancerPoolError(RollwaveError):
    """The balancer answers, and does not know the pool or the member: somebody has to set it up."""

    code = "balancer.no_such_pool"


class Balancer(Protocol):
    """
    Puts members in and out of traffic. Every call is idempotent and safe to make from many coroutines at once.

    Every method raises `BalancerUnknownError` where the balancer does not answer, and `BalancerPoolError` where it does
    not know the pool or member.
    """

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """
        Stop new requests to *member*, then wait until none is in flight.

        Returns:
            True once drained; False if requests were still in flight after *drain_timeout_s* (it stays out of traffic).
        """
        ...

    async def mark_up(self, member: Member) -> None:
        """Put *member* into traffic; returns once the balancer says that it is."""
        ...

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return by name what the balancer does now with each of *members*, all of one pool."""
        ...
