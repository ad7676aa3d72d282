"""How a channel is reached: one struct for each kind, as people write it and as it is sealed in the store."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from rollwave.domain.said import Said, said

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of one channel."""

    @property
    def address(self) -> str:
        """What of it anybody may see: never a secret."""
        raise NotImplementedError


class _Http(_Config, frozen=True):
    url: str

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        _check_url(self.url, schemes=("https", "http"))

    @property
    def address(self) -> str:
        """Scheme and host: the path of a chat's webhook is its password."""
        return _host_of(self.url)


class WebhookConfig(_Http, frozen=True, tag_field="kind", tag="webhook"):
    """
    A webhook of the user's own, signed as Standard Webhooks says.

    Attributes:
        url: Where it is sent.
        secret: ``whsec_`` and base64, of 24 to 64 bytes.
    """

    secret: str

    def __post_init__(self) -> None:
        """Raise ValueError for what is no URL or no secret."""
        super().__post_init__()
        try:
            key = base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ValueError(said("secret is expected as whsec_ and base64")) from error
        if not (self.secret.startswith("whsec_") and 24 <= len(key) <= 64):
            raise ValueError(said("secret is expected as whsec_ and the base64 of 24 to 64 bytes"))


class DingTalkConfig(_Http, frozen=True, tag_field="kind", tag="dingtalk"):
    """A custom robot of a DingTalk group; *secret* (``SEC...``) where it signs."""

    secret: str = ""


class FeishuConfig(_Http, frozen=True, tag_field="kind", tag="feishu"):
    """A custom bot of a Feishu or Lark group; *secret* where it checks signatures."""

    secret: str = ""


class WeComConfig(_Http, frozen=True, tag_field="kind", tag="wecom"):
    """A robot of a WeCom group."""


class SlackConfig(_Http, frozen=True, tag_field="kind", tag="slack"):
    """An incoming webhook of Slack."""


class EmailConfig(_Config, frozen=True, tag_field="kind", tag="email"):
    """E-mail to people, through the server that ``[notify]`` in ``rollwave.toml`` names."""

    to: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for what is no address."""
        wrong = [one for one in self.to if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", one)]
        if wrong or not self.to:
            raise ValueError(
                said(
                    "to is expected as a list of addresses such as ann@example.com, and is %(given)s",
                    given=list(self.to),
                )
            )

    @property
    def address(self) -> str:
        """To whom."""
        return ", ".join(self.to)


class AmqpConfig(_Config, frozen=True, tag_field="kind", tag="amqp"):
    """
    A topic exchange of an AMQP 0-9-1 broker (RabbitMQ).

    Attributes:
        url: ``amqp://USER:PASSWORD@HOST:PORT/VHOST``, or ``amqps``.
        exchange: Its name; it is declared durable.
    """

    url: str
    exchange: str = "rollwave"

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        _check_url(self.url, schemes=("amqp", "amqps"))

    @property
    def address(self) -> str:
        """Host and exchange."""
        return f"{_host_of(self.url)} {self.exchange}"


class RedisConfig(_Config, frozen=True, tag_field="kind", tag="redis"):
    """
    A stream of a Redis server.

    Attributes:
        url: ``redis://USER:PASSWORD@HOST:PORT/DB``, or ``rediss``.
        stream: Its key.
        maxlen: About how many entries it keeps.
    """

    url: str
    stream: str = "rollwave"
    maxlen: int = 100_000

    def __post_init__(self) -> None:
        """Raise ValueError for a URL of something else."""
        _check_url(self.url, schemes=("redis", "rediss"))
        if self.maxlen < 1:
            raise ValueError(said("maxlen is expected to be at least 1"))

    @property
    def address(self) -> str:
        """Host and stream."""
        return f"{_host_of(self.url)} {self.stream}"


ChannelConfig = (
    WebhookConfig | DingTalkConfig | FeishuConfig | WeComConfig | SlackConfig | EmailConfig | AmqpConfig | RedisConfig
)
"""How to reach one receiver; ``kind`` tells which."""

KINDS: Final = tuple(str(kind.__struct_config__.tag) for kind in get_args(ChannelConfig))
"""Every kind of channel."""


def read_config(kind: str, settings: Mapping[str, Any]) -> ChannelConfig:
    """
    Return the settings of a channel of *kind*.

    Raises:
        ValueError: If they cannot be used; names the field and what would be right.
    """
    try:
        found: ChannelConfig = msgspec.convert({**settings, "kind": kind}, ChannelConfig)
    except msgspec.ValidationError as error:
        raise ValueError(_wrong(error)) from error
    return found


def _wrong(error: msgspec.ValidationError) -> Said:
    """Return what is wrong with settings: what a channel of ours says of them, or what does not even have its form."""
    if isinstance(error.__cause__, ValueError):
        return reason_of(error.__cause__)
    text = str(error)
    if found := re.match(r"Object missing required field `(.+)`", text):
        return said("%(name)s is missing", name=found[1])
    if found := re.match(r"Object contains unknown field `(.+)`", text):
        return said("%(name)s is not a known key%(hint)s", name=found[1], hint="")
    if found := re.match(r"Expected `(.+)`, got `(.+)` - at `\$\.(.+)`", text):
        return said(
            "%(name)s is of the type %(given)s; expected %(wanted)s", name=found[3], given=found[2], wanted=found[1]
        )
    return said("%(reason)s", reason=text)


def reason_of(error: ValueError) -> Said:
    """Return what an error says that `read_config` raised."""
    reason = error.args[0] if error.args else ""
    return reason if isinstance(reason, Said) else said("%(reason)s", reason=error)


def sealed_form(config: ChannelConfig) -> bytes:
    """Return *config* as it is sealed."""
    return msgspec.json.encode(config)


def from_sealed(settings: bytes) -> ChannelConfig:
    """Return what was sealed; raises ValueError."""
    try:
        found: ChannelConfig = msgspec.json.decode(settings, type=ChannelConfig)
    except msgspec.DecodeError as error:
        raise ValueError(f"its settings cannot be used: {error}") from error
    return found


def _check_url(url: str, *, schemes: tuple[str, ...]) -> None:
    expected = said("url is expected as %(scheme)s://HOST/..., with nothing but a URL in it", scheme=schemes[0])
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(expected) from error
    if not is_right or re.search(r"\s", url):
        raise ValueError(expected)


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port}" if parts.port else f"{parts.scheme}://{host}"
