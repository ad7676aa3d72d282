"""Laws about the clients of chaos runs: when they go to another HAProxy, and what they tell."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from demo.chaos.load import Journal, Mover
from demo.load import Client

pytestmark = pytest.mark.anyio

URLS = ["http://198.18.0.1:80", "http://198.18.0.2:80"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def journal() -> Journal:
    return Journal(io.StringIO())


def lines(journal: Journal) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal._file.getvalue().splitlines()]


@pytest.fixture
def trouble(monkeypatch) -> dict[str, Exception]:
    """What goes wrong at which HAProxy."""
    found = {}

    async def request(self, request):
        if self._host in found:
            raise found[self._host]
        return "1.0"

    monkeypatch.setattr(Client, "_request", request)
    return found


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), ConnectionResetError(), asyncio.IncompleteReadError(b"", 1)]
)
async def test_a_client_whose_haproxy_is_gone_stays_with_the_other(journal, trouble, error) -> None:
    """The request goes there, and those that follow as well."""
    client = Mover(URLS, journal, keeps=True)
    trouble["198.18.0.1"] = error

    assert [await client._request(number) for number in "12"] == ["1.0", "1.0"]

    assert [line["moved"] for line in lines(journal) if "moved" in line] == ["1"]
    assert {line["edge"] for line in lines(journal) if "version" in line} == {"198.18.0.2"}


async def test_no_request_goes_to_one_haproxy_twice(journal, trouble) -> None:
    """Where both are gone it has failed."""
    trouble |= dict.fromkeys(("198.18.0.1", "198.18.0.2"), ConnectionRefusedError())

    with pytest.raises(ConnectionRefusedError):
        await Mover(URLS, journal, keeps=False)._request("1")

    assert [line["edge"] for line in lines(journal)] == ["198.18.0.1"]


async def test_a_bad_answer_is_an_answer(journal, trouble) -> None:
    """Nobody asks another HAProxy because he does not like what the first one said."""
    trouble["198.18.0.1"] = ValueError("status 503")

    with pytest.raises(ValueError, match="503"):
        await Mover(URLS, journal, keeps=False)._request("1")

    assert lines(journal) == []
