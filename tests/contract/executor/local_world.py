"""The world of real processes: the real driver, a real supervisor, a real little app, on this machine."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rollwave.executors.local import LocalExecutor
from rollwave.executors.patience import Patience
from rollwave.host import driver_source
from rollwave.packages.build import build_package
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys
from rollwave.ports.executor import Host
from tests.contract.executor.world import LIMIT_S, Order, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.ports.packages import SignedPackage

_HOST_COUNT = 240

BRISK = Patience(slot_wait_s=0.5, poll_s=0.05)
"""For executors under test: a verb soon gives its place to others, and is asked about often."""

_BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One supervisor with a stopped program for every host that a test may ask for, and a store with packages."""

    root: Path
    hosts: Iterator[Host]
    packages: FilePackages
    key: SigningKey

    @property
    def config(self) -> Path:
        return self.root / "supervisord.conf"


def program_of(host: Host) -> str:
    return f"fleet:{place_of(host)}"


def place_of(host: Host) -> str:
    """Return the name of the folder that stands for a server; other worlds may name their servers otherwise."""
    return Path(host.deploy_path).parent.name


@contextmanager
def open_fleet(root: Path) -> Iterator[Fleet]:
    """Start the supervisor; it stops with all its programs."""
    reserved = [reserve_port() for _ in range(_HOST_COUNT)]
    hosts = [
        host_at(root / "servers" / f"web-{number}", port=reservation.getsockname()[1])
        for number, reservation in enumerate(reserved, start=1)
    ]
    key = SigningKey.generate()
    packages = FilePackages(root / "packages", trusted=TrustedKeys.of([key.public]))
    fleet = Fleet(root=root, hosts=iter(hosts), packages=packages, key=key)
    fleet.config.write_text(supervisor_config(root, hosts))
    supervisor = subprocess.Popen(
        [_BIN / "supervisord", "-n", "-c", fleet.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(root / "supervisor.sock"))
        yield fleet
    finally:
        supervisor.terminate()
        supervisor.wait(LIMIT_S)
        for reservation in reserved:
            reservation.close()


def host_at(server: Path, *, port: int) -> Host:
    server.mkdir(parents=True)
    return Host(
        instance=f"shop/{server.name}:{port}",
        server=server.name,
        address="127.0.0.1",
        port=port,
        deploy_path=str(server / "shop"),
    )


def reserve_port() -> socket.socket:
    """Bind a free port without listening, so that nobody but the app (which shares it) gets it."""
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    return reservation


def supervisor_config(root: Path, hosts: list[Host]) -> str:
    sections = [
        f"[supervisord]\nlogfile={root}/supervisord.log\npidfile={root}/supervisord.pid\nchildlogdir={root}",
        f"[unix_http_server]\nfile={root}/supervisor.sock",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        # One group: a supervisor that ends stops group by group, a second each.
        f"[group:fleet]\nprograms={','.join(host.server for host in hosts)}",
        f"[supervisorctl]\nserverurl=unix://{root}/supervisor.sock",
    ]
    sections += [
        f"[program:{host.server}]\n"
        f"command={sys.executable} -I fleet_app.py {host.port}\n"
        f"directory={host.deploy_path}/current\n"
        "autostart=false\nautorestart=false\nstartsecs=0\n"
        f"stdout_logfile={root}/{host.server}.log\nredirect_stderr=true"
        for host in hosts
    ]
    return "\n\n".join(sections) + "\n"


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def wait_until(is_true) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    pause = threading.Event()
    while not is_true():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        pause.wait(0.02)


def workers_of(host: Host) -> list[int]:
    """Return the processes that have a file of *host* open: the worker of a verb, and whoever waits for it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(file.readlink()).startswith(host.deploy_path) for file in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


class LocalWorld(World):
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.executor = self._new_executor()

    def _new_executor(self) -> LocalExecutor:
        public = self._fleet.key.public
        return LocalExecutor(driver=driver_source(), trusted_keys={public.key_id: public.pem}, patience=BRISK)

    def host(self) -> Host:
        return next(self._fleet.hosts)

    def package(self, version: str) -> SignedPackage:
        stored = {package.version: package for package in self._fleet.packages.list("shop")}
        return stored.get(version) or self._build(version)

    def _build(self, version: str) -> SignedPackage:
        source = self._fleet.root / "sources" / version
        source.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fleet_app.py"), source)
        (source / "VERSION").write_text(version)
        archive = io.BytesIO()
        built = build_package(
            source,
            archive,
            app="shop",
            version=version,
            key=self._fleet.key,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        archive.seek(0)
        return self._fleet.packages.put(
            archive, manifest=built.manifest, signature=built.signature, key_id=built.key_id
        )

    def lifecycle(self, host: Host) -> dict[str, tuple[str, ...]]:
        control = (str(_BIN / "supervisorctl"), "-c", str(self._fleet.config))
        return {"start": (*control, "start", program_of(host)), "stop": (*control, "stop", program_of(host))}

    def now(self) -> float:
        return time.time()

    def running(self, host: Host) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=LIMIT_S)
        try:
            connection.request("GET", "/version")
            return json.loads(connection.getresponse().read())["version"]
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    def starts(self, host: Host) -> int:
        # The supervisor logs it before its start command returns; the app itself may need a moment longer.
        log = (self._fleet.root / "supervisord.log").read_text()
        return log.count(f"spawned: '{place_of(host)}' with pid")

    def crash(self, host: Host) -> None:
        command = [_BIN / "supervisorctl", "-c", self._fleet.config, "signal", "KILL", program_of(host)]
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
        wait_until(lambda: self.running(host) is None)

    def hold(self, host: Host) -> None:
        (self._shared(host) / "hold").touch()

    def release(self, host: Host) -> None:
        (self._shared(host) / "hold").unlink()

    def take_down(self, host: Host) -> None:
        server = Path(host.deploy_path).parent
        server.rename(server.with_name(f"{server.name}.down"))

    def bring_back(self, host: Host) -> None:
        server = Path(host.deploy_path).parent
        server.with_name(f"{server.name}.down").rename(server)

    async def run_unheard(self, order: Order) -> None:
        # Somebody else's executor hears the answer; ours never does.
        await self._new_executor().run(self.command(order))

    def _shared(self, host: Host) -> Path:
        return Path(host.deploy_path, "shared")
