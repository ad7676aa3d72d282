"""The wiring: what settings ask for is what is built, and what groups need has to be there."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import asyncssh
import pytest
from django.db import connection, connections
from msgspec.structs import replace

from rollwave.balancers.caddy import CaddyBalancer
from rollwave.balancers.drain_file import DrainFileBalancer
from rollwave.balancers.haproxy import HaproxyBalancer
from rollwave.bootstrap import DrainFiles, _name_of_process, _trusted_keys, build
from rollwave.executors.local import LocalExecutor
from rollwave.executors.salt import SaltExecutor
from rollwave.executors.ssh import SshExecutor
from rollwave.host import driver_source
from rollwave.ports.balancer import BalancerPoolError, Member
from rollwave.queue.celery import make_app
from rollwave.settings_file import SettingsInvalidError
from rollwave.store.models import App, Group, Instance, Server
from rollwave.system import StoreThreads, SystemClock
from rollwave.testing.fake_executor import FakeExecutor

SETTINGS = """
[engine]
lease_s = 5
[balancers.edge]
kind = "caddy"
admin = "http://127.0.0.1:1"
membership = "admin_api"
[balancers.front]
kind = "caddy"
admin = "http://127.0.0.1:1"
[balancers.lb]
kind = "haproxy"
socket = "127.0.0.1:1"
[balancers.page]
kind = "drain_file"
settle_s = 0
"""


@pytest.fixture
def data_dir(tmp_path, django_database):
    return tmp_path


def test_traces_go_to_a_collector_where_one_is_named(data_dir, monkeypatch):
    """And where what they need was not installed, the start says what to install."""
    (data_dir / "rollwave.toml").write_text('[traces]\nendpoint = "http://127.0.0.1:1/v1/traces"\nshare = 0\n')
    build(data_dir)

    monkeypatch.setitem(sys.modules, "rollwave.telemetry.traces", None)
    with pytest.raises(SettingsInvalidError) as refused:
        build(data_dir)

    assert refused.value.facts["key"] == "traces.endpoint"
    assert "rollwave[otel]" in refused.value.message


@pytest.fixture
def instance(tmp_path, django_database):
    """One instance whose server is a folder, behind balancer `page`."""
    (tmp_path / "s1").mkdir()
    group = Group.objects.create(
        app=App.objects.create(name="shop"),
        name="shop",
        deploy_path=f"{tmp_path}/{{server}}/shop",
        start=["x"],
        stop=["x"],
        balancer="page",
        pool="shop",
    )
    return Instance.objects.create(group=group, server=Server.objects.create(name="s1", address="127.0.0.1"), port=80)


MEMBER = Member(pool="shop", name="shop/s1:80", address="127.0.0.1", port=80)


def test_what_the_settings_name_is_built(data_dir):
    (data_dir / "rollwave.toml").write_text(SETTINGS)

    rollwave = build(data_dir)

    kinds = {name: type(one) for name, one in rollwave.balancers.items()}
    assert kinds == {
        "edge": CaddyBalancer,
        "front": DrainFileBalancer,
        "lb": HaproxyBalancer,
        "page": DrainFileBalancer,
    }
    assert {name: type(one) for name, one in rollwave.executors.items()} == {"local": LocalExecutor}
    assert not rollwave.is_engine_running
    assert sorted(path.name for path in (data_dir / "keys").iterdir()) == ["signing.key", "signing.key.pub"]


def test_executors_stand_as_the_settings_name_them(data_dir, tmp_path):
    """Keys are read at the start: whoever names a file that is not there hears of it then, not in a release."""
    (tmp_path / "known_hosts").write_text("")
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "id")
    settings = f"""
        [executors.dc1]
        kind = "ssh"
        user = "deploy"
        identity = "{tmp_path}/id"
        known_hosts = "{tmp_path}/known_hosts"
        jump = "ops@bastion:2222,inner"
        sudo = true
    """
    path = data_dir / "rollwave.toml"
    path.write_text(settings)

    kinds = {name: type(one) for name, one in build(data_dir).executors.items()}
    assert kinds == {"local": LocalExecutor, "dc1": SshExecutor}

    for broken, field in (
        (settings.replace("/id", "/gone"), "identity"),
        (settings.replace('known_hosts"', 'gone"'), "known_hosts"),
        (settings.replace("bastion:2222", ":2222"), "jump"),
        (settings.replace("/id", "/known_hosts"), "identity"),
    ):
        path.write_text(broken)
        with pytest.raises(SettingsInvalidError, match=rf"executors\.dc1: {field}: "):
            build(data_dir)


def test_a_password_of_salt_may_be_in_the_environment(data_dir, monkeypatch):
    path = data_dir / "rollwave.toml"
    path.write_text('[executors.dc2]\nkind = "salt"\nurl = "https://salt:8000"\nuser = "rollwave"\n')

    with pytest.raises(SettingsInvalidError, match=r"executors\.dc2: password is missing.*ROLLWAVE_SALT_PASSWORD"):
        build(data_dir)

    monkeypatch.setenv("ROLLWAVE_SALT_PASSWORD", "secret")
    assert type(build(data_dir).executors["dc2"]) is SaltExecutor

    path.write_text(path.read_text() + 'ca_file = "/nonexistent/ca.pem"\n')
    with pytest.raises(SettingsInvalidError, match=r"executors\.dc2: ca_file: /nonexistent/ca\.pem"):
        build(data_dir)


def test_slices_are_given_back_once_they_run_no_more(data_dir, monkeypatch, memory_broker):
    """Whoever claims one then has it alone, also where it ran here because the broker brought it to nobody."""
    rollwave = build(data_dir, celery=make_app(memory_broker), room=2)
    running_at_release = []
    own = rollwave.engine.queue._own

    async def story() -> None:
        began = asyncio.Event()

        async def run(_key: object) -> None:
            began.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(own, "_run", run)
        monkeypatch.setattr(rollwave.store, "release", lambda **_: running_at_release.append(own.running_count))
        for _ in range(2):
            await rollwave.engine.queue.send((1, 1))
        await began.wait()
        assert own.running_count == 1
        await rollwave.give_back()

    asyncio.run(story())

    assert running_at_release == [0]


def test_processes_that_start_at_once_share_one_key_pair(tmp_path) -> None:
    """Workers and web processes may begin on the same new data directory: one makes the keys, all trust them."""
    with ThreadPoolExecutor(8) as processes:
        found = list(processes.map(lambda _: set(_trusted_keys(tmp_path / "keys").by_id), range(8)))

    assert len(found[0]) == 1
    assert all(one == found[0] for one in found)


def test_a_second_build_keeps_the_keys(data_dir):
    build(data_dir)
    key = (data_dir / "keys" / "signing.key").read_bytes()
    build(data_dir)

    assert (data_dir / "keys" / "signing.key").read_bytes() == key


def test_a_group_without_its_balancer_stops_the_start(data_dir, instance):
    """Its instances would neither be released nor kept in traffic; the error names the missing key and the group."""
    with pytest.raises(SettingsInvalidError, match=r"balancers\.page: it is missing, and group shop needs it"):
        build(data_dir)


def test_a_group_without_its_executor_stops_the_start(data_dir, instance):
    Group.objects.update(balancer="", executor="salt")

    with pytest.raises(SettingsInvalidError, match="group shop needs executor 'salt'"):
        build(data_dir)


def test_a_drain_file_is_put_on_the_members_host(tmp_path, instance):
    """By way of the member's name to its instance, and from there to its deploy path."""
    threads = StoreThreads(after=connections.close_all)
    files = DrainFiles({"local": LocalExecutor(driver=driver_source(), trusted_keys={})}, offload=threads)
    place = tmp_path / "s1" / "shop" / "shared" / "drain"

    async def is_there() -> bool:
        return await files.find([MEMBER]) == {MEMBER.name}

    async def run() -> list[bool]:
        seen = [await is_there()]
        await files.put(MEMBER, True)
        seen += [await is_there(), place.exists()]
        await files.put(MEMBER, False)
        seen += [await is_there(), place.exists()]
        return seen

    assert asyncio.run(run()) == [False, True, True, False, False]
    threads.close()


