"""An account of this machine, with rights of its own from sudoers, as long as a block lasts."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Account:
    name: str
    uid: int


@contextmanager
def an_account(rules: str) -> Iterator[Account]:
    """
    Make an account with nothing but *rules*, in which USER stands for its name; take both away again.

    Nobody can log in as it with a password. Skips where we are not root, for whom alone this is possible.
    """
    if os.geteuid() != 0:
        pytest.skip("only root makes accounts")
    needs_program(Path("/usr/bin/sudo"), package="sudo")
    name = f"rollwave-{os.getpid()}"
    sudoers = Path("/etc/sudoers.d", name)
    # "*" is no password at all; an account that is locked would be refused by an sshd without PAM.
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", "--password", "*", name], check=True)
    try:
        aside = sudoers.with_suffix(".new")  # sudo does not read what has a dot in its name
        aside.touch(mode=0o440)
        aside.write_text(rules.replace("USER", name) + "\n")
        subprocess.run(["visudo", "--check", "--quiet", "--file", aside], check=True)
        aside.rename(sudoers)
        done = subprocess.run(["id", "-u", name], check=True, capture_output=True, text=True)
        yield Account(name=name, uid=int(done.stdout))
    finally:
        sudoers.with_suffix(".new").unlink(missing_ok=True)
        sudoers.unlink(missing_ok=True)
        subprocess.run(["userdel", name], check=True)
