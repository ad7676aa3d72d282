"""The faults that the fake fleet can be told to have. What it shares with real executors is in the contract suite."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from rollwave.ports.executor import (
    Host,
    HostCommand,
    HostPlan,
    HostState,
    HostUnknownError,
    HostUnreachableError,
    HostVerb,
)
from rollwave.ports.packages import SignedPackage
from rollwave.testing.fake_executor import FakeExecutor, Moment
from rollwave.testing.fake_host import Key
from rollwave.testing.faults import (
    DeliverLate,
    DeliverTwice,
    Fail,
    Hang,
    KillWorker,
    LoseCommand,
    LoseReply,
    Unreachable,
)

WEB = "shop/web-1:80"


class SteppingClock:
    """Time passes when somebody sleeps, and only then."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return SteppingClock()


@pytest.fixture
def fleet(clock):
    return FakeExecutor(clock=clock, durations_s={HostVerb.INSTALL: 10.0}, reply_timeout_s=30.0, patience_s=600.0)


@pytest.fixture
def command(clock):
    def build(verb: HostVerb, **other) -> HostCommand:
        plan = HostPlan(
            deployment_id=1,
            created_us=1,
            host=Host(instance=WEB, server="web-1", address="::", port=80, deploy_path="/srv"),
            package=SignedPackage(
                app="shop", version="1", sha256="0" * 64, size=1, manifest=b"", signature=b"", key_id="", url=""
            ),
            previous_version=None,
            start=("start",),
            stop=("stop",),
            health_path="/healthz",
        )
        fields = {"attempt": 1, "fence": 1, "deadline": clock.now().timestamp() + 60} | other
        return HostCommand(plan=plan, verb=verb, **fields)

    return build


@pytest.fixture
def install(fleet, command):
    """An install command to a host that has the version."""
    asyncio.run(fleet.run(command(HostVerb.DOWNLOAD)))
    return command(HostVerb.INSTALL)


def run(fleet, command):
    return asyncio.run(fleet.run(command))


def state(fleet, command):
    return asyncio.run(fleet.status(command)).state


def test_a_verb_takes_its_time_and_the_app_is_down_meanwhile(fleet, install, clock):
    """Half-way through an install nothing serves, whoever waits for it or not."""
    host = fleet.host(WEB)
    host.running = "0"
    host.submit(install, fault=None, now=clock.now())

    clock.time += timedelta(seconds=9.9)
    assert fleet.host(WEB).running is None

    clock.time += timedelta(seconds=0.1)
    assert fleet.host(WEB).running == "1"


def test_a_caller_waits_as_long_as_the_verb_takes(fleet, install, clock):
    began_at = clock.now()

    run(fleet, install)

    assert clock.now() - began_at == timedelta(seconds=10)


def test_a_scripted_failure_is_journaled(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, Fail(code="lifecycle.start_failed"))

    assert run(fleet, install).code == "lifecycle.start_failed"
    assert run(fleet, install).code == "lifecycle.start_failed"
    assert fleet.host(WEB).running is None
    assert fleet.host(WEB).installs.total() == 0


def test_faults_meet_one_command_each(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, None, Fail(code="x.y"))

    assert [run(fleet, replace(install, attempt=attempt)).code for attempt in (1, 2, 3)] == ["", "x.y", ""]


def test_a_lost_command_has_no_effect(fleet, install, clock):
    fleet.script(WEB, HostVerb.INSTALL, LoseCommand())
    began_at = clock.now()

    with pytest.raises(HostUnknownError):
        run(fleet, install)

    assert clock.now() - began_at == timedelta(seconds=30)
    assert state(fleet, install) is HostState.ABSENT


def test_a_lost_reply_has_its_effect(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, LoseReply())

    with pytest.raises(HostUnknownError):
        run(fleet, install)

    assert state(fleet, install) is HostState.SUCCEEDED
    assert fleet.host(WEB).running == "1"


@pytest.mark.parametrize(("delay_s", "is_done"), [(20, True), (61, False)])
def test_a_late_command_has_its_effect_unless_its_deadline_passed(fleet, install, clock, delay_s, is_done):
    """A frozen agent may deliver half a minute late; past the deadline the host refuses."""
    fleet.script(WEB, HostVerb.INSTALL, DeliverLate(delay_s=delay_s))
    with pytest.raises(HostUnknownError):
        run(fleet, install)

    clock.time += timedelta(seconds=100)

    assert fleet.host(WEB).installs[1, 1] == int(is_done)


def test_a_late_command_cannot_pass_a_status_under_a_higher_fence(fleet, install, clock):
    fleet.script(WEB, HostVerb.INSTALL, DeliverLate(delay_s=40))
    with pytest.raises(HostUnknownError):
        run(fleet, install)
    assert state(fleet, replace(install, fence=2)) is HostState.ABSENT

    clock.time += timedelta(seconds=20)

    assert fleet.host(WEB).installs.total() == 0


