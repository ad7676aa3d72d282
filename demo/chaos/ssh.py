"""How Rollwave gets to the hosts of a chaos run: through a real sshd on each, as docs/ssh.md has it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from demo.chaos.network import NETWORK
from demo.sshd import PRIVILEGE_SEPARATION, sshd

PORT: Final = 22


class Keys:
    """
    The key pairs that all hosts share: theirs, and ours that they let in.

    Args:
        folder: Where all of it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.identity = folder / "identity"
        self.known_hosts = folder / "known_hosts"
        self._host_key = folder / "host_key"
        self._home = folder / "home"

    def make(self) -> None:
        """Make them."""
        # Sessions get an empty home: whatever the account's shell would run at each command is not what is tried here.
        self._home.mkdir(parents=True)
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        for path in (self.identity, self._host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
        shutil.copy(f"{self.identity}.pub", self._folder / "authorized_keys")
        key = Path(f"{self._host_key}.pub").read_text(encoding="ascii").strip()
        self.known_hosts.write_text(f"{NETWORK}.* {key}\n", encoding="ascii")

    def sshd(self, folder: Path, *, address: str) -> list[str | Path]:
        """Write the configuration of the sshd of *address* into *folder*; return the command line that runs it."""
        return sshd(
            folder,
            address=address,
            port=PORT,
            host_key=self._host_key,
            authorized_keys=self._folder / "authorized_keys",
            home=self._home,
        )
