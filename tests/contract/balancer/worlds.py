"""The worlds in which the laws hold: each a balancer with its adapter, and members whose requests are counted."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import sysconfig
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Literal, Protocol

from demo.processes import Program
from rollwave.balancers.caddy import CaddyBalancer, dial_of
from rollwave.balancers.caddy_config import CaddyPool, HealthWatch, caddy_config
from rollwave.balancers.drain_file import DrainFileBalancer
from rollwave.balancers.haproxy import HaproxyBalancer
from rollwave.balancers.http import HttpBalancer, read_secret
from rollwave.balancers.nginx import NginxBalancer
from rollwave.balancers.several import SeveralBalancers
from rollwave.ports.balancer import Member
from rollwave.ports.executor import HostUnreachableError
from rollwave.testing.fake_balancer import FakeBalancer
from tests.contract.balancer.backend import Backend
from tests.contract.balancer.client import Client
from tests.contract.balancer.ports import free_port
from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rollwave.ports.balancer import Balancer

POOL = "web"
CADDY = Path(sysconfig.get_path("scripts"), "caddyserver")
HAPROXY = Path("/usr/sbin/haproxy")
NGINX = Path("/usr/sbin/nginx")


Closes = Literal["none", "kept", "any"]
"""Of kept connections, those that are idle at that moment; of any, new ones as well."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def eventually(is_true: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until *is_true*, or fail."""
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110  # what is awaited happens in other processes
            await asyncio.sleep(0.005)


class World(Protocol):
    """What a law may ask of a world."""

    balancer: Balancer
    members: tuple[Member, ...]
    closes: Closes
    """Which connections of clients a change of membership may close without an answer."""
    rounds: int
    """How often every member goes out and in under load."""

    def client(self, *, keep_alive: bool) -> Client | FakeClient: ...
    def seen(self, member: Member) -> int: ...
    def in_flight(self, member: Member) -> int: ...
    def release(self) -> None: ...
    async def stop(self) -> None:
        """Take away what the adapter talks to."""

    async def restart(self) -> None:
        """Restart what the adapter talks to."""


