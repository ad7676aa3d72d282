"""The HTTP client: tokens, repeats, errors."""

from __future__ import annotations

import httpx
import pytest

from rollwave.cli.client import Client
from rollwave.cli.connection import Connection
from rollwave.cli.errors import ApiError, NotRollwaveError, ReplyLostError, UnreachableError
from tests.unit.cli.fake_api import ENDPOINT, error_body


def client_of(answer, *, token=None, pauses=None):
    return Client(
        Connection(endpoint=ENDPOINT, token=token),
        transport=httpx.MockTransport(answer),
        sleep=(pauses if pauses is not None else []).append,
    )


def script(*answers):
    """Give one answer after the other; an exception is raised. Returns the handler and what it was asked."""
    asked = []
    left = list(answers)

    def answer(request):
        request.read()
        asked.append(request)
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return answer, asked


OK = httpx.Response(200, json={"ok": True})


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.ReadTimeout("slow"),
        httpx.Response(502, content=b""),
        httpx.Response(503, json=error_body("server.unavailable", "later")),
    ],
)
def test_a_write_is_repeated_with_the_same_key(trouble):
    """A command whose answer is lost is asked for again, as the same command: the server does it once."""
    answer, asked = script(trouble, OK)

    with client_of(answer) as client:
        assert client.send("POST", "deployments", key="k-1", body={"group": "g"}) == {"ok": True}

    assert [request.headers["Idempotency-Key"] for request in asked] == ["k-1", "k-1"]
    assert asked[0].content == asked[1].content == b'{"group":"g"}'


@pytest.mark.parametrize(
    "trouble", [httpx.ReadError("reset"), httpx.ReadTimeout("slow"), httpx.Response(502), httpx.Response(504)]
)
def test_what_is_shown_once_is_not_asked_for_twice(trouble):
    """A second try would say that it exists, and never show its value: the person hears what to do instead."""
    answer, asked = script(trouble, OK)

    with client_of(answer) as client, pytest.raises(ReplyLostError, match="may have been done") as caught:
        client.send("POST", "tokens", key="k", body={}, once="revoke it")

    assert len(asked) == 1
    assert caught.value.hint == "revoke it"


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), httpx.Response(503, content=b"")])
def test_what_never_arrived_is_asked_for_again_even_then(trouble):
    """Nobody has heard of it."""
    answer, asked = script(trouble, OK)

    with client_of(answer) as client:
        assert client.send("POST", "tokens", key="k", body={}, once="revoke it") == {"ok": True}

    assert len(asked) == 2


def test_what_was_deleted_by_a_try_whose_answer_was_lost_is_deleted():
    """The second try finds nothing, which is what was asked for; a first one that finds nothing is told so."""
    gone = error_body("input.not_found", "no token 'ci'", kind="token", name="ci")
    answer, _ = script(httpx.ReadError("reset"), httpx.Response(404, json=gone))
    with client_of(answer) as client:
        assert client.send("DELETE", "tokens", "ci", key="k") is None

    for first in ([], [httpx.ConnectError("refused")]):
        answer, _ = script(*first, httpx.Response(404, json=gone))
        with client_of(answer) as client, pytest.raises(ApiError):
            client.send("DELETE", "tokens", "ci", key="k")


def test_repeats_end():
    """Four tries, with growing pauses; then the endpoint is named."""
    answer, asked = script(*[httpx.ConnectError("refused")] * 4)
    pauses = []

    with client_of(answer, pauses=pauses) as client, pytest.raises(UnreachableError, match=ENDPOINT):
        client.get("groups")

    assert len(asked) == 4
    assert pauses == sorted(pauses)
    assert sum(pauses) < 5


def test_a_refusal_is_not_repeated():
    """The API has decided; asking again is not the client's to do."""
    answer, asked = script(
        httpx.Response(409, json=error_body("deployment.active", "there is one", deployment_id=3)), OK
    )

    with client_of(answer) as client, pytest.raises(ApiError) as caught:
        client.send("POST", "deployments", key="k", body={})

    assert len(asked) == 1
    assert (caught.value.code, caught.value.message, caught.value.facts) == (
        "deployment.active",
        "there is one",
        {"deployment_id": 3},
    )


def test_an_upload_is_repeated_from_its_beginning():
    """What a broken connection has taken of the archive is sent again."""
    answer, asked = script(httpx.WriteError("reset"), OK)
    opened = []

    def chunks():
        opened.append(1)
        yield b"abc"
        yield b"def"

    with client_of(answer) as client:
        client.upload("packages", "shop", "1", key="k", chunks=chunks, size=6, headers={"Rollwave-Key-Id": "x"})

    assert [request.content for request in asked] == [b"abcdef", b"abcdef"]
    assert len(opened) == 2
    assert asked[1].headers["Content-Length"] == "6"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(404, text="<html>not found</html>"),
        httpx.Response(500, json={"detail": "other software"}),
        httpx.Response(400, json=["error"]),
    ],
)
def test_what_is_not_the_api_is_said_not_to_be(answer):
    """A wrong port or a proxy's page is no crash and no nonsense."""
    with client_of(lambda _request: answer) as client, pytest.raises(NotRollwaveError, match=ENDPOINT):
        client.get("groups")


def test_the_token_is_sent_and_never_shown():
    """It is in the header, and in nothing that can be printed."""
    answer, asked = script(OK)

    with client_of(answer, token="rw_secret") as client:
        client.get("groups")

    assert asked[0].headers["Authorization"] == "Bearer rw_secret"
    assert "rw_secret" not in repr(Connection(endpoint=ENDPOINT, token="rw_secret"))


def test_names_are_quoted():
    """A name with a slash or a space stays one part of the path."""
    answer, asked = script(OK)

    with client_of(answer) as client:
        client.get("groups", "a/b c?d", active=True, group=None)

    assert asked[0].url.raw_path == b"/api/v1/groups/a%2Fb%20c%3Fd?active=true"
