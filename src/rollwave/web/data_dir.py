"""The data directory: who has it, and where its server listens."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def welcome_file(path: Path) -> Path:
    """Return the file with the code that lets somebody make the first account, as long as there is none."""
    return path / "secrets" / "welcome"


class DataDirBusyError(RollwaveError):
    """Another process serves this data directory."""

    code = "serve.already_running"

    def __init__(self, *, path: Path, pid: str) -> None:
        super().__init__(
            f"process {pid or 'unknown'} serves {path} already; stop it first, or use another data directory",
            path=str(path),
            pid=pid,
        )


class DataDir:
    """
    One directory that holds everything of an installation; made where it is missing, for its owner alone.

    Args:
        path: Where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.uploads.mkdir(mode=0o700, exist_ok=True)

    @property
    def token_file(self) -> Path:
        """The first token."""
        return self.path / "token"

    @property
    def uploads(self) -> Path:
        """Where uploads are gathered: on the disk where they will stay, instead of in a memory file system."""
        return self.path / "uploads"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """
        Keep every other server out. The lock is the kernel's: it ends with the process, however that ends.

        Raises:
            DataDirBusyError: If another process has it; names its id.
        """
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise DataDirBusyError(path=self.path, pid=lock.read().strip()) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    @contextmanager
    def endpoint(self, address: str) -> Iterator[None]:
        """Tell clients on this machine that the server is at *address*, as long as the block lasts."""
        file = self.path / "endpoint"
        aside = file.with_name("endpoint.new")
        aside.write_text(f"{address}\n")
        aside.replace(file)
        try:
            yield
        finally:
            # Another web process may have written its own meanwhile.
            with suppress(FileNotFoundError):
                if file.read_text() == f"{address}\n":
                    file.unlink()
