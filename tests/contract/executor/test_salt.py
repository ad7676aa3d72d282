"""What only an executor of minions can get wrong, against a real master, salt-api and minions."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from demo.salt import EAUTH, USER
from rollwave.executors import salt_jobs
from rollwave.executors.salt import SaltExecutor
from rollwave.executors.salt_api import SaltApi, heard_return
from rollwave.ports.executor import HostState, HostUnknownError, HostUnreachableError, HostVerb
from tests.contract.executor.local_world import wait_until, workers_of
from tests.contract.executor.salt_world import SaltWorld
from tests.contract.executor.world import LIMIT_S, Order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from demo.salt import SaltLab
    from rollwave.ports.executor import Host, HostReport
    from tests.contract.executor.local_world import Fleet

pytestmark = pytest.mark.anyio

DEFAULTS = inspect.signature(SaltExecutor).parameters

FOUND_S = 20
"""Ten until the executor looks what became of a verb, and seven for an answer."""


@pytest.fixture
async def world(fleet: Fleet, salt: SaltLab) -> AsyncIterator[SaltWorld]:
    world = SaltWorld(fleet, salt)
    yield world
    await world.close()


@pytest.fixture
async def api(salt: SaltLab) -> AsyncIterator[SaltApi]:
    api = SaltApi(salt.url, user=USER, password=salt.password, eauth=EAUTH)
    yield api
    await api.close()


async def installed(world: SaltWorld) -> Host:
    host = world.host()
    for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
        assert (await world.run(Order(host=host, verb=verb))).state is HostState.SUCCEEDED
    return host


async def verify_at_work(
    world: SaltWorld, executor: SaltExecutor | None = None
) -> tuple[Order, asyncio.Task[HostReport]]:
    """Return a verify that has begun, and cannot end before it is released."""
    host = await installed(world)
    world.hold(host)
    verify = Order(host=host, verb=HostVerb.VERIFY, plan={"startup_timeout_s": 600})
    caller = asyncio.create_task((executor or world.executor).run(world.command(verify)))
    await world.at_work(verify)
    return verify, caller


async def insisted(world: SaltWorld, order: Order) -> HostReport:
    """Ask for the journal until the host answers, as the engine does."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await world.settled(order)
            except HostUnknownError:
                await asyncio.sleep(0)  # every question takes its time


async def made_true(condition: Any) -> None:
    await asyncio.to_thread(wait_until, condition)


# -- Who may call what -------------------------------------------------------------------------------------------------


def calls(salt: SaltLab, function: object, arguments: object) -> httpx.Response:
    """Publish as our user does, with whatever rights it has."""
    login = {"username": USER, "password": salt.password, "eauth": EAUTH}
    low = {"client": "local_async", "tgt": ["minion-1"], "tgt_type": "list", "fun": function, "arg": arguments}
    with httpx.Client(base_url=salt.url, headers={"Accept": "application/json"}, timeout=LIMIT_S) as client:
        token = client.post("/login", json=login).json()["return"][0]["token"]
        client.cookies.clear()
        return client.post("/", json=[low], headers={"X-Auth-Token": token})


async def test_our_user_may_call_our_module_and_nothing_else(salt: SaltLab, tmp_path: Path) -> None:
    """
    Not by a compound call either, for which Salt's list of allowed functions does not hold: its black list does.

    The master runs with the very lines of docs/salt.md.
    """
    harm = f"touch {tmp_path / 'harm'}"

    refused = [
        calls(salt, "cmd.run", [harm]),
        calls(salt, ["rollwave.ping", "cmd.run"], [[], [harm]]),
        calls(salt, ["cmd.run", "rollwave.ping"], [[harm], []]),
        calls(salt, "rollwaveX.ping", []),
        # What others may publish on this master is not for our user.
        calls(salt, "saltutil.sync_modules", []),
        calls(salt, ["rollwave.ping", "rollwave.ping", "cmd.run"], [[], [], [harm]]),
    ]

    assert [response.status_code for response in refused] == [httpx.codes.UNAUTHORIZED] * len(refused)
    assert calls(salt, "rollwave.ping", []).json()["return"][0]["minions"] == ["minion-1"]
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("function", [["rollwave.ping", "cmd.run"], "cmd.run", "rollwave.ping;cmd.run", ""])
async def test_we_publish_no_other_function_ourselves(api: SaltApi, function: Any) -> None:
    with pytest.raises(ValueError, match="no function"):
        await api.publish(function, {}, minions=["minion-1"], job_id="1")