def test_drain_files_of_many_members_take_one_query(tmp_path, instance):
    """A pool may have thousands, and all of them are read every other second."""
    threads = StoreThreads(after=connections.close_all)
    files = DrainFiles({"local": LocalExecutor(driver=driver_source(), trusted_keys={})}, offload=threads)
    members = [replace(MEMBER, name=f"shop/s1:{port}", port=port) for port in range(1, 101)]
    (tmp_path / "s1" / "shop").mkdir()

    async def run() -> tuple[frozenset[str], int]:
        await files.put(members[0], True)
        await threads.read(setattr, connection, "force_debug_cursor", True)
        before = await threads.read(lambda: len(connection.queries))
        found = await files.find(members)
        asked = await threads.read(lambda: len(connection.queries)) - before
        return found, asked

    # All of them share the server's folder here, and so its drain file.
    assert asyncio.run(run()) == ({one.name for one in members}, 1)
    threads.close()


def test_an_executor_that_cannot_place_a_drain_file_says_so(instance):
    threads = StoreThreads(after=connections.close_all)
    files = DrainFiles({"local": FakeExecutor(clock=SystemClock())}, offload=threads)

    async def run() -> None:
        await files.put(MEMBER, True)

    with pytest.raises(BalancerPoolError, match="use another balancer"):
        asyncio.run(run())
    threads.close()


def test_no_two_processes_have_one_name(monkeypatch):
    """Two containers may share a host name, and in both the worker is process 1: a lease is of one of them."""
    monkeypatch.setattr("socket.gethostname", lambda: "worker")
    monkeypatch.setattr("os.getpid", lambda: 1)

    names = {_name_of_process() for _ in range(100)}

    assert len(names) == 100
    assert all(name.startswith("worker:1:") for name in names)
