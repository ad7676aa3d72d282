"""What becomes of calls over which salt-api stumbles, without Salt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from rollwave.executors.salt_api import SaltApi, SaltApiError

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD = {"return": [{"jid": "1", "minions": ["web-1"]}]}


def published(answer: Callable[[int], httpx.Response], **options: float) -> tuple[frozenset[str], list[dict]]:
    """Publish once; *answer* says what comes of each call. Return who was told, and what was asked for."""
    asked: list[dict] = []

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/login":
            return httpx.Response(200, json={"return": [{"token": "t"}]})
        asked.append(json.loads(request.content)[0])
        return answer(len(asked))

    async def publish() -> frozenset[str]:
        api = SaltApi("http://salt", user="u", password="p", eauth="pam", **options)
        api._client = httpx.AsyncClient(base_url="http://salt", transport=httpx.MockTransport(serve))
        try:
            return await api.publish("rollwave.verify", {}, minions=["web-1"], job_id="1")
        finally:
            await api.close()

    return anyio.run(publish), asked


def test_a_publish_that_is_answered_by_500_is_repeated_under_its_job_id() -> None:
    """It may have been done all the same: a minion does a job once, however often it is told."""
    told, asked = published(lambda count: httpx.Response(500) if count < 3 else httpx.Response(200, json=TOLD))

    assert told == {"web-1"}
    assert len(asked) == 3
    assert {low["jid"] for low in asked} == {"1"}


def test_one_that_is_always_answered_so_is_given_up_in_time() -> None:
    with pytest.raises(SaltApiError, match="500"):
        published(lambda _count: httpx.Response(500), insist_s=0.3)


@pytest.mark.parametrize("answer", [{}, [], {"jid": "1", "minions": []}])
def test_an_empty_answer_tells_nobody(answer: object) -> None:
    told, asked = published(lambda _count: httpx.Response(200, json={"return": [answer]}))

    assert told == frozenset()
    assert len(asked) == 1