class FakeClient:
    """Sends requests to the fake's members in turn."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self.resent = 0

    async def get(self, path: str = "/") -> int:
        return await self._world.serve(path)

    def close(self) -> None:
        pass


class FakeWorld:
    closes: Closes = "none"
    rounds = 10

    def __init__(self, members: tuple[Member, ...]) -> None:
        self.members = members
        self.balancer = FakeBalancer(SystemClock(), members)
        self._seen = dict.fromkeys((member.name for member in members), 0)
        self._turn = 0
        self._released = asyncio.Event()

    async def serve(self, path: str) -> int:
        await asyncio.sleep(0)
        serving = self.balancer.serving(POOL)
        if not serving:
            return 503
        self._turn += 1
        name = serving[self._turn % len(serving)]
        assert self.balancer.begin_request(name)
        self._seen[name] += 1
        if path == "/hold":
            await self._released.wait()
        self.balancer.end_request(name)
        return 200

    def client(self, *, keep_alive: bool) -> FakeClient:
        return FakeClient(self)

    def seen(self, member: Member) -> int:
        return self._seen[member.name]

    def in_flight(self, member: Member) -> int:
        return self.balancer.in_flight(member.name)

    def release(self) -> None:
        self._released.set()

    async def stop(self) -> None:
        self.balancer.is_down = True

    async def restart(self) -> None:
        self.balancer.forget()


class ServerWorld:
    """A real balancer process before real backends."""

    rounds = 10

    def __init__(
        self,
        *,
        balancer: Balancer,
        members: tuple[Member, ...],
        backends: dict[str, Backend],
        process: Server,
        port: int,
        closes: Closes = "none",
    ) -> None:
        self.balancer = balancer
        self.members = members
        self.closes = closes
        self.port = port
        self.process = process
        self._backends = backends

    def client(self, *, keep_alive: bool) -> Client:
        return Client(self.port, keep_alive=keep_alive)

    def seen(self, member: Member) -> int:
        return self._backends[member.name].seen

    def in_flight(self, member: Member) -> int:
        return self._backends[member.name].in_flight

    def release(self) -> None:
        for backend in self._backends.values():
            backend.release()

    async def stop(self) -> None:
        self.process.stop()

    async def restart(self) -> None:
        self.process.stop()
        await self.process.start()


class PairWorld(ServerWorld):
    """Two balancers before the same members; clients use one after the other."""

    other: ServerWorld
    turn = 0

    def client(self, *, keep_alive: bool) -> Client:
        return PairClient(self, keep_alive=keep_alive)

    async def stop(self) -> None:
        await super().stop()
        await self.other.stop()

    async def restart(self) -> None:
        await super().restart()
        await self.other.restart()


class PairClient(Client):
    """One client that sends its requests in turn, through whichever balancer nobody has used last."""

    def __init__(self, world: PairWorld, *, keep_alive: bool) -> None:
        super().__init__(world.port, keep_alive=keep_alive)
        self._world = world
        self._second = Client(world.other.port, keep_alive=keep_alive)

    async def get(self, path: str = "/") -> int:
        self._world.turn += 1
        if self._world.turn % 2:
            return await super().get(path)
        status = await self._second.get(path)
        self.resent += self._second.resent
        self._second.resent = 0
        return status

    def close(self) -> None:
        super().close()
        self._second.close()


class DrainFileWorld(ServerWorld):
    """A drain file on every host, and a balancer that watches health pages and is told nothing."""

    rounds = 1  # Each takes two settling times per member.
    are_hosts_down = False

    async def set_drain(self, member: Member, drained: bool) -> None:
        self._check_reachable(member)
        drain_file = self._backends[member.name].drain_file
        if drained:
            drain_file.parent.mkdir(parents=True, exist_ok=True)
            drain_file.touch()
        else:
            drain_file.unlink(missing_ok=True)

    async def find_drained(self, members: Sequence[Member]) -> frozenset[str]:
        for member in members:
            self._check_reachable(member)
        return frozenset(one.name for one in members if self._backends[one.name].drain_file.exists())

    async def count(self, member: Member) -> int:
        return self.in_flight(member)

    async def stop(self) -> None:
        self.are_hosts_down = True

    async def restart(self) -> None:
        # A watcher that starts thinks well of everybody until its first checks are in.
        await super().restart()
        await asyncio.sleep(SETTLE_S)

    def _check_reachable(self, member: Member) -> None:
        if self.are_hosts_down:
            raise HostUnreachableError(f"{member.name} is unreachable")


SETTLE_S = 0.8
"""Generous beside checks every 200 ms, for a machine that is busy with other tests."""


class Server(Protocol):
    """What a world stops and starts."""

    async def start(self) -> None: ...
    def stop(self) -> None: ...


class Process:
    """A server process that can be stopped and started again with the same command."""

    def __init__(self, *argv: str | Path, home: Path, ready: Callable[[], bool]) -> None:
        self._argv = argv
        self._home = home
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        log = self._home / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # a few milliseconds, at the start
                self._argv,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(self._home), "XDG_CONFIG_HOME": str(self._home)},
            )
        await eventually(lambda: self._is_ready(log))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self, log: Path) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, log.read_text()
        return self._ready()


def accepts(*ports: int) -> Callable[[], bool]:
    """Return a check whether somebody listens on every one of *ports*."""
    listening = tuple(f"0100007F:{port:04X} 00000000:0000 0A" for port in ports)
    return lambda: all(line in Path("/proc/net/tcp").read_text() for line in listening)


def member_of(name: int, port: int) -> Member:
    return Member(pool=POOL, name=f"shop/server-{name}:{port}", address="127.0.0.1", port=port)


@asynccontextmanager
async def caddy(
    members: tuple[Member, ...], home: Path, *, health: HealthWatch | None = None
) -> AsyncIterator[tuple[Process, CaddyBalancer, int]]:
    port, admin = free_port(), free_port()
    pool = CaddyPool(name=POOL, listen=f"127.0.0.1:{port}", upstreams=tuple(map(dial_of, members)), health=health)
    config = home / "caddy.json"
    config.write_text(dumps(caddy_config([pool], admin=f"127.0.0.1:{admin}")))
    process = Process(CADDY, "run", "--resume", "--config", config, home=home, ready=accepts(port, admin))
    try:
        await process.start()
        async with aclosing(CaddyBalancer(f"http://127.0.0.1:{admin}", clock=SystemClock())) as balancer:
            yield process, balancer, port
    finally:
        process.stop()


@asynccontextmanager
async def haproxy(
    members: tuple[Member, ...], home: Path, *, check: str = ""
) -> AsyncIterator[tuple[Process, HaproxyBalancer, int]]:
    port, admin = free_port(), free_port()
    servers = "\n".join(f"  server any{n} {m.address}:{m.port} {check}" for n, m in enumerate(members))
    config = home / "haproxy.cfg"
    config.write_text(
        f"""
