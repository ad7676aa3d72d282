"""Every kind of channel, made from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.notify.broker import AmqpChannel, RedisChannel
from rollwave.notify.chat import ChatChannel
from rollwave.notify.config import (
    AmqpConfig,
    DingTalkConfig,
    EmailConfig,
    FeishuConfig,
    RedisConfig,
    SlackConfig,
    WebhookConfig,
    WeComConfig,
    from_sealed,
)
from rollwave.notify.mail import MailChannel
from rollwave.notify.poster import Poster
from rollwave.notify.webhook import WebhookChannel

if TYPE_CHECKING:
    import ssl

    from rollwave.notify.guard import Guard
    from rollwave.notify.mail import SmtpServer
    from rollwave.ports.clock import Clock
    from rollwave.ports.notifier import Channel


class Channels:
    """
    Makes channels.

    Args:
        guard: Says where they may go.
        clock: Time.
        base_url: Where people reach Rollwave; empty where nobody has said.
        smtp: Sends mail; None: there is none.
        verify: Checks certificates; None: against those of the system.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        clock: Clock,
        base_url: str = "",
        smtp: SmtpServer | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._smtp = smtp
        self._poster = Poster(guard, verify=verify)
        self._source = self._base_url or "/rollwave"

    def open(self, settings: bytes) -> Channel:
        """Return the channel that sealed settings describe; raises ValueError where they describe none."""
        config = from_sealed(settings)
        match config:
            case WebhookConfig():
                return WebhookChannel(config, poster=self._poster, clock=self._clock, source=self._source)
            case DingTalkConfig() | FeishuConfig() | WeComConfig() | SlackConfig():
                return ChatChannel(config, poster=self._poster, clock=self._clock, base_url=self._base_url)
            case EmailConfig():
                return MailChannel(config, server=self._smtp, base_url=self._base_url)
            case AmqpConfig():
                return AmqpChannel(config, guard=self._guard, source=self._source)
            case RedisConfig():
                return RedisChannel(config, guard=self._guard, source=self._source)
