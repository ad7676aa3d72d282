"""Signed webhooks: Standard Webhooks headers, a batch of CloudEvents as the body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from standardwebhooks import Webhook

from rollwave.notify.cloudevents import BATCH_TYPE, cloudevents

if TYPE_CHECKING:
    from rollwave.notify.config import WebhookConfig
    from rollwave.notify.poster import Poster
    from rollwave.ports.clock import Clock
    from rollwave.ports.notifier import Message


class WebhookChannel:
    """
    `Channel` to a webhook.

    Args:
        config: Where, and the secret that signs.
        poster: Sends.
        clock: The time of each attempt is a part of what is signed.
        source: Which Rollwave it comes from.
    """

    def __init__(self, config: WebhookConfig, *, poster: Poster, clock: Clock, source: str) -> None:
        self._url = config.url
        self._signer = Webhook(config.secret)
        self._poster = poster
        self._clock = clock
        self._source = source

    async def send(self, message: Message) -> str:
        """Send *message*; any 2xx is success."""
        body = msgspec.json.encode(cloudevents(message, source=self._source)).decode()
        now = self._clock.now()
        headers = {
            "Content-Type": BATCH_TYPE,
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message.id, now, body),
        }
        answer = await self._poster.post(self._url, body.encode(), headers)
        return f"status {answer.status}"
