"""What a host needs before the first command: driver, plan and trusted keys, durable below the deploy path."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from rollwave.executors.errors import HostNotReadyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.executors.plan_file import HashedFile


class HostFileError(HostNotReadyError):
    """The files that a command needs cannot be brought to the host."""


class HostFileChangedError(HostFileError):
    """A driver or a plan on the host is not what its name says; somebody changed it, or the disk did."""

    code = "host.file_changed"

    def __init__(self, *, path: Path) -> None:
        super().__init__(
            f"{path} is no longer what was written under that hash; find out who changed it, then delete it",
            path=str(path),
        )


class HostDiskFullError(HostFileError):
    """There is no room for the few kilobytes that a command needs."""

    code = "host.disk_full"

    def __init__(self, *, deploy_path: Path) -> None:
        super().__init__(f"the disk of {deploy_path} is full; free some space", path=str(deploy_path))


class HostPathError(HostFileError):
    """The operating system does not let us write below the deploy path."""

    code = "host.io_error"

    def __init__(self, *, deploy_path: Path, error: OSError) -> None:
        super().__init__(
            f"{deploy_path} cannot be used: {error.strerror or error}; check directory and owner",
            path=str(error.filename or deploy_path),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFiles:
    """
    Where driver and plan are on the host.

    Attributes:
        driver: Path of the driver.
        plan: Path of the plan.
    """

    driver: Path
    plan: Path


def install_files(
    deploy_path: Path, *, driver: HashedFile, plan: HashedFile, trusted_keys: Mapping[str, bytes]
) -> HostFiles:
    """
    Write what is missing. Safe to call from many threads and processes at once; blocks on the disk.

    Args:
        deploy_path: Made where it is missing; its parent must be there.
        driver: The driver's source.
        plan: The plan.
        trusted_keys: PEM by key id: afterwards the host trusts exactly these.

    Raises:
        HostFileChangedError: If a file is there under its hash with another content.
        HostDiskFullError: If there is no room.
        HostPathError: If the operating system does not let us for another reason.
    """
    home = deploy_path / ".rollwave"
    files = HostFiles(driver=home / "drivers" / f"{driver.sha256}.py", plan=home / "plans" / f"{plan.sha256}.json")
    try:
        for directory in (deploy_path, home, home / "drivers", home / "plans", home / "keys"):
            make_directory(directory)
        _write_once(files.driver, driver.content)
        _write_once(files.plan, plan.content)
        _trust_exactly(home / "keys", trusted_keys)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise HostDiskFullError(deploy_path=deploy_path) from error
        raise HostPathError(deploy_path=deploy_path, error=error) from error
    return files


def make_directory(path: Path) -> None:
    """Make one directory where it is missing, durably; its parent must be there."""
    if not path.is_dir():
        with suppress(FileExistsError):  # another command makes it at the same time
            path.mkdir(mode=0o755)
        _sync(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file at *path*: after a crash it has the old content or the new, whole."""
    with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as aside:
        try:
            os.fchmod(aside.fileno(), 0o644)
            aside.write(content)
            aside.flush()
            os.fsync(aside.fileno())
            Path(aside.name).replace(path)
        except BaseException:
            Path(aside.name).unlink(missing_ok=True)
            raise
    _sync(path.parent)


def remove_durably(path: Path) -> None:
    """Remove the file at *path* where there is one."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def _write_once(path: Path, content: bytes) -> None:
    try:
        if path.read_bytes() != content:
            raise HostFileChangedError(path=path)
    except FileNotFoundError:
        write_durably(path, content)


def _trust_exactly(directory: Path, trusted_keys: Mapping[str, bytes]) -> None:
    wanted = {f"{key_id}.pem": pem for key_id, pem in trusted_keys.items()}
    for path in directory.glob("*.pem"):
        if path.name not in wanted:
            remove_durably(path)
    for name, pem in wanted.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != pem:
            write_durably(path, pem)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
