"""The laws of `rollwave.ports.executor.Executor`, checked from the processes that run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rollwave.ports.executor import (
    CHARACTERS,
    LINES,
    HostReport,
    HostState,
    HostUnknownError,
    HostUnreachableError,
    HostVerb,
)
from tests.contract.executor.world import Order

if TYPE_CHECKING:
    from tests.contract.executor.world import World

pytestmark = pytest.mark.anyio


def essence(report: HostReport) -> tuple[HostState, str]:
    return report.state, report.code


SUCCEEDED = (HostState.SUCCEEDED, "")


def failed(code: str) -> tuple[HostState, str]:
    return HostState.FAILED, code


class TestARelease:
    """What the verbs do."""

    async def test_download_never_touches_the_app(self, world: World) -> None:
        host = world.host()

        assert essence(await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))) == SUCCEEDED

        assert world.running(host) is None
        assert world.starts(host) == 0

    async def test_a_verified_version_is_the_one_that_runs(self, world: World) -> None:
        """I17: the report names the version of the process, and so does the process."""
        host = world.host()
        await world.serve(host, "1.0")

        report = await world.status(Order(host=host, verb=HostVerb.VERIFY))

        assert essence(report) == SUCCEEDED
        assert report.running_version == world.running(host) == "1.0"
        assert world.starts(host) == 1

    async def test_the_next_version_takes_the_place_of_the_first(self, world: World) -> None:
        host = world.host()
        await world.serve(host, "1.0")
        await world.serve(host, "2.0", deployment=2)

        assert world.running(host) == "2.0"

    async def test_install_needs_a_complete_version(self, world: World) -> None:
        """I15: what was not downloaded whole is not installed, and the app that runs is left alone."""
        host = world.host()
        await world.serve(host, "1.0")

        report = await world.run(Order(host=host, verb=HostVerb.INSTALL, version="2.0", deployment=2))

        assert essence(report) == failed("host.version_missing")
        assert world.running(host) == "1.0"
        assert world.starts(host) == 1

    async def test_verify_tells_another_version_from_the_goal(self, world: World) -> None:
        host = world.host()
        await world.serve(host, "1.0")

        report = await world.run(Order(host=host, verb=HostVerb.VERIFY, version="2.0", deployment=2))

        assert essence(report) == failed("health.wrong_version")
        assert report.running_version == "1.0"
        assert "1.0" in report.message
        assert "2.0" in report.message

    async def test_verify_gives_a_sick_version_its_start_up_time_and_no_more(self, world: World) -> None:
        host = world.host()
        plan = {"startup_timeout_s": 1}
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=host, verb=verb, version="broken", plan=plan))

        report = await world.run(Order(host=host, verb=HostVerb.VERIFY, version="broken", plan=plan))

        assert essence(report) == failed("health.timeout")
        assert "/healthz" in report.message

    async def test_an_ignored_verify_succeeds_and_tells_what_it_saw(self, world: World) -> None:
        host = world.host()
        plan = {"startup_timeout_s": 1, "ignore_verify": True}
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=host, verb=verb, version="broken", plan=plan))

        report = await world.run(Order(host=host, verb=HostVerb.VERIFY, version="broken", plan=plan))

        assert essence(report) == SUCCEEDED
        assert report.detail["ignored"]["code"] == "health.timeout"

    @pytest.mark.parametrize(("serving", "code"), [("1.0", "health.wrong_version"), (None, "health.unhealthy")])
    async def test_prove_fails_at_once(self, world: World, serving: str | None, code: str) -> None:
        """Asked before an install, there is nothing to wait for, however long the app may take to start."""
        host = world.host()
        if serving:
            await world.serve(host, serving)
        asked_at = world.now()

        order = Order(host=host, verb=HostVerb.PROVE, version="2.0", deployment=2, plan={"startup_timeout_s": 86_400})
        report = await world.run(order)

        assert essence(report) == failed(code)
        assert world.now() - asked_at < 86_400

    async def test_prove_knows_the_goal_version(self, world: World) -> None:
        """I13: proven again in a new attempt, and not installed again."""
        host = world.host()
        await world.serve(host, "1.0")

        assert essence(await world.run(Order(host=host, verb=HostVerb.PROVE, attempt=2))) == SUCCEEDED
        assert world.starts(host) == 1

        world.crash(host)
        report = await world.run(Order(host=host, verb=HostVerb.PROVE, attempt=3))
        assert essence(report) == failed("health.unhealthy")
        assert report.running_version is None

    async def test_restore_goes_back_to_what_is_still_there(self, world: World) -> None:
        """The previous version runs again and is proven; nothing is fetched."""
        host = world.host()
        await world.serve(host, "1.0")
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=host, verb=verb, version="broken", previous="1.0", deployment=2))

        report = await world.run(
            Order(host=host, verb=HostVerb.RESTORE, version="broken", previous="1.0", deployment=2)
        )

        assert essence(report) == SUCCEEDED
        assert report.running_version == world.running(host) == "1.0"

    @pytest.mark.parametrize("previous", [None, "0.9"])
    async def test_restore_needs_a_previous_version_on_the_host(self, world: World, previous: str | None) -> None:
        host = world.host()
        await world.serve(host, "1.0")

        report = await world.run(Order(host=host, verb=HostVerb.RESTORE, previous=previous))

        assert essence(report) == failed("host.no_previous_version")
        assert world.running(host) == "1.0"


class TestOnce:
    """I11: running a stage twice equals running it once."""

    async def test_a_repeated_command_returns_the_recorded_result(self, world: World) -> None:
        """Even under a higher fence, by another worker: the journal goes by deployment, attempt and verb."""
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
        first = await world.run(Order(host=host, verb=HostVerb.INSTALL))

        again = await world.run(Order(host=host, verb=HostVerb.INSTALL, fence=9))

        assert essence(first) == essence(again) == SUCCEEDED
        assert world.starts(host) == 1

    async def test_a_failure_is_remembered_too(self, world: World) -> None:
        """The same attempt does not fail and then succeed behind the back of whoever recorded the failure."""
        host = world.host()
        install = Order(host=host, verb=HostVerb.INSTALL)
        first = await world.run(install)
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

        assert essence(await world.run(install)) == essence(first) == failed("host.version_missing")
        assert world.starts(host) == 0

    async def test_a_command_that_is_doubled_in_flight_is_done_once(self, world: World) -> None:
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

        install = Order(host=host, verb=HostVerb.INSTALL)
        reports = await asyncio.gather(*(world.run(install) for _ in range(3)))

        assert [essence(report) for report in reports] == [SUCCEEDED] * 3
        assert world.starts(host) == 1

    async def test_a_new_attempt_does_it_again(self, world: World) -> None:
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
        for attempt in (1, 2):
            report = await world.run(Order(host=host, verb=HostVerb.INSTALL, attempt=attempt))
            assert essence(report) == SUCCEEDED
            assert essence(await world.run(Order(host=host, verb=HostVerb.VERIFY, attempt=attempt))) == SUCCEEDED

        assert world.starts(host) == 2


class TestRefusal:
    """I9: what a host refuses has no effect."""

    async def test_a_lower_fence_is_refused(self, world: World) -> None:
        """By run and by status alike: whoever holds a lower fence has been replaced."""
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD, fence=5))
        stale = Order(host=host, verb=HostVerb.INSTALL, fence=4)

        assert essence(await world.run(stale)) == failed("host.fenced")
        assert essence(await world.status(stale)) == failed("host.fenced")

        assert world.starts(host) == 0
        assert (await world.status(replace(stale, fence=5))).state is HostState.ABSENT

    async def test_a_command_after_its_deadline_is_refused_and_not_remembered(self, world: World) -> None:
        """A frozen agent may deliver late; the same command in time still goes."""
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
        install = Order(host=host, verb=HostVerb.INSTALL)

        assert essence(await world.run(replace(install, in_s=-1))) == failed("host.deadline_passed")
        assert world.starts(host) == 0

        assert essence(await world.run(install)) == SUCCEEDED

    async def test_the_deadline_is_for_beginnings_only(self, world: World) -> None:
        """A result that is there is given, however late somebody asks."""
        host = world.host()
        download = Order(host=host, verb=HostVerb.DOWNLOAD)
        await world.run(download)

        assert essence(await world.run(replace(download, in_s=-1))) == SUCCEEDED
        assert essence(await world.status(replace(download, in_s=-1))) == SUCCEEDED


class TestRestoredController:
    """
    I3, I17: a controller whose database was restored from a backup is told nothing about releases that it lost.

    It gives their ids again, and releases that it believes to be under way were followed by others.
    """

    async def test_a_deployment_is_not_answered_from_the_records_of_another_with_its_id(self, world: World) -> None:
        """The lost one brought 2.0, and one after it took it away: 2.0 is installed anew, and proven anew."""
        host = world.host()
        for at, version in enumerate(("2.0", "1.0"), start=1):
            for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL, HostVerb.VERIFY):
                lost = Order(host=host, verb=verb, version=version, deployment=at, created_us=at)
                assert essence(await world.run(lost)) == SUCCEEDED

        again = Order(host=host, verb=HostVerb.VERIFY, version="2.0", deployment=1, created_us=3)
        assert essence(await world.status(again)) == (HostState.ABSENT, "")
        assert essence(await world.run(replace(again, verb=HostVerb.INSTALL))) == SUCCEEDED
        assert essence(await world.run(again)) == SUCCEEDED
        assert (world.running(host), world.starts(host)) == ("2.0", 3)

    async def test_a_deployment_that_was_followed_by_another_is_over(self, world: World) -> None:
        """Not even what it did itself is told: it is no longer so. Who asks under a new deployment is answered."""
        host = world.host()
        for at in (1, 2):
            await world.serve(host, f"{at}.0", deployment=at)
        starts = world.starts(host)

        for verb in (HostVerb.VERIFY, HostVerb.INSTALL):
            old = Order(host=host, verb=verb, version="1.0", deployment=1)
            assert essence(await world.status(old)) == failed("host.superseded")
            assert essence(await world.run(old)) == failed("host.superseded")
            assert essence(await world.run(replace(old, attempt=2))) == failed("host.superseded")
        assert (world.running(host), world.starts(host)) == ("2.0", starts)

        await world.serve(host, "1.0", deployment=3)
        assert world.running(host) == "1.0"


class TestWhatWasDone:
    """A report says what the verb did, in a few lines."""

    @pytest.mark.parametrize("verb", HostVerb)
    async def test_every_verb_says_what_it_did(self, world: World, verb: HostVerb) -> None:
        """In order, so many lines and so wide; repeated, or read back by another worker, the same ones."""
        host = world.host()
        await world.serve(host, "1.0")
        await world.serve(host, "2.0", deployment=2)
        order = Order(host=host, verb=verb, version="2.0", previous="1.0", deployment=2, attempt=2)

        report = await world.run(order)

        assert essence(report) == SUCCEEDED
        times = [line.after_ms for line in report.lines]
        assert times == sorted(times)
        assert 0 < len(times) <= LINES
        assert all(0 < len(line.text) <= CHARACTERS for line in report.lines)
        assert (await world.run(order)).lines == report.lines
        assert (await world.status(replace(order, fence=2))).lines == report.lines

    async def test_what_was_on_the_host_is_told_from_what_was_fetched(self, world: World) -> None:
        host = world.host()
        first = await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
        again = await world.run(Order(host=host, verb=HostVerb.DOWNLOAD, attempt=2))

        assert "fetched" in " ".join(line.text for line in first.lines)
        assert "1.0 is complete on this host already" in again.lines[0].text

    async def test_an_install_names_what_it_switched(self, world: World) -> None:
        host = world.host()
        await world.serve(host, "1.0")
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            report = await world.run(Order(host=host, verb=verb, version="2.0", previous="1.0", deployment=2))

        assert "current: 1.0 -> 2.0" in [line.text for line in report.lines]

    async def test_a_lost_reply_takes_no_line_along(self, world: World) -> None:
        host = world.host()
        await world.run_unheard(Order(host=host, verb=HostVerb.DOWNLOAD))

        assert (await world.status(Order(host=host, verb=HostVerb.DOWNLOAD, fence=2))).lines


class TestReadingBack:
    """I12: what is unknown is read back from the host."""

    async def test_a_host_that_was_never_told_anything_says_so(self, world: World) -> None:
        report = await world.status(Order(host=world.host(), verb=HostVerb.VERIFY))

        assert essence(report) == (HostState.ABSENT, "")
        assert report.running_version is None

    async def test_a_lost_reply_is_in_the_journal(self, world: World) -> None:
        host = world.host()
        await world.run_unheard(Order(host=host, verb=HostVerb.DOWNLOAD))
        await world.run_unheard(Order(host=host, verb=HostVerb.INSTALL))
        await world.run_unheard(Order(host=host, verb=HostVerb.VERIFY, version="2.0"))

        assert essence(await world.status(Order(host=host, verb=HostVerb.INSTALL, fence=2))) == SUCCEEDED
        told = await world.status(Order(host=host, verb=HostVerb.VERIFY, version="2.0", fence=2))
        assert essence(told) == failed("health.wrong_version")
        assert world.starts(host) == 1

    async def test_after_absent_no_older_command_can_begin(self, world: World) -> None:
        """The answer is final: a command that was on its way all the time is refused when it arrives."""
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
        install = Order(host=host, verb=HostVerb.INSTALL)
        assert (await world.status(replace(install, fence=2))).state is HostState.ABSENT

        assert essence(await world.run(install)) == failed("host.fenced")

        assert world.starts(host) == 0

    async def test_attempts_and_deployments_have_their_own_journal(self, world: World) -> None:
        host = world.host()
        download = Order(host=host, verb=HostVerb.DOWNLOAD)
        await world.run(download)

        for other in (
            replace(download, attempt=2),
            replace(download, deployment=2),
            replace(download, verb=HostVerb.VERIFY),
        ):
            assert (await world.status(other)).state is HostState.ABSENT

    async def test_cancelling_the_caller_does_not_stop_the_verb(self, world: World) -> None:
        host = world.host()
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=host, verb=verb))
        world.hold(host)
        verify = Order(host=host, verb=HostVerb.VERIFY)
        caller = asyncio.create_task(world.run(verify))
        await world.at_work(verify)

        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

        assert (await world.status(verify)).state is HostState.RUNNING
        world.release(host)
        assert essence(await world.settled(verify)) == SUCCEEDED

    async def test_a_verb_that_began_ends_even_under_a_higher_fence(self, world: World) -> None:
        """Half an install is worse than a whole one: a new worker waits for it and goes on from its result."""
        host = world.host()
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=host, verb=verb))
        world.hold(host)
        verify = Order(host=host, verb=HostVerb.VERIFY)
        caller = asyncio.create_task(world.run(verify))
        await world.at_work(verify)

        newer = replace(verify, fence=2)
        assert (await world.status(newer)).state is HostState.RUNNING
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        world.release(host)

        assert essence(await world.run(newer)) == SUCCEEDED


class TestHosts:
    """Each host for itself."""

    async def test_a_server_that_is_down_is_unreachable_until_it_is_back(self, world: World) -> None:
        host = world.host()
        await world.serve(host, "1.0")
        order = Order(host=host, verb=HostVerb.PROVE)
        world.take_down(host)

        for call in (world.run, world.status):
            with pytest.raises(HostUnreachableError) as caught:
                await call(order)
            assert isinstance(caught.value, HostUnknownError)
            assert caught.value.facts["server"] == host.server

        world.bring_back(host)
        assert (await world.status(order)).state is HostState.ABSENT
        assert (await world.run(order)).running_version == "1.0"

    async def test_hosts_do_not_interfere(self, world: World) -> None:
        """Neither a verb that hangs, nor a fence, nor a failure of one host is felt on another."""
        stuck, failing, good = (world.host() for _ in range(3))
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
            await world.run(Order(host=stuck, verb=verb, fence=7))
        world.hold(stuck)
        hanging = Order(host=stuck, verb=HostVerb.VERIFY, fence=7)
        caller = asyncio.create_task(world.run(hanging))
        await world.at_work(hanging)

        report, _ = await asyncio.gather(
            world.run(Order(host=failing, verb=HostVerb.INSTALL)), world.serve(good, "1.0")
        )

        assert essence(report) == failed("host.version_missing")
        assert [world.running(host) for host in (failing, good)] == [None, "1.0"]
        world.release(stuck)
        assert essence(await caller) == SUCCEEDED