@pytest.mark.parametrize("delay_s", [0, 5, 50])
def test_a_doubled_command_is_done_once(fleet, install, clock, delay_s):
    fleet.script(WEB, HostVerb.INSTALL, DeliverTwice(delay_s=delay_s))

    assert run(fleet, install).state is HostState.SUCCEEDED
    clock.time += timedelta(seconds=100)

    assert fleet.host(WEB).installs[1, 1] == 1


def test_a_verb_that_hangs_runs_until_it_is_released(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, Hang())
    with pytest.raises(HostUnknownError):
        run(fleet, install)

    assert state(fleet, install) is HostState.RUNNING
    assert fleet.host(WEB).at_work == Key(1, 1, 1, HostVerb.INSTALL)

    fleet.release(WEB)
    assert state(fleet, install) is HostState.SUCCEEDED
    assert fleet.host(WEB).at_work is None


def test_a_killed_worker_leaves_the_app_down_and_the_verb_to_be_done_again(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, KillWorker())
    fleet.host(WEB).running = "0"
    with pytest.raises(HostUnknownError):
        run(fleet, install)

    report = asyncio.run(fleet.status(install))
    assert (report.state, report.detail) == (HostState.ABSENT, {"interrupted": True})
    assert fleet.host(WEB).running is None

    assert run(fleet, install).state is HostState.SUCCEEDED


@pytest.mark.parametrize("switched", [False, True])
def test_a_host_that_loses_power_forgets_what_it_was_doing_and_nothing_that_it_wrote(fleet, command, clock, switched):
    """The install at work is begun and not done; what was recorded stays so; its supervisor starts the link."""
    run(fleet, command(HostVerb.DOWNLOAD))
    install, host = command(HostVerb.INSTALL), fleet.host(WEB)
    host.current = host.running = "0"
    fleet.script(WEB, HostVerb.INSTALL, Hang())
    with pytest.raises(HostUnknownError):
        run(fleet, install)

    host.lose_power(switched=switched)
    assert (host.running, host.at_work) == (None, None)
    with pytest.raises(HostUnreachableError):
        state(fleet, install)

    host.boot()
    assert host.running == host.current == (install.plan.package.version if switched else "0")
    assert state(fleet, command(HostVerb.DOWNLOAD)) is HostState.SUCCEEDED
    report = asyncio.run(fleet.status(install))
    assert (report.state, report.detail) == (HostState.ABSENT, {"interrupted": True})
    assert run(fleet, command(HostVerb.INSTALL)).state is HostState.SUCCEEDED
    assert host.installs[1, 1] == 1


def test_a_host_can_be_out_of_reach_once_or_for_longer(fleet, install):
    fleet.script(WEB, HostVerb.INSTALL, Unreachable())
    fleet.script(WEB, None, Unreachable())
    with pytest.raises(HostUnreachableError):
        run(fleet, install)
    with pytest.raises(HostUnreachableError):
        state(fleet, install)
    assert state(fleet, install) is HostState.ABSENT

    fleet.host(WEB).is_reachable = False
    with pytest.raises(HostUnreachableError):
        run(fleet, install)


def test_what_queues_behind_a_verb_begins_when_that_one_ends(fleet, install, command, clock):
    """One verb at a time; the second is judged when its turn comes, here after its deadline."""
    late = command(HostVerb.VERIFY, deadline=clock.now().timestamp() + 5)
    host = fleet.host(WEB)
    host.submit(install, fault=None, now=clock.now())
    queued = host.submit(late, fault=None, now=clock.now())
    assert state(fleet, late) is HostState.RUNNING

    clock.time += timedelta(seconds=100)
    fleet.settle()

    assert queued.report is not None
    assert queued.report.code == "host.deadline_passed"
    assert state(fleet, late) is HostState.ABSENT


def test_a_scheduler_can_come_in_between(clock, command):
    """The gate is awaited before a command arrives and after it is done."""
    seen = []

    async def gate(moment, command):
        seen.append((moment, command.verb, sorted(fleet.host(WEB).complete)))

    fleet = FakeExecutor(clock=clock, gate=gate)
    run(fleet, command(HostVerb.DOWNLOAD))

    assert seen == [(Moment.SENT, HostVerb.DOWNLOAD, []), (Moment.ANSWERED, HostVerb.DOWNLOAD, ["1"])]


def test_the_same_story_ends_the_same_way(clock, command):
    """Nothing but the calls decides: no randomness, no background."""

    def story():
        fleet = FakeExecutor(clock=SteppingClock(), durations_s={HostVerb.DOWNLOAD: 3})
        fleet.script(WEB, HostVerb.DOWNLOAD, DeliverLate(delay_s=7), LoseReply(), None)
        codes = []
        for attempt in (1, 2, 3):
            try:
                codes.append(run(fleet, command(HostVerb.DOWNLOAD, attempt=attempt)).state)
            except HostUnknownError as error:
                codes.append(error.code)
        return codes, fleet.host(WEB).complete

    assert story() == story()
