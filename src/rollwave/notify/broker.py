"""Message brokers: an AMQP exchange and a Redis stream, one CloudEvent a message."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from rollwave.notify.cloudevents import ONE_TYPE, cloudevents
from rollwave.ports.notifier import ChannelError

if TYPE_CHECKING:
    from rollwave.notify.config import AmqpConfig, RedisConfig
    from rollwave.notify.guard import Guard
    from rollwave.ports.notifier import Message

TIMEOUT_S: Final = 5.0


class AmqpChannel:
    """
    `Channel` to a topic exchange; the routing key is ``APP.GROUP.KIND``. A message counts once the broker confirms it.

    Args:
        config: Which broker, which exchange.
        guard: Says whether we may go there.
        source: Which Rollwave it comes from.
    """

    def __init__(self, config: AmqpConfig, *, guard: Guard, source: str) -> None:
        self._config = config
        self._guard = guard
        self._source = source

    async def send(self, message: Message) -> str:
        """Send *message*, one event after the other."""
        parts = urlsplit(self._config.url)
        await self._guard.address_of(str(parts.hostname), parts.port or (5671 if parts.scheme == "amqps" else 5672))
        return await asyncio.to_thread(self._publish, message)

    def _publish(self, message: Message) -> str:
        kombu: Any = import_module("kombu")  # slow to import, and most do without
        events = cloudevents(message, source=self._source)
        # Whoever asked tries again, later: kombu need not.
        options = {"confirm_publish": True, "max_retries": 1, "read_timeout": TIMEOUT_S, "write_timeout": TIMEOUT_S}
        exchange = kombu.Exchange(self._config.exchange, type="topic", durable=True)
        connection = kombu.Connection(self._config.url, connect_timeout=TIMEOUT_S, transport_options=options)
        try:
            with connection, connection.Producer(exchange=exchange, auto_declare=True) as producer:
                for event in events:
                    producer.publish(
                        msgspec.json.encode(event),
                        routing_key=_routing_key(message, event),
                        content_type=ONE_TYPE,
                        content_encoding="utf-8",
                        message_id=event["id"],
                        delivery_mode=2,
                        retry=False,
                    )
        except (*connection.connection_errors, *connection.channel_errors, kombu.exceptions.KombuError) as error:
            raise ChannelError(f"AMQP broker: {type(error).__name__} {error}") from error
        return f"confirmed {len(events)}"


def _routing_key(message: Message, event: dict[str, Any]) -> str:
    kind = event["type"].rpartition(".")[2]
    release = message.release
    return f"{release.app}.{release.group}.{kind}" if release else kind


class RedisChannel:
    """
    `Channel` to a stream; each entry has the fields ``id`` and ``event``. The events of a message come together or not.

    Args:
        config: Which server, which stream.
        guard: Says whether we may go there.
        source: Which Rollwave it comes from.
    """

    def __init__(self, config: RedisConfig, *, guard: Guard, source: str) -> None:
        self._config = config
        self._guard = guard
        self._source = source

    async def send(self, message: Message) -> str:
        """Send *message* as one transaction."""
        parts = urlsplit(self._config.url)
        await self._guard.address_of(str(parts.hostname), parts.port or 6379)
        return await asyncio.to_thread(self._add, message)

    def _add(self, message: Message) -> str:
        import redis  # noqa: PLC0415  # slow to import, and most do without

        events = cloudevents(message, source=self._source)
        try:
            with (
                redis.Redis.from_url(
                    self._config.url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
                ) as client,
                client.pipeline(transaction=True) as together,
            ):
                for event in events:
                    fields: dict[Any, Any] = {"id": event["id"], "event": msgspec.json.encode(event)}
                    together.xadd(self._config.stream, fields, maxlen=self._config.maxlen, approximate=True)
                together.execute()
        except (redis.RedisError, OSError) as error:
            raise ChannelError(f"Redis: {type(error).__name__} {error}") from error
        return f"added {len(events)}"
