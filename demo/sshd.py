"""A real sshd that lets this account in by a key, and nobody by anything else."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo.processes import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVILEGE_SEPARATION: Final = Path("/run/sshd")
"""Debian's service makes it at its start; an sshd that root runs insists on it."""


def sshd(
    folder: Path,
    *,
    address: str,
    port: int,
    host_key: Path,
    authorized_keys: Path,
    home: Path,
    options: Mapping[str, str] | None = None,
) -> list[str | Path]:
    """
    Write the configuration of an sshd; return the command line that runs it.

    Args:
        folder: Where its configuration goes.
        address: Where it listens.
        port: The same.
        host_key: Its own private key.
        authorized_keys: Who gets in.
        home: Of all sessions, best an empty one: whatever the account's shell would run there at each command is not
            what is tried.
        options: Further settings, or other ones.
    """
    settings = {
        "Port": port,
        "ListenAddress": address,
        "HostKey": host_key,
        "AuthorizedKeysFile": authorized_keys,
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AllowUsers": getpass.getuser(),
        "SetEnv": f"HOME={home}",
        **(options or {}),
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
    program = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")  # it insists on its whole path
    if program is None:
        raise LabError("sshd was not found: install the Debian package openssh-server")
    return [program, "-D", "-e", "-f", config]
