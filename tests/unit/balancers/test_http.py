"""The calls to an endpoint of the user's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from rollwave.balancers.http import HttpBalancer, read_secret
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from rollwave.ports.balancer import Member
    from tests.unit.balancers.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

KEY = b"k" * 24
URL = "http://lb.test/rollwave"


class Endpoint:
    """Answers with what it was given, in turn, the last for ever; remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def listed(*, in_traffic: bool, requests: int = 0, address: str = "10.0.0.1") -> httpx.Response:
    member = {"address": address, "port": 80, "in_traffic": in_traffic, "requests": requests, "more": 1}
    return httpx.Response(200, json={"members": [member]})


def balancer(endpoint: Endpoint, clock: VirtualClock) -> HttpBalancer:
    made = HttpBalancer(URL, key=KEY, clock=clock, make_id=lambda: "one")
    made._http = httpx.AsyncClient(transport=httpx.MockTransport(endpoint))
    return made


async def test_a_call_is_signed_as_a_whole(clock: VirtualClock, member: Member) -> None:
    """Identity, time and body are signed; the body says all that is wanted, and until when."""
    endpoint = Endpoint(listed(in_traffic=False))

    assert await balancer(endpoint, clock).mark_down(member, drain_timeout_s=1)

    put = endpoint.asked[0]
    now = int(clock.now().timestamp())
    digest = hmac.new(KEY, f"one.{now}.".encode() + put.content, hashlib.sha256).digest()
    assert put.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert (put.headers["webhook-id"], put.headers["webhook-timestamp"]) == ("one", str(now))
    assert json.loads(put.content) == {
        "call": "put",
        "pool": "web",
        "member": {"name": "shop/a:80", "address": "10.0.0.1", "port": 80},
        "in_traffic": False,
        "until": now + 2.5,
    }


async def test_what_may_pass_is_tried_again(clock: VirtualClock, member: Member) -> None:
    """After silence and 5xx the same call is sent again, with the same identity and the same end."""
    endpoint = Endpoint(httpx.ConnectError("refused"), httpx.Response(502), listed(in_traffic=True))

    await balancer(endpoint, clock).mark_up(member)

    puts = [request for request in endpoint.asked if b'"put"' in request.content]
    assert len(puts) == 3
    assert len({request.content for request in puts}) == 1
    assert {request.headers["webhook-id"] for request in puts} == {"one"}


async def test_tries_end_with_the_time_of_the_call(clock: VirtualClock, member: Member) -> None:
    """Where nothing helps, it is BalancerUnknownError within the time of a call, and says what came last."""
    began = clock.now()

    with pytest.raises(BalancerUnknownError, match=r"within 2.5 s: status 503 no worker"):
        await balancer(Endpoint(httpx.Response(503, text="no worker")), clock).read([member])

    assert (clock.now() - began).total_seconds() <= 2.5


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_mistake_in_the_set_up_is_told_at_once(clock: VirtualClock, member: Member, status: int) -> None:
    """A refusal that repetition cannot help is BalancerPoolError with the endpoint's words."""
    endpoint = Endpoint(httpx.Response(status, json={"error": "no pool web"}))

    with pytest.raises(BalancerPoolError, match=f"status {status}.*no pool web"):
        await balancer(endpoint, clock).mark_up(member)

    assert len(endpoint.asked) == 1


async def test_silence_about_a_member_is_no_proof(clock: VirtualClock, member: Member) -> None:
    """A member that is not listed may get requests under another address: it is never taken for drained."""
    endpoint = Endpoint(listed(in_traffic=False, address="a.example"))

    with pytest.raises(BalancerPoolError, match=r"lists 0 members 10.0.0.1:80"):
        await balancer(endpoint, clock).mark_down(member, drain_timeout_s=1)


async def test_nonsense_is_unknown(clock: VirtualClock, member: Member) -> None:
    """An answer of another form is BalancerUnknownError that shows it."""
    with pytest.raises(BalancerUnknownError, match="nobody understands"):
        await balancer(Endpoint(httpx.Response(200, text="<html>")), clock).read([member])


async def test_up_waits_until_it_is_listed(clock: VirtualClock, member: Member) -> None:
    """mark_up waits for the endpoint's own health check, and gives up with what is listed."""
    slow = Endpoint(listed(in_traffic=False), listed(in_traffic=False), listed(in_traffic=True))
    await balancer(slow, clock).mark_up(member)

    with pytest.raises(BalancerUnknownError, match="lists it as out after 30 s"):
        await balancer(Endpoint(listed(in_traffic=False)), clock).mark_up(member)


async def test_requests_are_draining(clock: VirtualClock, member: Member) -> None:
    """Out with requests under way is draining; mark_down gives up on them when its time is over."""
    busy = balancer(Endpoint(listed(in_traffic=False, requests=2)), clock)

    assert await busy.read([member]) == {member.name: Traffic.DRAINING}
    assert await busy.mark_down(member, drain_timeout_s=1) is False


@pytest.mark.parametrize(("text", "reason"), [("whsec_???", "base64"), ("whsec_YWJj", "at least 24")])
def test_weak_secrets_are_refused(text: str, reason: str) -> None:
    """A secret that cannot be read, or guessed, is an error that says what would be right."""
    with pytest.raises(ValueError, match=reason):
        read_secret(text)
