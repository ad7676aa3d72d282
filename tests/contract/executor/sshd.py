"""Servers behind real sshds, each on a loopback address of its own, and what it takes to get in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo.processes import Program, free_ports, until
from demo.sshd import PRIVILEGE_SEPARATION, sshd
from rollwave.executors.ssh_connections import SshAccess
from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_SSHD = Path("/usr/sbin/sshd")


def make_key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
    subprocess.run(command, check=True, capture_output=True)
    return path


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    What all servers of a site share: a port, an account that has no start-up files, a host key, our key.

    Sessions get an empty home: whatever the account's shell would run there at each command is not what is measured.
    """

    folder: Path
    port: int
    host_key: Path
    identity: Path

    @classmethod
    def at(cls, folder: Path) -> Site:
        needs_program(_SSHD, package="openssh-server")
        (folder / "home").mkdir(parents=True)
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        (port,) = free_ports(1)
        identity = make_key(folder / "identity")
        shutil.copy(f"{identity}.pub", folder / "authorized_keys")
        (folder / "authorized_keys").chmod(0o600)
        site = cls(folder=folder, port=port, host_key=make_key(folder / "host_key"), identity=identity)
        site.know([], site.known_hosts)
        return site

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def know(self, strangers: Sequence[tuple[str, Path]], path: Path) -> Path:
        """Write known hosts: all servers of this site, but for *strangers*, who have other keys."""
        lines = [f"[{address}]:{self.port} {Path(f'{key}.pub').read_text().strip()}" for address, key in strangers]
        ours = ",".join(["*", *(f"![{address}]:{self.port}" for address, _ in strangers)])
        path.write_text("\n".join([*lines, f"{ours} {Path(f'{self.host_key}.pub').read_text().strip()}"]) + "\n")
        return path

    def access(self, **other: object) -> SshAccess:
        own = {"port": self.port, "identity": self.identity, "known_hosts": self.known_hosts, "connect_timeout_s": 10}
        return SshAccess(**(own | other))

    def settings_for(self, user: str) -> dict[str, str]:
        """Return the settings of an sshd that lets *user* in, with our key and what docs/ssh.md has before it."""
        keys = self.folder / "authorized_keys.restricted"
        keys.write_text("restrict " + (self.folder / "authorized_keys").read_text())
        return {"AllowUsers": user, "AuthorizedKeysFile": str(keys)}

    def server(self, address: str, **options: str) -> Sshd:
        return Sshd(self, address, **options)


class Sshd:
    """One sshd. It can be killed with all its sessions, and started again."""

    def __init__(self, site: Site, address: str, **options: str) -> None:
        self.site = site
        self.address = address
        folder = site.folder / address
        folder.mkdir(exist_ok=True)
        command = sshd(
            folder,
            address=address,
            port=site.port,
            host_key=site.host_key,
            authorized_keys=site.folder / "authorized_keys",
            home=site.folder / "home",
            options={"MaxStartups": "200"} | options,
        )
        self.program = Program(command, log=folder / "log")

    def start(self) -> None:
        self.program.start()
        until(self._answers, what=f"the start of sshd ({self.program.log})")

    def kill(self) -> None:
        """End it and all its sessions; what a driver has detached lives on."""
        self.program.kill()

    def _answers(self) -> bool:
        self.program.check()
        with socket.socket() as client:
            return client.connect_ex((self.address, self.site.port)) == 0
