"""The limit on bodies: nothing too large reaches the app, whatever was announced."""

from __future__ import annotations

import asyncio

import pytest

from rollwave.web.body_limit import JSON_LIMIT, BodyLimit


def ask(path: str, chunks: list[int], *, announced: str | None) -> tuple[list[dict], int]:
    """Send a body of *chunks* (sizes); return what was answered and how many bytes the app saw."""
    received = 0

    async def app(scope, receive, send) -> None:
        nonlocal received
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[dict] = []
    left = list(chunks)

    async def receive() -> dict:
        return {"type": "http.request", "body": b"x" * left.pop(0), "more_body": bool(left)}

    async def send(message) -> None:
        sent.append(message)

    headers = [] if announced is None else [(b"content-length", announced.encode())]
    scope = {"type": "http", "path": path, "headers": headers}
    guarded = BodyLimit(app, package_limit=100, refuse=lambda error: (413, error.message.encode()))
    asyncio.run(guarded(scope, receive, send))
    assert not left, "a client that is cut off while it sends never sees the answer"
    return sent, received


@pytest.mark.parametrize("announced", ["100", None, "nonsense"])
def test_a_body_at_the_limit_passes(announced):
    sent, received = ask("/api/v1/packages/a/1", [60, 40], announced=announced)

    assert (sent[0]["status"], received) == (200, 100)


def test_an_announced_size_beyond_the_limit_is_refused_before_anything_is_read():
    sent, received = ask("/api/v1/packages/a/1", [101], announced="101")

    assert (sent[0]["status"], received) == (413, 0)
    assert b"100 bytes" in sent[1]["body"]


def test_a_size_that_was_not_announced_is_counted():
    sent, received = ask("/api/v1/packages/a/1", [60, 40, 1], announced=None)

    assert (sent[0]["status"], received) == (413, 100)


def test_other_bodies_have_their_own_limit():
    assert ask("/api/v1/spec", [101], announced="101")[0][0]["status"] == 200
    assert ask("/api/v1/spec", [1], announced=str(JSON_LIMIT + 1))[0][0]["status"] == 413
