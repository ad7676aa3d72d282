"""
The limit: what the servers' own work takes, batch by batch, with nobody who controls it from afar.

On every server of a batch a porter runs the driver, as over SSH, but at the other end of a pipe, and with driver, plan
and keys there already. The slowest server ends the batch. Beside it the same work as a bare script, which checks no
signature, keeps no journal, and waits for no disk; and what it takes merely to be let in by every sshd and to bring
5 MB there, which nobody escapes who comes over SSH.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import msgspec

from rollwave.balancers.haproxy import HaproxyBalancer
from rollwave.executors.command_line import arguments_of
from rollwave.executors.host_files import install_files
from rollwave.executors.plan_file import HashedFile, plan_file
from rollwave.executors.ssh_connections import SshAccess, SshLogin
from rollwave.host import driver_source, porter_source
from rollwave.packages.build import build_package
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys
from rollwave.ports.balancer import Member
from rollwave.ports.executor import Host, HostCommand, HostPlan, HostVerb
from rollwave.system import SystemClock

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from rollwave.ports.packages import SignedPackage
    from tests.bench.peers.fleet import Fleet, Server

SCRIPT = """
set -eu
"$pool" out "$name" "$admin"
cd "$folder/app"
mkdir -p releases/$version
curl -sf "$url" -o archive
echo "$sha256  archive" | sha256sum --check --quiet
tar -xf archive -C "releases/$version"
rm archive
"$control" stop "$folder"
ln -sfn "releases/$version" current.new
mv -T current.new current
"$control" start "$folder"
"$control" health "$folder" "$version"
"$pool" in "$name" "$admin"
"""


CHUNK_BYTES = 128 * 1024


class Driven:
    """
    Releases by running the driver.

    Args:
        fleet: The servers.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._key = SigningKey.generate()
        self._packages = FilePackages(fleet.folder / "packages", trusted=TrustedKeys.of([self._key.public]))
        self._deployments = 0
        self._previous: str | None = None

    def release(self, version: str) -> float:
        """Release to all servers; return the sum, over batches, of the slowest server's time."""
        self._deployments += 1
        package = self._put(self._fleet.build(version), version)
        commands = {server.name: self._command(server, package) for server in self._fleet.servers}
        for command in commands.values():
            self._prepare(command)
        seconds = asyncio.run(self._release(commands))
        self._previous = version
        self._fleet.require(version)
        return seconds

    async def _release(self, commands: dict[str, HostCommand]) -> float:
        balancer = HaproxyBalancer(f"127.0.0.1:{self._fleet.admin_port}", clock=SystemClock())
        seconds = 0.0
        for batch in self._fleet.batches():
            seconds += max(await asyncio.gather(*(self._one(commands[server.name], balancer) for server in batch)))
        return seconds

    async def _one(self, command: HostCommand, balancer: HaproxyBalancer) -> float:
        began = time.monotonic()
        host = command.plan.host
        member = Member(pool="app", name=host.instance, address=host.address, port=host.port)
        porter = await asyncio.create_subprocess_exec(
            *("/usr/bin/python3", "-I", "-S", "-c", porter_source()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await balancer.mark_down(member, drain_timeout_s=30)
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL, HostVerb.VERIFY):
            await self._have(porter, msgspec.structs.replace(command, verb=verb))
        await balancer.mark_up(member)
        seconds = time.monotonic() - began
        porter.stdin.close()
        await porter.wait()
        return seconds

    async def _have(self, porter: Process, command: HostCommand) -> None:
        plan, home = plan_file(command.plan), f"{command.plan.host.deploy_path}/.rollwave"
        order = {
            "deploy_path": command.plan.host.deploy_path,
            "keys": {f"{self._key.public.key_id}.pem": self._key.public.pem.decode()},
            "driver": HashedFile.of(driver_source()).sha256,
            "plan": plan.sha256,
            "words": arguments_of(
                command, plan_path=f"{home}/plans/{plan.sha256}.json", plan_hash=plan.sha256, wait_s=60
            ),
            "package": None,
        }
        porter.stdin.write(json.dumps(order).encode() + b"\n")
        said = b""
        while b'{"rollwave": {"done"' not in said:
            line = await porter.stdout.readline()
            assert line, f"{command.verb} failed: {said.decode()}"
            said += line

    def _prepare(self, command: HostCommand) -> None:
        install_files(
            Path(command.plan.host.deploy_path),
            driver=HashedFile.of(driver_source()),
            plan=plan_file(command.plan),
            trusted_keys={self._key.public.key_id: self._key.public.pem},
        )

    def _command(self, server: Server, package: SignedPackage) -> HostCommand:
        host = Host(
            instance=f"app/{server.name}:{server.port}",
            server=server.name,
            address=server.address,
            port=server.port,
            deploy_path=str(server.folder / "app"),
        )
        control = str(self._fleet.control)
        plan = HostPlan(
            deployment_id=self._deployments,
            created_us=self._deployments,
            host=host,
            package=package,
            previous_version=self._previous,
            start=(control, "start", str(server.folder)),
            stop=(control, "stop", str(server.folder)),
            health_path="/",
            version_path="/version",
        )
        return HostCommand(
            plan=plan, verb=HostVerb.DOWNLOAD, attempt=1, fence=self._deployments, deadline=time.time() + 600
        )

    def _put(self, folder: Path, version: str) -> SignedPackage:
        archive = io.BytesIO()
        built = build_package(
            folder, archive, app="app", version=version, key=self._key, created_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        archive.seek(0)
        return self._packages.put(archive, manifest=built.manifest, signature=built.signature, key_id=built.key_id)


def way(fleet: Fleet, archive: Path) -> float:
    """Log in anew everywhere, bring *archive* to nobody; return the sum, over batches, of the slowest one's time."""
    login = SshLogin(SshAccess(identity=fleet.site.identity, known_hosts=fleet.site.known_hosts, port=fleet.site.port))
    return asyncio.run(_way(fleet, login, archive.read_bytes()))


async def _way(fleet: Fleet, login: SshLogin, content: bytes) -> float:
    async def one(server: Server) -> None:
        async with asyncssh.connect(
            server.address, login.access.port, options=login.options, known_hosts=login.known_hosts.read()
        ) as connection:
            process = await connection.create_process("cat >/dev/null", encoding=None)
            for start in range(0, len(content), CHUNK_BYTES):
                process.stdin.write(content[start : start + CHUNK_BYTES])
                await process.stdin.drain()
            process.stdin.write_eof()
            assert (await process.wait()).exit_status == 0

    seconds = 0.0
    for batch in fleet.batches():
        began = time.monotonic()
        await asyncio.gather(*map(one, batch))
        seconds += time.monotonic() - began
    return seconds


def script(fleet: Fleet, version: str, archive: dict[str, str]) -> float:
    """Release by a bare script on every server; return the sum, over batches, of the slowest server's time."""
    seconds = 0.0
    for batch in fleet.batches():
        began = time.monotonic()
        running = [
            subprocess.Popen(
                ["/bin/sh", "-c", SCRIPT],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/bin",
                    "pool": str(fleet.pool),
                    "control": str(fleet.control),
                    "name": server.name,
                    "admin": str(fleet.admin_port),
                    "folder": str(server.folder),
                    "version": version,
                    **archive,
                },
            )
            for server in batch
        ]
        assert [one.wait() for one in running] == [0] * len(batch)
        seconds += time.monotonic() - began
    fleet.require(version)
    return seconds
