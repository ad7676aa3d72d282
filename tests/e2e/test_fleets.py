"""
Releases to servers behind real sshds and to real minions, with HAProxy before them and clients that never stop.

Everything is real: ``rollwave serve`` and its command line, the driver on every server, HAProxy, the application. The
fleet is that of ``./dev bench peers``.
"""

from __future__ import annotations

import tempfile
import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from demo.processes import until
from demo.salt import SaltLab
from tests.bench.peers import fleet as fleets
from tests.bench.peers.fleet import Fleet, out_of_traffic
from tests.bench.peers.rollwave import over_salt, over_ssh
from tests.contract.executor.salt_world import needs_salt
from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.peers.rollwave import Rollwave


class Clients:
    """Ask the balancer again and again, as long as the block lasts."""

    def __init__(self, port: int, count: int = 2) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.01):
            try:
                with urllib.request.urlopen(self._url, timeout=20) as answer:
                    answer.read()
                self.answered += 1
            except OSError as error:
                self.failures.append(repr(error))


START_S = 2
"""How long a server's app takes to start, in seconds: it is out of traffic meanwhile."""


@contextmanager
def a_fleet(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    needs_program(Path("/usr/sbin/haproxy"), package="haproxy")
    monkeypatch.setattr(fleets, "PAYLOAD_BYTES", 100_000)  # what is measured elsewhere is not the matter here
    # Sockets are below it, whose paths may not be long.
    with tempfile.TemporaryDirectory(prefix="rw-fleet-") as folder:
        control = Path(folder, "control")
        # Else a release would be over before the command that began it has ended.
        control.write_text(f'#!/bin/sh\n[ "$1" != start ] || sleep {START_S}\nexec {Fleet.control} "$@"\n')
        control.chmod(0o755)
        monkeypatch.setattr(Fleet, "control", control)
        with Fleet(Path(folder), count) as fleet:
            yield fleet


@pytest.fixture(params=["ssh", "salt"])
def rollwave(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rollwave]:
    """Rollwave serves, over two servers that run 1.0."""
    with ExitStack() as stack:
        if request.param == "salt":
            needs_salt()
        fleet = stack.enter_context(a_fleet(2, monkeypatch))
        if request.param == "salt":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rw-salt-"))
            lab = stack.enter_context(SaltLab(Path(folder), [one.name for one in fleet.servers]))
            rollwave = over_salt(fleet, lab)
        else:
            rollwave = over_ssh(fleet)
        stack.callback(rollwave._rollwave.stop)  # also where its start takes too long
        rollwave._rollwave.start()
        rollwave.register("1.0", "1.1")
        rollwave.release("1.0")
        yield rollwave


def test_a_release_and_its_rollback_lose_no_request_though_the_engine_is_killed(rollwave: Rollwave) -> None:
    """
    The engine dies by kill -9 while a server is out of traffic and its stage goes on there; another one goes on from
    the server's journal. Then the group is rolled back. Clients notice none of it.
    """
    fleet, engine = rollwave.fleet, rollwave._rollwave
    with Clients(fleet.client_port) as clients:
        deployment = rollwave._call("deploy", "app", "1.1")["id"]
        until(lambda: bool(out_of_traffic(fleet.admin_port)), what="a server out of traffic", every_s=0.005)
        engine.crash(deployment)
        engine.recover()
        rollwave._call("status", str(deployment), "--timeout", "120")
        fleet.require("1.1")
        done = rollwave._call("get", str(deployment))

        rollwave.roll_back("1.0")

    assert done["counts"]["success"] == done["counts"]["total"] == len(fleet.servers), done["counts"]
    assert clients.failures == []
    assert clients.answered > 50
