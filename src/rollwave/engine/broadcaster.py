"""
The broadcaster: takes what the outbox has and sends it, beside the releases and never in their way.

Any number may run side by side: a subscription is claimed under a lease. A receiver that hangs holds up nobody but
itself, and for no longer than a timeout that is shorter than the lease.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from rollwave.engine.trouble import Trouble
from rollwave.ports.notifier import ChannelError
from rollwave.ports.telemetry import UNHEARD, Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollwave.engine.offload import Offload
    from rollwave.ports.clock import Clock
    from rollwave.ports.notifier import Channel, Claim, Outbox, Parcel
    from rollwave.ports.telemetry import Telemetry

log = structlog.get_logger()

POLL_S: Final = 1.0
"""How often the outbox is looked at."""

AT_ONCE: Final = 16
"""Most subscriptions that one process serves at a time."""

SEND_TIMEOUT_S: Final = 15.0
"""After so long without an end an attempt counts as failed."""

LEASE_S: Final = 60.0
"""How long a subscription is claimed without a sign of life: a worker that dies delays its messages by so much."""

MESSAGES_AT_ONCE: Final = 50
"""After so many messages a subscription is given back, so that those that wait for a place get one."""


class Broadcaster:
    """
    Sends notifications.

    Args:
        outbox: Where they come from.
        open_channel: Makes the channel that a subscription's settings describe; ValueError where they describe none.
        clock: Time.
        offload: Runs the store's blocking calls.
        owner: Name of this process among all that send.
        telemetry: Hears of failures of the broadcaster itself.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        open_channel: Callable[[bytes], Channel],
        clock: Clock,
        offload: Offload,
        owner: str,
        telemetry: Telemetry = UNHEARD,
    ) -> None:
        self._outbox = outbox
        self._open_channel = open_channel
        self._clock = clock
        self._offload = offload
        self._owner = owner
        self._telemetry = telemetry
        self._served: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until cancelled; whatever fails is tried again."""
        trouble = Trouble("notify_failed", part=Part.NOTIFIER, telemetry=self._telemetry)
        try:
            while True:
                with trouble.survived():
                    await self.tick()
                await self._clock.sleep(POLL_S)
        finally:
            for task in self._served.values():
                task.cancel()
            await asyncio.gather(*self._served.values(), return_exceptions=True)

    async def tick(self) -> tuple[asyncio.Task[None], ...]:
        """Begin to serve what is due, as far as there is room; return what is being served."""
        due = await self._offload.read(self._outbox.due, now=self._clock.now())
        for subscription_id in due:
            if len(self._served) >= AT_ONCE:
                break
            if subscription_id in self._served:
                continue
            now = self._clock.now()
            claim = await self._offload(
                self._outbox.claim,
                subscription_id,
                owner=self._owner,
                now=now,
                lease_until=now + timedelta(seconds=LEASE_S),
            )
            if claim is not None:
                task = asyncio.create_task(self._serve(claim), name=f"subscription {subscription_id}")
                self._served[subscription_id] = task
                task.add_done_callback(partial(self._forget, subscription_id))
        return tuple(self._served.values())

    def _forget(self, subscription_id: int, _: asyncio.Task[None]) -> None:
        self._served.pop(subscription_id, None)

    async def _serve(self, claim: Claim) -> None:
        try:
            channel: Channel | None = None
            for _ in range(MESSAGES_AT_ONCE):
                parcel = await self._next(claim)
                if parcel is None:
                    break
                channel = channel or self._channel(claim)
                if not await self._deliver(claim, parcel, channel):
                    break
            await self._offload(self._outbox.release, claim)
        except Exception:
            # The lease runs out, and somebody tries again.
            self._telemetry.failed(Part.NOTIFIER)
            log.exception("notify_failed", subscription=claim.subscription_id)

    async def _next(self, claim: Claim) -> Parcel | None:
        """Return the next message, whose range is durable; read beside the writer, who has only that range to write."""
        prepared = await self._offload.read(self._outbox.prepare, claim, now=self._clock.now())
        if prepared.marks and not await self._offload(self._outbox.fix, claim, prepared):
            return None
        return prepared.parcel

    def _channel(self, claim: Claim) -> Channel:
        try:
            return self._open_channel(claim.settings)
        except ValueError as error:
            return _Unusable(str(error))

    async def _deliver(self, claim: Claim, parcel: Parcel, channel: Channel) -> bool:
        """Send one message and record how it went; return whether to go on with the next."""
        began = self._clock.now()
        try:
            said = await self._send(channel, parcel)
        except ChannelError as error:
            now = self._clock.now()
            log.info("notification_failed", subscription=parcel.message.subscription, reason=error.reason)
            took_s = (now - began).total_seconds()
            await self._offload(self._outbox.failed, claim, parcel, error, now=now, took_s=took_s)
            return False
        now = self._clock.now()
        took_s = (now - began).total_seconds()
        return await self._offload(self._outbox.delivered, claim, parcel, now=now, took_s=took_s, said=said)

    async def _send(self, channel: Channel, parcel: Parcel) -> str:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await channel.send(parcel.message)
        except TimeoutError as error:
            raise ChannelError(f"no end after {SEND_TIMEOUT_S:g} s") from error
        except ChannelError:
            raise
        except Exception as error:
            # A bug of ours in one channel is no reason to lose its message, or to stop the others.
            log.exception("channel_broke", subscription=parcel.message.subscription)
            raise ChannelError(f"{type(error).__name__} in the channel; see the log") from error


class _Unusable:
    """A channel whose settings cannot be used any more."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def send(self, message: object) -> str:
        """Raise ChannelError."""
        del message
        raise ChannelError(self._reason)
