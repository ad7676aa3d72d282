"""The servers: each an sshd on a loopback address of its own, a folder, and a real process behind one HAProxy."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from demo.processes import Program, free_ports, until
from tests.contract.executor.sshd import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PAYLOAD_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server: its name, its address, the port of its app, its folder."""

    name: str
    address: str
    port: int
    folder: Path


class Fleet:
    """
    Servers with nothing on them yet. As a context manager they run from the beginning to the end of the block.

    Args:
        folder: Where all of it is.
        count: How many servers.
    """

    control = HERE / "control"
    pool = HERE / "pool"

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.site = Site.at(folder / "site")
        self.client_port, self.admin_port, self.files_port, *ports = free_ports(count + 3)
        self.servers = [
            Server(name=f"web{n}", address=f"127.1.{n // 250}.{n % 250 + 1}", port=port, folder=folder / f"web{n}")
            for n, port in enumerate(ports, start=1)
        ]
        self.batch = max(1, count // (4 if count <= 20 else 5))
        self._stack = ExitStack()

    @property
    def files(self) -> Path:
        """What the file server serves, at `files_url`."""
        return self.folder / "files"

    @property
    def files_url(self) -> str:
        return f"http://127.0.0.1:{self.files_port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.files.mkdir()
        for server in self.servers:
            (server.folder / "app").mkdir(parents=True)
            (server.folder / "address").write_text(server.address)
            (server.folder / "port").write_text(str(server.port))
        config = self.folder / "haproxy.cfg"
        config.write_text(self._haproxy())
        programs = [
            Program(["/usr/sbin/haproxy", "-f", config, "-db"], log=self.folder / "haproxy.log"),
            Program(
                [sys.executable, "-m", "http.server", str(self.files_port), "--bind", "127.0.0.1"],
                log=self.folder / "files.log",
                cwd=self.files,
            ),
        ]
        for program in programs:
            program.start()
            self._stack.callback(program.kill)
        for server in self.servers:
            sshd = self.site.server(server.address)
            self._stack.callback(sshd.kill)
            sshd.start()
        self._stack.callback(self._stop_apps)
        for port in (self.admin_port, self.files_port):
            until(lambda port=port: _listens(port), what=f"the start of what listens on {port}")

    def _stop_apps(self) -> None:
        for server in self.servers:
            subprocess.run([self.control, "stop", server.folder], check=False)

    def _haproxy(self) -> str:
        servers = "".join(f"  server {one.name} {one.address}:{one.port}\n" for one in self.servers)
        return (
            f"global\n  stats socket ipv4@127.0.0.1:{self.admin_port} level admin\n  maxconn 1000\n"
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend http\n  bind 127.0.0.1:{self.client_port}\n  default_backend app\n"
            f"backend app\n  balance roundrobin\n{servers}"
        )

    def build(self, version: str) -> Path:
        """Lay out what a build of *version* would; return the folder."""
        folder = self.folder / "builds" / version
        folder.mkdir(parents=True)
        shutil.copy(HERE / "app.py", folder / "server.py")
        (folder / "VERSION").write_text(version)
        # Nothing that an archive could make smaller.
        (folder / "payload").write_bytes(os.urandom(PAYLOAD_BYTES))
        return folder

    def publish(self, version: str) -> dict[str, str]:
        """Build *version* as an archive that anybody can fetch; return its URL and sha256."""
        folder = self.build(version)
        path = self.files / f"{version}.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(folder, arcname=".")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"url": f"{self.files_url}/{version}.tar", "sha256": digest}

    def batches(self) -> list[list[Server]]:
        return [self.servers[first : first + self.batch] for first in range(0, len(self.servers), self.batch)]

    def require(self, version: str) -> None:
        """Ask every process itself; AssertionError where one does not run *version*, or takes no traffic."""
        for server in self.servers:
            with urllib.request.urlopen(f"http://{server.address}:{server.port}/version", timeout=10) as answer:
                found = answer.read().decode()
            assert found == version, f"{server.name} runs {found}, not {version}"
        assert not out_of_traffic(self.admin_port), "not all are in traffic"


class Watch:
    """
    Looks at the balancer, as long as the block lasts: how long was each server out of traffic?

    It looks 50 times a second, whoever releases, so that all are measured alike.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._port = fleet.admin_port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._since: dict[str, float] = {}
        self.times: list[float] = []
        self.most_out = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            now, out = time.monotonic(), out_of_traffic(self._port)
            self.most_out = max(self.most_out, len(out))
            for name in out:
                self._since.setdefault(name, now)
            for name in self._since.keys() - out:
                self.times.append(now - self._since.pop(name))

    def told(self) -> dict[str, Any]:
        times = sorted(self.times)
        return {"out_of_traffic_s_p50": round(times[len(times) // 2], 3) if times else None, "most_out": self.most_out}


def out_of_traffic(port: int) -> set[str]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as admin, admin.makefile("rw") as talk:
        talk.write("show stat app 4 -1\n")
        talk.flush()
        header, *rows = talk.read().strip().splitlines()
    status = header.removeprefix("# ").split(",").index("status")
    fields = [row.split(",") for row in rows]
    return {row[1] for row in fields if row[status] not in ("UP", "no check")}


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def cpu_s(programs: Sequence[Program]) -> float:
    """Return the processor time of programs with all that they have started and that lives or was waited for."""
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(sum(_ticks(pid)) for one in programs for pid in one.processes()) / ticks


def _ticks(pid: int) -> list[int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in fields[11:15]]
