"""Rollwave itself: ``rollwave serve`` and its command line, as anybody runs them."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from demo.installation import Embedded
from demo.processes import until
from demo.salt import EAUTH, USER
from tests.bench.peers.fleet import Watch, cpu_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.processes import Program
    from demo.salt import SaltLab
    from tests.bench.peers.fleet import Fleet


class Rollwave:
    """
    One that serves, over a fleet.

    Args:
        fleet: The servers.
        executor: The section of ``rollwave.toml`` that says how to reach them.
        helpers: What runs beside it for that, and whose processor time is the controller's too.
    """

    def __init__(self, fleet: Fleet, executor: str, helpers: tuple[Program, ...] = ()) -> None:
        self.fleet = fleet
        self._helpers = helpers
        self._rollwave = Embedded(fleet.folder)
        self._rollwave.settings(
            f'[balancers.edge]\nkind = "haproxy"\nsocket = "127.0.0.1:{fleet.admin_port}"\n'
            f"[executors.fleet]\n{executor}"
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let it serve as long as the block lasts."""
        self._rollwave.start()
        try:
            yield
        finally:
            self._rollwave.stop()

    def register(self, *versions: str) -> None:
        path = self.fleet.folder / "fleet.yaml"
        path.write_text(json.dumps(self._spec()))
        self._call("apply", "-f", str(path))
        for version in versions:
            self._call("package", "push", str(self.fleet.build(version)), "--app", "app", "--version", version)

    def release(self, version: str, *options: str) -> dict[str, Any]:
        """Release to all servers; return what it took, once it is over."""
        return self._measured("deploy", "app", version, *options, goal=version)

    def roll_back(self, goal: str) -> dict[str, Any]:
        return self._measured("rollback", "app", goal=goal)

    def _measured(self, *command: str, goal: str) -> dict[str, Any]:
        programs = [self._rollwave.server, *self._helpers]
        before, began = cpu_s(programs), time.monotonic()
        with Watch(self.fleet) as watch:
            deployment = str(self._call(*command)["id"])
            self._await_end(deployment)
        command_s = time.monotonic() - began
        used = cpu_s(programs) - before
        self.fleet.require(goal)
        done = self._call("get", deployment)
        return {
            "seconds": round(_at(done["ended_at"]) - _at(done["created_at"]), 2),
            "command_s": round(command_s, 2),
            "batches": [batch["counts"]["total"] for batch in done["batches"]],
            "controller_cpu_ms_per_host": round(1000 * used / len(self.fleet.servers), 1),
            **watch.told(),
        }

    def _await_end(self, deployment: str) -> None:
        # Not by a command: its start would take as much of the processors as the release of three hosts.
        url = f"{self._rollwave.endpoint}/api/v1/deployments/{deployment}"
        headers = {"Authorization": f"Bearer {self._rollwave.token}"}
        with httpx.Client(headers=headers, timeout=60) as client:
            until(
                lambda: client.get(url).raise_for_status().json()["ended_at"] is not None,
                what=f"the end of deployment {deployment}",
                timeout_s=600,
                every_s=0.1,
            )

    def _call(self, *arguments: str) -> Any:
        argv = self._rollwave.argv(*arguments, "--json")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
        return json.loads(done.stdout)

    def _spec(self) -> dict[str, Any]:
        fleet = self.fleet
        return {
            "apps": [{"name": "app"}],
            "servers": [{"name": one.name, "address": one.address} for one in fleet.servers],
            "groups": [
                {
                    "name": "app",
                    "app": "app",
                    "deploy_path": f"{fleet.folder}/{{server}}/app",
                    "health_path": "/",
                    "version_path": "/version",
                    "start": [str(fleet.control), "start", f"{fleet.folder}/{{server}}"],
                    "stop": [str(fleet.control), "stop", f"{fleet.folder}/{{server}}"],
                    "executor": "fleet",
                    "balancer": "edge",
                    "pool": "app",
                    "config": {
                        "max_unavailable_percent": 100 * fleet.batch // len(fleet.servers),
                        "canary_count": 0,
                        "prestage": False,
                    },
                    "instances": [{"server": one.name, "port": one.port} for one in fleet.servers],
                }
            ],
        }


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def over_ssh(fleet: Fleet) -> Rollwave:
    site = fleet.site
    return Rollwave(
        fleet,
        f'kind = "ssh"\nport = {site.port}\nidentity = "{site.identity}"\nknown_hosts = "{site.known_hosts}"\n'
        'python = "/usr/bin/python3"\n',
    )


def over_salt(fleet: Fleet, salt: SaltLab) -> Rollwave:
    # A web server of the packages, as docs/salt.md wants it: what the fleet fetches from anyway.
    blobs = fleet.folder / "rollwave" / "packages" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (fleet.files / "blobs").symlink_to(blobs)
    return Rollwave(
        fleet,
        f'kind = "salt"\nurl = "{salt.url}"\nuser = "{USER}"\npassword = "{salt.password}"\neauth = "{EAUTH}"\n'
        f'packages_url = "{fleet.files_url}/blobs"\n',
        helpers=(salt.master, salt.api),
    )
