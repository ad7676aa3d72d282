"""Chats: DingTalk, WeCom, Feishu and Slack, each through the webhook of a robot in the group."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from rollwave.notify.config import DingTalkConfig, FeishuConfig, SlackConfig, WeComConfig
from rollwave.notify.text import Text, shortened, text_of
from rollwave.ports.notifier import ChannelError
from rollwave.words.language import Language

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.notify.poster import Poster
    from rollwave.ports.clock import Clock
    from rollwave.ports.notifier import Message

ChatConfig = DingTalkConfig | FeishuConfig | WeComConfig | SlackConfig

MOST_BYTES: Final = 3500
"""Of a message: WeCom takes 4096 bytes of Markdown, the others more."""

SHUT_OUT_S: Final = 600.0
"""A robot that has sent too much is not heard for ten minutes."""

_TOO_MUCH: Final = {
    DingTalkConfig: {410100, 660026, 130101},
    WeComConfig: {45009, 45033},
    FeishuConfig: {9499, 11232},
}
"""Codes by which a chat says that too much is sent."""


_HARMLESS: Final = str.maketrans({"[": "\uff3b", "]": "\uff3d", "<": "\uff1c", ">": "\uff1e", "`": "'"})
"""Their full-width forms mean nothing in Markdown."""


class ChatChannel:
    """
    `Channel` to a group of a chat.

    Args:
        config: Which chat, the robot's webhook, and the secret where it wants signatures.
        poster: Sends.
        clock: The time is a part of what is signed.
        base_url: Where people reach Rollwave; empty where nobody has said.
    """

    def __init__(self, config: ChatConfig, *, poster: Poster, clock: Clock, base_url: str) -> None:
        self._config = config
        self._poster = poster
        self._clock = clock
        self._base_url = base_url

    async def send(self, message: Message) -> str:
        """Send *message*; the chats say "no" with a status of 200."""
        text = text_of(message, base_url=self._base_url)
        url, body = _request(self._config, text, now=self._clock.now())
        answer = await self._poster.post(url, msgspec.json.encode(body), {"Content-Type": "application/json"})
        if isinstance(self._config, SlackConfig):
            return f"status {answer.status}"
        return _verdict(self._config, answer.body)


def _verdict(config: ChatConfig, body: bytes) -> str:
    """Return "ok"; raises ChannelError for any code but 0."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
        code = said.get("code", said.get("StatusCode")) if isinstance(config, FeishuConfig) else said.get("errcode")
    except msgspec.DecodeError as error:
        raise ChannelError(f"an answer that is not the chat's: {body[:100]!r}") from error
    if code == 0:
        return "ok"
    why = said.get("msg") or said.get("errmsg") or "no reason given"
    pause_s = SHUT_OUT_S if code in _TOO_MUCH.get(type(config), ()) else 0.0
    raise ChannelError(f"code {code}: {str(why)[:300]}", retry_after_s=pause_s)


def _request(config: ChatConfig, text: Text, *, now: datetime) -> tuple[str, dict[str, Any]]:
    """Return the URL and the body of the request; *now* is signed."""
    match config:
        case DingTalkConfig(url=url, secret=secret):
            body = {"msgtype": "markdown", "markdown": {"title": text.title, "text": _markdown(text)}}
            return (dingtalk_signed(url, secret, now=now) if secret else url), body
        case WeComConfig(url=url):
            return url, {"msgtype": "markdown", "markdown": {"content": _markdown(text)}}
        case FeishuConfig(url=url, secret=secret):
            return url, {**(feishu_signed(secret, now=now) if secret else {}), **_post(text)}
        case SlackConfig(url=url):
            return url, {"text": _mrkdwn(text)}


def dingtalk_signed(url: str, secret: str, *, now: datetime) -> str:
    """Return *url* with the time in milliseconds and the signature that DingTalk asks for."""
    timestamp = str(int(now.timestamp() * 1000))
    digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    sign = base64.b64encode(digest).decode()
    return str(httpx.URL(url).copy_merge_params({"timestamp": timestamp, "sign": sign}))


def feishu_signed(secret: str, *, now: datetime) -> dict[str, str]:
    """Return the fields that Feishu asks for: the time in seconds, and the code of nothing under both."""
    timestamp = str(int(now.timestamp()))
    digest = hmac.new(f"{timestamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return {"timestamp": timestamp, "sign": base64.b64encode(digest).decode()}


def _markdown(text: Text) -> str:
    lines = [_escaped(line) for line in shortened(text.lines, most_bytes=MOST_BYTES - len(text.title.encode()))]
    link = [f"[{text.link}]({text.url})"] if text.url else []
    # A line of its own each: DingTalk joins lines that no empty one parts.
    return "\n\n".join([f"**{_escaped(text.title)}**", *lines, *link])


def _escaped(line: str) -> str:
    """Return *line* so that nothing in it becomes a link, a mention or a tag; neither chat knows escapes."""
    return line.translate(_HARMLESS)


def _mrkdwn(text: Text) -> str:
    lines = shortened(text.lines, most_bytes=MOST_BYTES)
    safe = [one.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for one in (text.title, *lines)]
    link = [f"<{text.url}|{text.link}>"] if text.url else []
    return "\n".join([f"*{safe[0]}*", *safe[1:], *link])


def _post(text: Text) -> dict[str, Any]:
    rows: list[list[dict[str, str]]] = [
        [{"tag": "text", "text": line}] for line in shortened(text.lines, most_bytes=MOST_BYTES)
    ]
    if text.url:
        rows.append([{"tag": "a", "text": text.link, "href": text.url}])
    tongue = "zh_cn" if text.language is Language.CHINESE else "en_us"
    return {"msg_type": "post", "content": {"post": {tongue: {"title": text.title, "content": rows}}}}