global
  stats socket ipv4@127.0.0.1:{admin} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout check 5s
  option redispatch 1
frontend http
  bind 127.0.0.1:{port}
  default_backend {POOL}
backend {POOL}
  balance roundrobin
  {"option httpchk GET /healthz" if check else ""}
{servers}
"""
    )
    process = Process(HAPROXY, "-f", config, "-db", home=home, ready=accepts(port, admin))
    try:
        await process.start()
        yield process, HaproxyBalancer(f"127.0.0.1:{admin}", clock=SystemClock()), port
    finally:
        process.stop()


class Nginx:
    """nginx with its master and workers; it is killed with all of them."""

    def __init__(self, home: Path, *, ready: Callable[[], bool]) -> None:
        argv = [NGINX, "-c", home / "nginx.conf", "-p", home, "-e", "stderr"]
        self._program = Program([*argv, "-g", "daemon off;"], log=home / "log")
        self._ready = ready
        self.command = tuple(map(str, argv))

    async def start(self) -> None:
        self._program.start()
        await eventually(self._is_ready)

    def stop(self) -> None:
        self._program.kill()

    def pause(self) -> None:
        self._program.pause()

    def resume(self) -> None:
        self._program.resume()

    def _is_ready(self) -> bool:
        self._program.check()
        return self._ready()


@asynccontextmanager
async def nginx(
    members: tuple[Member, ...], home: Path, *, pools: Sequence[str] = (POOL,)
) -> AsyncIterator[tuple[Nginx, NginxBalancer, int]]:
    needs_program(NGINX, package="nginx-light")
    port, status = free_port(), f"127.0.0.1:{free_port()}"
    folder = home / "pools"
    folder.mkdir()
    servers = "\n".join(f"    server {m.address}:{m.port} max_fails=0;" for m in members)
    for pool in pools:
        (folder / f"{pool}.conf").write_text(f"upstream {pool} {{\n{servers}\n}}\n")
    (home / "nginx.conf").write_text(
        f"""
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 2;
pid {home}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  include {folder}/*.conf;
  server {{
    listen 127.0.0.1:{port} backlog=1000;
    location / {{ proxy_pass http://{POOL}; }}
  }}
}}
"""
    )
    process = Nginx(home, ready=lambda: accepts(port)() and (home / "nginx.pid").exists())
    try:
        await process.start()
        balancer = NginxBalancer(
            folder,
            status=status,
            pid_file=home / "nginx.pid",
            test=(*process.command, "-t"),
            reload=(*process.command, "-s", "reload"),
            clock=SystemClock(),
        )
        async with aclosing(balancer):
            yield process, balancer, port
    finally:
        process.stop()


SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()

MY_BALANCER = """
import csv, socket

def ask(line):
    with socket.create_connection(("127.0.0.1", {admin})) as connection:
        connection.sendall(line.encode() + b"\\n")
        return connection.makefile().read().strip()

def rows(pool):
    answer = ask(f"show stat {{pool}} 4 -1")
    if not answer.startswith("#"):
        raise LookupError(f"no pool {{pool}}")
    return list(csv.DictReader(answer.removeprefix("# ").splitlines()))

def members(pool):
    return [
        dict(
            address=row["addr"].rpartition(":")[0],
            port=int(row["addr"].rpartition(":")[2]),
            in_traffic=row["status"] == "no check",
            requests=int(row["scur"]) + int(row["qcur"]),
        )
        for row in rows(pool)
    ]

def switch(pool, member, in_traffic):
    address = "{{address}}:{{port}}".format(**member)
    for row in rows(pool):
        if row["addr"] == address:
            ask("set server {{}}/{{}} state {{}}".format(pool, row["svname"], "ready" if in_traffic else "maint"))
            return
    raise LookupError("no member " + address)
"""
"""What the example of an endpoint leaves to its reader, for HAProxy."""


def documented_endpoint() -> str:
    """Return the example server of the documentation."""
    text = Path(__file__).parents[3].joinpath("docs", "balancers.md").read_text()
    return text.partition("<!-- endpoint.py -->\n```python\n")[2].partition("```")[0]


@asynccontextmanager
async def endpoint(admin: int, home: Path) -> AsyncIterator[tuple[Process, HttpBalancer]]:
    """Run the documented endpoint before the HAProxy whose runtime API is at *admin*."""
    port = free_port()
    (home / "endpoint.py").write_text(documented_endpoint())
    (home / "my_balancer.py").write_text(MY_BALANCER.format(admin=admin))
    argv = ["env", f"ROLLWAVE_SECRET={SECRET}", sys.executable, home / "endpoint.py", "127.0.0.1", str(port)]
    process = Process(*argv, home=home, ready=accepts(port))
    try:
        await process.start()
        balancer = HttpBalancer(
            f"http://127.0.0.1:{port}/", key=read_secret(SECRET), clock=SystemClock(), make_id=lambda: token_hex(16)
        )
        async with aclosing(balancer):
            yield process, balancer
    finally:
        process.stop()


class EndpointWorld(ServerWorld):
    """A balancer that is reached through an endpoint, which goes away and comes back with it."""

    server: Process

    async def stop(self) -> None:
        self.server.stop()

    async def restart(self) -> None:
        await super().restart()
        self.server.stop()
        await self.server.start()


@asynccontextmanager
async def open_world(kind: str, *, home: Path, count: int) -> AsyncIterator[World]:
    """Start one world with *count* members, all in traffic; everything is stopped at the end."""
    if kind == "fake":
        yield FakeWorld(tuple(member_of(number, 8000 + number) for number in range(count)))
        return
    async with AsyncExitStack() as stack:
        backends, members = {}, []
        for number in range(count):
            drain_file = home / f"server-{number}" / "shared" / "drain"
            backend = await stack.enter_async_context(Backend(drain_file))
            members.append(member_of(number, backend.port))
            backends[members[-1].name] = backend
        parts = {"members": tuple(members), "backends": backends}
        match kind:
            case "caddy":
                process, balancer, port = await stack.enter_async_context(caddy(tuple(members), home))
                yield ServerWorld(balancer=balancer, process=process, port=port, closes="any", **parts)
            case "haproxy":
                process, balancer, port = await stack.enter_async_context(haproxy(tuple(members), home))
                yield ServerWorld(balancer=balancer, process=process, port=port, **parts)
            case "haproxies":
                worlds = []
                for kind_of_world in (PairWorld, ServerWorld):
                    own = home / kind_of_world.__name__
                    own.mkdir()
                    process, balancer, port = await stack.enter_async_context(haproxy(tuple(members), own))
                    worlds.append(kind_of_world(balancer=balancer, process=process, port=port, **parts))
                world, world.other = worlds
                world.balancer = SeveralBalancers([one.balancer for one in worlds])
                yield world
            case "nginx":
                process, balancer, port = await stack.enter_async_context(nginx(tuple(members), home))
                yield ServerWorld(balancer=balancer, process=process, port=port, closes="kept", **parts)
            case "http":
                process, by_socket, port = await stack.enter_async_context(haproxy(tuple(members), home))
                admin = int(by_socket._endpoint.rpartition(":")[2])
                server, balancer = await stack.enter_async_context(endpoint(admin, home))
                world = EndpointWorld(balancer=balancer, process=process, port=port, **parts)
                world.server = server
                yield world
            case "drain_file_haproxy":
                check = "check inter 200ms fall 1 rise 1"
                process, balancer, port = await stack.enter_async_context(haproxy(tuple(members), home, check=check))
                world = DrainFileWorld(balancer=balancer, process=process, port=port, **parts)
                world.balancer = DrainFileBalancer(
                    set_drain=world.set_drain,
                    find_drained=world.find_drained,
                    in_flight=world.count,
                    clock=SystemClock(),
                    settle_s=SETTLE_S,
                )
                yield world
            case "drain_file_caddy":
                health = HealthWatch(path="/healthz", interval_ms=200, timeout_ms=5000)
                process, balancer, port = await stack.enter_async_context(caddy(tuple(members), home, health=health))
                world = DrainFileWorld(balancer=balancer, process=process, port=port, **parts)
                world.balancer = DrainFileBalancer(
                    set_drain=world.set_drain,
                    find_drained=world.find_drained,
                    in_flight=balancer.in_flight,
                    clock=SystemClock(),
                    settle_s=SETTLE_S,
                )
                yield world
