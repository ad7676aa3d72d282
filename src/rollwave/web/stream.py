"""The event log of a deployment, as a page and as a stream of server-sent events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rollwave.store import codec
from rollwave.store.models import FINAL_PHASES, Deployment, Event, Group, Instance
from rollwave.web.json_text import encode
from rollwave.words.language import Language
from rollwave.words.story import Names, sentence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from rollwave.engine.offload import Offload
    from rollwave.web.bell import Bell

POLL_S: Final = 0.25
"""How often the log is looked at without a ring: another process may have written."""

GATHER_S: Final = 0.05
"""How long a ring is let to be followed by others: a large release commits many times a second."""

HEARTBEAT_S: Final = 15.0
"""After so long without an event a comment is sent, so that nobody in between takes the stream for dead."""

PAGE: Final = 1_000
"""Most events that are read at once."""


def page(
    deployment_id: int,
    *,
    since: int,
    limit: int,
    names: Mapping[int, str] | None = None,
    language: Language = Language.ENGLISH,
) -> list[dict[str, Any]]:
    """
    Return the events after *since*, oldest first.

    Args:
        deployment_id: Whose.
        since: Number of the last event that is known.
        limit: Most events to return.
        names: Names of its instances, where the caller has them already.
        language: Of the sentences.
    """
    rows = list(Event.objects.filter(deployment_id=deployment_id, seq__gt=since).order_by("seq")[:limit])
    if not rows:
        return []
    return _shown(rows, names_of(deployment_id) if names is None else names, language)


async def follow(
    deployment_id: int,
    *,
    since: int,
    bell: Bell,
    stopping: asyncio.Event,
    offload: Offload,
    language: Language = Language.ENGLISH,
) -> AsyncIterator[bytes]:
    """
    Yield the events after *since* as server-sent events, as they are committed; the last one, ``end``, says that the
    deployment is over.

    Every event is sent once and in order. The stream ends without ``end`` when the server stops. All streams of a
    process read by one thread and its connection, however many they are and however long they last.
    """
    seq = since
    silent_s = 0.0
    names = await offload.read(names_of, deployment_id)
    yield b"retry: 1000\n\n"
    with bell.listening() as rung:
        while not stopping.is_set():
            rung.clear()
            last_seq, is_over = await offload.read(_standing, deployment_id)
            while seq < last_seq and not stopping.is_set():
                events = await offload.read(page, deployment_id, since=seq, limit=PAGE, names=names, language=language)
                yield b"".join(map(_frame, events))
                seq, silent_s = events[-1]["seq"], 0.0
            if is_over:
                yield f"id: {seq}\nevent: end\ndata: {{}}\n\n".encode()
                return
            if silent_s >= HEARTBEAT_S:
                yield b": still here\n\n"
                silent_s = 0.0
            silent_s += await _wait(rung)


async def _wait(rung: asyncio.Event) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(POLL_S):
            await rung.wait()
            await asyncio.sleep(GATHER_S)
    except TimeoutError:
        # Nobody rang: look all the same.
        return loop.time() - began
    return loop.time() - began


def _standing(deployment_id: int) -> tuple[int, bool]:
    """Return the number of the newest event, and whether there can be no other; read as one row, so they agree."""
    seq, phase = Deployment.objects.values_list("seq", "phase").get(id=deployment_id)
    return seq, phase in FINAL_PHASES


def _frame(event: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event["seq"], event["kind"].encode(), encode(event))


def _shown(rows: Sequence[Event], by_id: Mapping[int, str], language: Language) -> list[dict[str, Any]]:
    names = Names(by_id, language)
    return [
        {
            "seq": row.seq,
            "at": row.at,
            "kind": row.kind,
            "instance": by_id.get(row.instance_id) if row.instance_id else None,
            "data": msgspec.Raw(row.data.encode()),
            "sentence": sentence(codec.event(row.kind, row.data), names),
        }
        for row in rows
    ]


def names_of(deployment_id: int) -> dict[int, str]:
    """Return the names of all instances of a deployment's group by id."""
    group = Group.objects.get(deployments=deployment_id)
    rows = Instance.objects.filter(group=group).values_list("id", "server__name", "port")
    return {instance_id: f"{group.name}/{server}:{port}" for instance_id, server, port in rows}
