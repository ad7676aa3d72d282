"""A message as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.words.catalog import say
from rollwave.words.language import Language, language_of
from rollwave.words.story import Names, sentence

if TYPE_CHECKING:
    from rollwave.ports.notifier import Message


class Text(Struct, frozen=True, kw_only=True):
    """
    A message in words.

    Attributes:
        title: What it is about, and what happened last.
        lines: What happened, oldest first; each with its time.
        url: The page of the release; empty where nobody has said under which address people reach us.
        link: What the link to it is called.
        language: Of all of it.
    """

    title: str
    lines: tuple[str, ...]
    url: str
    link: str
    language: Language


def text_of(message: Message, *, base_url: str) -> Text:
    """Return *message* in the language of its readers."""
    language = language_of(message.language) or Language.ENGLISH
    release = message.release
    link = say(language, "notify.link")
    if release is None:
        works = say(language, "notify.test.line", subscription=message.subscription)
        return Text(title=say(language, "notify.test"), lines=(works,), url=base_url, link=link, language=language)
    names = Names(message.names, language)
    said = [sentence(told.fact, names) for told in message.events]
    where = f" · {message.events[-1].instance}" if message.events[-1].instance else ""
    title = say(language, "notify.title", group=release.group, version=release.version, sentence=said[-1]) + where
    lines = tuple(f"{told.at:%H:%M:%S} {one}" for told, one in zip(message.events, said, strict=True))
    url = f"{base_url}/deployments/{release.deployment_id}" if base_url else ""
    return Text(title=title, lines=lines, url=url, link=link, language=language)


def shortened(lines: tuple[str, ...], *, most_bytes: int) -> list[str]:
    """Return as many of the newest lines as fit, an ellipsis in the place of the others."""
    kept: list[str] = []
    room = most_bytes
    for line in reversed(lines):
        short = line if len(line) <= 500 else f"{line[:499]}…"
        room -= len(short.encode()) + 4
        if room < 0:
            return ["…", *reversed(kept)]
        kept.append(short)
    return kept[::-1]
