"""The vault: files in a directory that appear whole and durable, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from rollwave.packages.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Vault:
    """
    Writes files aside and renames them into place. Locks are the kernel's, so a crash releases them.

    Args:
        root: Made where it is missing; ``incoming/`` inside holds what is being written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._incoming = self.root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other thread and process that asks for the same out; not reentrant."""
        with (self.root / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def incoming(self) -> Iterator[BinaryIO]:
        """
        Open a new file for writing and reading; at the end it is gone, unless it was published.

        Raises:
            StoreFullError: If the disk or the quota ran out meanwhile.
        """
        with self.exclusive():
            # The lock on the file says "somebody is writing"; `sweep` looks for it under the same exclusion.
            file = NamedTemporaryFile(dir=self._incoming, delete=False)  # noqa: SIM115  # closed below
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            with file:
                os.fchmod(file.fileno(), 0o644)
                yield cast("BinaryIO", file)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreFullError(root=self.root) from error
            raise
        finally:
            Path(file.name).unlink(missing_ok=True)

    def publish(self, file: BinaryIO, target: Path) -> None:
        """Make what was written to *file* durable, then let it appear as *target*, in place of what was there."""
        file.flush()
        os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(target)
        # New directories are durable only once their parents are: up to the root.
        for directory in target.parents:
            _sync(directory)
            if directory == self.root:
                break

    def remove(self, path: Path) -> None:
        """Delete a file, durably."""
        path.unlink()
        _sync(path.parent)

    def sweep(self) -> None:
        """Delete what crashed writers left behind; call it inside `exclusive`."""
        for path in self._incoming.iterdir():
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
