"""The event log of a deployment, over connections that break."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.cli.client import Client
from rollwave.cli.connection import Connection
from rollwave.cli.errors import ApiError, UnreachableError
from rollwave.cli.feed import follow
from tests.unit.cli.fake_api import ENDPOINT, error_body, event, sse

LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No law has to be quick: the machine may be busy."""


class Server:
    """A log of *count* events that breaks connections where it is told to."""

    def __init__(self, count: int, breaks: list[tuple[int, bool]]) -> None:
        self.log = [event(seq) for seq in range(1, count + 1)]
        self.breaks = list(breaks)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers["Last-Event-ID"])
        ahead = self.log[int(request.headers["Last-Event-ID"]) :]
        if not self.breaks:
            return httpx.Response(200, content=sse(*ahead))
        length, is_loud = self.breaks.pop(0)
        body = sse(*ahead[:length], is_over=False)

        def content():
            yield body
            if is_loud:
                raise httpx.ReadError("the network is gone")

        return httpx.Response(200, content=content())


def client_of(answer):
    return Client(Connection(endpoint=ENDPOINT, token=None), transport=httpx.MockTransport(answer), sleep=no_sleep)


def no_sleep(_seconds):
    return None


@LAW
@given(st.integers(0, 12), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6))
def test_every_event_once_and_in_order(count, breaks):
    """However often the connection breaks, and wherever: nothing is missing, nothing comes twice."""
    server = Server(count, breaks)

    with client_of(server) as client:
        seen = [one["seq"] for one in follow(client, 1, sleep=no_sleep)]

    assert seen == list(range(1, count + 1))


def test_a_new_connection_says_what_was_seen_last():
    """Last-Event-ID is the newest event, so that the server does not send everything again."""
    server = Server(5, [(2, True), (0, False)])

    with client_of(server) as client:
        list(follow(client, 1, sleep=no_sleep))

    assert server.asked == ["0", "2", "2"]


def test_an_event_that_comes_again_is_passed_over():
    """A server that repeats itself changes nothing."""
    answer = sse(event(1), event(2), event(1), event(2), event(3))

    with client_of(lambda _request: httpx.Response(200, content=answer)) as client:
        assert [one["seq"] for one in follow(client, 1, sleep=no_sleep)] == [1, 2, 3]


def test_a_refusal_is_final():
    """Asking again would not help: there is no such deployment."""
    refusal = error_body("input.not_found", "no deployment 1")

    with (
        client_of(lambda _request: httpx.Response(404, json=refusal)) as client,
        pytest.raises(ApiError, match="no deployment"),
    ):
        list(follow(client, 1, sleep=no_sleep))


def test_a_server_that_restarts_is_waited_for():
    """503 and a refused connection mean later, not never."""
    answers = [
        httpx.Response(503, json=error_body("server.unavailable", "later")),
        httpx.ConnectError("refused"),
        httpx.Response(502, content=b"<html>"),
        httpx.Response(200, content=sse(event(1))),
    ]

    def answer(_request):
        given_answer = answers.pop(0)
        if isinstance(given_answer, Exception):
            raise given_answer
        return given_answer

    with client_of(answer) as client:
        assert [one["seq"] for one in follow(client, 1, sleep=no_sleep)] == [1]


def test_a_server_that_stays_away_is_given_up():
    """After a bounded number of pauses the feed says which endpoint does not answer."""
    pauses = []

    def answer(_request):
        raise httpx.ConnectError("refused")

    with client_of(answer) as client, pytest.raises(UnreachableError, match=ENDPOINT):
        list(follow(client, 1, sleep=pauses.append))

    assert 20 < sum(pauses) < 60
