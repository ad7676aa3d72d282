"""Whether an instance can be released to."""

from __future__ import annotations

import pytest

from rollwave.engine.host_check import Candidate, HostCheck
from rollwave.ports.balancer import BalancerPoolError, Traffic
from rollwave.ports.executor import (
    Finding,
    Host,
    HostAnswer,
    HostQuestion,
    HostUnknownError,
    HostUnreachableError,
    Verdict,
)
from tests.unit.balancers.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

HOST = Host(instance="shop/a:80", server="a", address="10.0.0.1", port=80, deploy_path="/srv/shop")
QUESTION = HostQuestion(host=HOST, app="app", start=("true",), stop=("true",), health_path="/", free_bytes=1)
CANDIDATE = Candidate(question=QUESTION, executor="any", balancer="lb", pool="web")
PYTHON = Finding(name="python", verdict=Verdict.OK, message="Python 3.11.2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Executor:
    """Answers after a second, with a clock that is off; or raises."""

    def __init__(self, clock, *, off_s=0.0, error=None):
        self.clock = clock
        self.off_s = off_s
        self.error = error

    async def run(self, command):
        raise NotImplementedError

    async def status(self, command):
        raise NotImplementedError

    async def check(self, question):
        if self.error:
            raise self.error
        now = self.clock.now().timestamp() + self.off_s
        await self.clock.sleep(1)
        return HostAnswer(findings=(PYTHON,), now=now)


class Silent:
    """An executor that cannot check."""


class Balancer:
    def __init__(self, error=None):
        self.error = error

    async def read(self, members):
        if self.error:
            raise self.error
        return {member.name: Traffic.OUT for member in members}


async def verdicts(executor, *, balancer=None, clock=None, candidate=CANDIDATE):
    clock = clock or VirtualClock()
    check = HostCheck(executors={"any": executor}, balancers={"lb": balancer or Balancer()}, clock=clock)
    return {one.name: one for one in await check.look(candidate)}


@pytest.mark.parametrize(
    ("off_s", "verdict", "says"),
    [
        (0.0, Verdict.OK, "within 2 s"),
        (2.9, Verdict.OK, "within 2 s"),
        (-1.9, Verdict.OK, "within 2 s"),
        (3.5, Verdict.MISSING, "2.5 s ahead of"),
        (-3.5, Verdict.MISSING, "3.5 s behind"),
    ],
)
async def test_a_clock_is_wrong_only_beyond_doubt(off_s, verdict, says):
    """The way there and back is no fault of the clock; what is left, and is too much for deadlines, is."""
    clock = VirtualClock()

    found = (await verdicts(Executor(clock, off_s=off_s), clock=clock))["clock"]

    assert (found.verdict, says in found.message) == (verdict, True)


async def test_all_that_the_server_says_is_told():
    """What was reached says so, and its own findings follow; the balancer's word comes last."""
    found = await verdicts(Executor(VirtualClock()))

    assert list(found) == ["reach", "clock", "python", "balancer"]
    assert found["python"] is PYTHON
    assert found["balancer"].message == "lb has it in pool web: out"


@pytest.mark.parametrize("error", [HostUnreachableError("no route"), HostUnknownError("a SyntaxError")])
async def test_silence_is_a_finding(error):
    """A server that does not answer is told as such, and the balancer is still looked at."""
    found = await verdicts(Executor(VirtualClock(), error=error))

    assert {name: one.verdict for name, one in found.items()} == {"reach": Verdict.MISSING, "balancer": Verdict.OK}
    assert error.message in found["reach"].message


async def test_a_balancer_that_does_not_know_it_is_a_finding():
    """Its reason is the message; a group without a balancer lacks nothing."""
    found = await verdicts(Executor(VirtualClock()), balancer=Balancer(BalancerPoolError("no pool web")))
    assert (found["balancer"].verdict, found["balancer"].message) == (Verdict.MISSING, "no pool web")

    alone = Candidate(question=QUESTION, executor="any", balancer="", pool="")
    assert (await verdicts(Executor(VirtualClock()), candidate=alone))["balancer"].verdict is Verdict.NOTE


async def test_an_executor_that_cannot_check_says_so():
    """It proves nothing, and is no error."""
    assert (await verdicts(Silent()))["reach"].verdict is Verdict.NOTE