async def test_a_wrong_password_is_named(salt: SaltLab) -> None:
    api = SaltApi(salt.url, user=USER, password="wrong", eauth=EAUTH)
    try:
        with pytest.raises(HostUnknownError, match=f"{USER} cannot log in.*{EAUTH}"):
            await api.publish("rollwave.ping", {}, minions=["minion-1"], job_id="1")
    finally:
        await api.close()


async def test_a_token_that_has_expired_is_replaced_and_no_cookie_is_kept(world: SaltWorld) -> None:
    """salt-api forgets its tokens when it is started again, and believes a cookie more than a token."""
    host = world.host()
    await world.status(Order(host=host, verb=HostVerb.PROVE))
    api = world.executor._session().api
    assert api._token
    api._token = "0" * 40

    assert (await world.status(Order(host=host, verb=HostVerb.PROVE))).state is HostState.ABSENT
    assert api._token != "0" * 40
    assert not api._client.cookies


# -- Publishing --------------------------------------------------------------------------------------------------------


async def test_what_is_ready_together_shares_a_publish(world: SaltWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for a new plan on any number of minions: one that finds it missing, one that brings it."""
    published: list[tuple[str, ...]] = []
    publish = SaltApi.publish

    async def counted(self: SaltApi, function: str, document: Any, *, minions: Any, job_id: str) -> frozenset[str]:
        published.append(tuple(sorted(minions)))
        return await publish(self, function, document, minions=minions, job_id=job_id)

    monkeypatch.setattr(SaltApi, "publish", counted)
    names = sorted(world.lab.minions)
    hosts = [msgspec.structs.replace(world.host(), server=name) for name in names]
    await world.status(Order(host=hosts[0], verb=HostVerb.PROVE))  # the stream is open by now
    published.clear()

    reports = await asyncio.gather(*(world.run(Order(host=host, verb=HostVerb.DOWNLOAD)) for host in hosts[1:]))

    assert {report.state for report in reports} == {HostState.SUCCEEDED}
    assert published[0] == tuple(names[1:])
    # Minions answer at different times, so what is missing may be brought in several.
    assert len(published) <= 1 + len(names[1:])


async def test_publishes_side_by_side_are_all_done_and_each_once(world: SaltWorld) -> None:
    """salt-api 3006 answers some of them with status 500, which says nothing of what became of them."""
    hosts = await asyncio.gather(*(installed(world) for _ in range(4)))
    ours = world._new_executor(parallel=4)
    verbs = (HostVerb.VERIFY, HostVerb.PROVE, HostVerb.DOWNLOAD, HostVerb.INSTALL)  # each verb is a publish of its own

    try:
        reports = await asyncio.gather(
            *(ours.run(world.command(Order(host=host, verb=verb))) for host, verb in zip(hosts, verbs, strict=True))
        )
    finally:
        await ours.close()

    assert [report.state for report in reports] == [HostState.SUCCEEDED] * len(hosts)
    assert [world.starts(host) for host in hosts] == [1] * len(hosts)


async def test_instances_of_one_server_do_not_wait_for_each_other(world: SaltWorld) -> None:
    """One publish tells a minion one thing."""
    first, second = world.host(), world.host()
    second = msgspec.structs.replace(second, server=first.server)

    reports = await asyncio.gather(
        *(world.run(Order(host=host, verb=HostVerb.DOWNLOAD)) for host in (first, second)),
    )

    assert [report.state for report in reports] == [HostState.SUCCEEDED] * 2


async def test_the_drain_file_comes_and_goes(world: SaltWorld) -> None:
    host = world.host()

    def is_there() -> bool:
        return Path(host.deploy_path, "shared", "drain").exists()

    for is_drained in (False, True, True, False):
        await world.executor.set_drain(host, drained=is_drained)
        assert await world.executor.is_drained(host) is is_there() is is_drained


# -- Returns -----------------------------------------------------------------------------------------------------------


async def test_a_return_that_no_event_told_is_in_the_job_cache(
    world: SaltWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salt_jobs, "heard_return", lambda *_arguments, **_named: None)

    report = await world.run(Order(host=world.host(), verb=HostVerb.DOWNLOAD))

    assert report.state is HostState.SUCCEEDED


async def test_a_return_that_was_lost_is_in_the_journal(world: SaltWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither event nor job cache: a master that is killed has told nobody, and forgotten."""
    host = await installed(world)

    def deaf_to_verify(tag: str, data: str, *, job_ids: Any) -> Any:
        return None if '"rollwave.verify"' in data else heard_return(tag, data, job_ids=job_ids)

    async def forgotten(_self: SaltApi, _job_id: str) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(salt_jobs, "heard_return", deaf_to_verify)
    monkeypatch.setattr(SaltApi, "returns", forgotten)

    report = await world.run(Order(host=host, verb=HostVerb.VERIFY))

    assert report.state is HostState.SUCCEEDED
    assert report.running_version == "1.0"


async def test_a_return_that_comes_twice_counts_once(world: SaltWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    events = SaltApi.events

    async def doubled(self: SaltApi) -> AsyncIterator[tuple[str, str]]:
        async for event in events(self):
            yield event
            yield event

    monkeypatch.setattr(SaltApi, "events", doubled)
    host = world.host()

    await world.serve(host, "1.0")

    assert world.starts(host) == 1


def test_only_returns_of_our_jobs_are_heard() -> None:
    """The master's bus carries everybody's events, and names that anybody may choose."""
    data = json.dumps({"data": {"return": {"exit_code": 0}}})

    assert heard_return("salt/job/7/ret/a/b", data, job_ids={"7"}) == ("7", "a/b", {"exit_code": 0})
    for tag in ("salt/job/8/ret/a", "salt/job/7/new", "salt/run/7/ret", "7", ""):
        assert heard_return(tag, data, job_ids={"7"}) is None
    for garbage in ("", "[]", '{"data": 1}', '{"data": {}}'):
        assert heard_return("salt/job/7/ret/a", garbage, job_ids={"7"}) is None


# -- Death -------------------------------------------------------------------------------------------------------------


async def test_a_minion_that_the_master_does_not_know_is_unreachable_at_once(world: SaltWorld) -> None:
    host = msgspec.structs.replace(world.host(), server="stranger")
    world.executor._answer_s = world.executor._look_s = LIMIT_S

    with pytest.raises(HostUnreachableError, match="no accepted key of a minion stranger") as caught:
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
    assert caught.value.code == "host.unreachable"


async def test_a_minion_with_a_strange_key_is_told_nothing(world: SaltWorld) -> None:
    """Whoever shows another key under an accepted name is turned away by the master, and unreachable for us."""
    host = await installed(world)
    world.lab.minions[host.server].kill()
    with world.lab.strange_key(host.server):
        world.lab.start_rejected(host.server)

        with pytest.raises(HostUnreachableError) as caught:
            await world.run(Order(host=host, verb=HostVerb.VERIFY))

        world.lab.minions[host.server].kill()
    assert caught.value.facts["server"] == host.server
    world.bring_back(host)
    assert (await world.status(Order(host=host, verb=HostVerb.VERIFY))).state is HostState.ABSENT


async def test_a_minion_that_dies_in_mid_stage_is_unreachable_in_seconds_and_its_verb_goes_on(
    world: SaltWorld,
) -> None:
    """Found with every patience as it is by default; and what had begun ends without the minion."""
    unhurried = world._new_executor(answer_s=DEFAULTS["answer_s"].default, look_s=DEFAULTS["look_s"].default)
    verify, caller = await verify_at_work(world, unhurried)
    killed_at = time.monotonic()
    world.lab.minions[verify.host.server].kill()

    with pytest.raises(HostUnreachableError) as caught:
        await caller
    assert time.monotonic() - killed_at < FOUND_S
    assert caught.value.facts["server"] == verify.host.server
    await unhurried.close()

    world.release(verify.host)
    world.bring_back(verify.host)
    assert (await world.settled(verify)).state is HostState.SUCCEEDED
    assert world.starts(verify.host) == 1


async def test_a_driver_killed_in_mid_stage_is_known_to_have_ended(world: SaltWorld) -> None:
    """Its worker, too: the journal says that it began, and to ask again does it again."""
    verify, caller = await verify_at_work(world)
    drivers = workers_of(verify.host)
    assert drivers
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(HostUnknownError) as caught:
        await caller
    assert caught.value.code == "host.unknown"
    report = await world.settled(verify)
    assert report.state is HostState.ABSENT
    assert report.detail["interrupted"] is True
    world.release(verify.host)
    assert (await world.run(verify)).state is HostState.SUCCEEDED


async def test_a_frozen_minion_begins_nothing_after_the_deadline(world: SaltWorld) -> None:
    """It does what it was told as soon as it thaws, and the driver refuses."""
    host = world.host()
    await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))
    world.executor._answer_s, world.executor._look_s = 2.0, 1.0
    minion = world.lab.minions[host.server]
    minion.pause()
    install = Order(host=host, verb=HostVerb.INSTALL, in_s=3)
    begun_at = time.time()
    with pytest.raises(HostUnreachableError):
        await world.run(install)
    await made_true(lambda: time.time() > begun_at + 3)
    minion.resume()

    world.executor._answer_s = LIMIT_S
    assert (await insisted(world, replace(install, fence=1))).state is HostState.ABSENT
    assert world.starts(host) == 0
    assert (await world.run(replace(install, in_s=600))).state is HostState.SUCCEEDED
    assert world.starts(host) == 1


