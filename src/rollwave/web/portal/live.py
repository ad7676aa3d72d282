"""The live data of a release for its page: a snapshot, and what happens after it."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Final

from django.db import connection
from django.http import Http404, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from rollwave.store.models import Deployment
from rollwave.web.access import Permission, needs, of_deployment
from rollwave.web.context import bell, services
from rollwave.web.json_text import encode
from rollwave.web.live import reading
from rollwave.web.live.cell import Cell
from rollwave.web.live.feeds import Feeds
from rollwave.web.people.sessions import IDLE
from rollwave.web.typed import number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from django.http import HttpRequest

_feeds: Final = Feeds()

LONGEST_S: Final = 600.0
"""How long a stream lasts at most: then the page asks again, and whether it still may is looked at again."""

AGAIN: Final = b"event: again\ndata: {}\n\n"

_NOT_KEPT: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A proxy that gathers an answer before it passes it on would make a live stream a dead one."""


@require_safe
@needs(Permission.VIEW, of_deployment)
def snapshot(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Return all cells: ``{seq, states, meta}``, the states as one byte a target in rolling order, in base64."""
    del request
    try:
        picture = reading.picture(deployment_id)
    except Deployment.DoesNotExist:
        raise Http404 from None
    told = {
        "seq": picture.seq,
        "states": base64.b64encode(picture.cells).decode(),
        "meta": {
            "batches": _sizes(picture.batches),
            "cells": [cell.name.lower() for cell in Cell],
            "over": picture.is_over,
        },
    }
    return HttpResponse(encode(told), content_type="application/json", headers=_NOT_KEPT)


@require_safe
@needs(Permission.VIEW, of_deployment)
def events(request: HttpRequest, deployment_id: int) -> HttpResponse | StreamingHttpResponse:
    """Stream what happens after event ``since``, or after ``Last-Event-ID``, which wins: see `Feed.follow`."""
    given = request.headers.get("Last-Event-ID") or request.GET.get("since", "0")
    since = number(given, digits=18)
    if since is None:
        return HttpResponseBadRequest(f"since is {given!r}, not a number")
    if not Deployment.objects.filter(id=deployment_id).exists():
        raise Http404
    # The stream lasts as long as the page is open, and reads through others: it needs no connection of its own.
    connection.close()
    return StreamingHttpResponse(_followed(deployment_id, since), content_type="text/event-stream", headers=_NOT_KEPT)


@require_safe
@needs(Permission.VIEW, of_deployment)
def names(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Return the names of all targets in rolling order; they never change."""
    del request
    found = reading.names(deployment_id)
    return HttpResponse(
        encode(found), content_type="application/json", headers={"Cache-Control": "private, max-age=3600"}
    )


def stream_s(idle: timedelta) -> float:
    """Return how long a stream lasts where a session ends after *idle*: to watch is use, so it is heard of in time."""
    return min(LONGEST_S, idle.total_seconds() / 2)


async def _followed(deployment_id: int, since: int) -> AsyncIterator[bytes]:
    feed = _feeds.of(deployment_id, rollwave=services(), bell=bell)
    loop = asyncio.get_running_loop()
    ends = loop.time() + stream_s(IDLE)
    async for text in feed.follow(since):
        yield text
        if loop.time() > ends:
            yield AGAIN
            return


def _sizes(batches: tuple[int, ...]) -> list[int]:
    sizes = [0] * max(batches, default=0)
    for batch in batches:
        sizes[batch - 1] += 1
    return sizes