async def test_a_host_that_answers_slowly_is_waited_for(world: SaltWorld) -> None:
    """A minion that hangs until somebody has asked what became of the command has lost nothing of what it was told."""
    host = world.host()
    await world.status(Order(host=host, verb=HostVerb.DOWNLOAD))
    minion = world.lab.minions[host.server]
    minion.pause()
    caller = asyncio.create_task(world.run(Order(host=host, verb=HostVerb.DOWNLOAD)))
    jobs = world.executor._session()

    def told() -> set[str]:
        return {call.verb for job in [*jobs._jobs.values()] for call in job.calls.values() if call.told.is_set()}

    await made_true(lambda: told() == {"download", "status"})
    minion.resume()

    assert (await caller).state is HostState.SUCCEEDED


async def test_an_api_that_is_started_again_in_mid_job_loses_nothing(world: SaltWorld) -> None:
    """Neither the stream nor the login is there any more, and the return comes to the master meanwhile."""
    verify, caller = await verify_at_work(world)
    world.lab.api.kill()
    world.release(verify.host)
    await asyncio.to_thread(world.lab.restart_api)

    assert (await caller).state is HostState.SUCCEEDED
    assert world.starts(verify.host) == 1


async def test_a_master_that_dies_in_mid_job_loses_nothing(world: SaltWorld) -> None:
    """What it had heard is gone with it; the journal is not."""
    verify, caller = await verify_at_work(world)
    world.lab.master.kill()
    world.release(verify.host)
    await asyncio.to_thread(world.lab.restart_master)

    with suppress(HostUnknownError):  # then whoever asks reads the journal
        assert (await caller).state is HostState.SUCCEEDED

    assert (await insisted(world, verify)).state is HostState.SUCCEEDED
    assert world.starts(verify.host) == 1
