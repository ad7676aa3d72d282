"""
The porter: sent along with a command over SSH, it fetches from the sender what is missing here, then runs the driver.

It needs nothing but Python 3.8 or newer and its standard library, and leaves nothing of itself behind.

The order is its one argument, JSON: deploy_path, keys (text by file name: what is trusted, exactly), driver and plan
(sha256), words (the driver's arguments), package (sha256, size and version where the sender has to bring it, or null).
For a drain file it is deploy_path and drain: true, false, or null, which only asks.

On stdout is the driver's own report, or first a line ``{"rollwave": ...}`` with one of these:

    needs     what is missing: the sender sends one line of JSON (driver and plan, as text), then the package
    refuses   code and message: nothing was begun
    drained   whether the drain file is there
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time
from typing import IO, Any

# Modules that take long to import (tempfile, shutil) are done without: this runs before every command.

CHUNK_BYTES = 1 << 18
FORGOTTEN_S = 3600


class RefusalError(Exception):
    """Nothing can be done here; code and message say why."""


def main(order: dict[str, Any]) -> None:
    """Carry out one order."""
    os.chdir("/")
    os.umask(0o022)
    try:
        if "drain" in order:
            say(drained=drain(order["deploy_path"], wanted=order["drain"]))
            return
        driver_path = prepare(order)
    except RefusalError as refusal:
        say(refuses=refusal.args)
        return
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(refuses=("host.disk_full" if is_full else "host.io_error", f"the operating system refused: {error}"))
        return
    if order["words"][0] == "download":  # it may need a third-party zstd module; everything else is quicker without
        import site

        site.main()
    sys.argv = [driver_path, *order["words"]]
    program = compile(read_bytes(driver_path), driver_path, "exec")
    exec(program, {"__name__": "__main__", "__file__": driver_path})  # noqa: S102  we are its interpreter from here on


def prepare(order: dict[str, Any]) -> str:
    """See to it that all is here that the driver needs; return its path."""
    root, package = order["deploy_path"], order["package"]
    home = os.path.join(root, ".rollwave")
    if not os.path.isdir(os.path.dirname(root)):
        raise RefusalError("host.no_deploy_path", f"{os.path.dirname(root)} is not a directory on this server")
    for path in (root, home, *(os.path.join(home, name) for name in ("drivers", "plans", "keys", "downloads"))):
        make_directory(path)
    trust_exactly(os.path.join(home, "keys"), order["keys"])
    paths = {
        "driver": os.path.join(home, "drivers", order["driver"] + ".py"),
        "plan": os.path.join(home, "plans", order["plan"] + ".json"),
    }
    missing = [name for name, path in paths.items() if is_missing(path, order[name])]
    if package and not is_here(package, root, home):
        require_room(package, home)
        missing.append("package")
    if missing:
        receive(missing, paths, package, home)
    return paths["driver"]


def say(**what: Any) -> None:
    """Tell the sender."""
    sys.stdout.write(json.dumps({"rollwave": what}) + "\n")
    sys.stdout.flush()


def is_missing(path: str, sha256: str) -> bool:
    """Say whether a file is not here; one that is here has the content that its name promises."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return True
    if hashlib.sha256(content).hexdigest() != sha256:
        hint = " is no longer what was written under that hash; find out who changed it, then delete it"
        raise RefusalError("host.file_changed", path + hint)
    return False


def is_here(package: dict[str, Any], root: str, home: str) -> bool:
    """Say whether the driver can do without the archive: it has the version, or all of its part."""
    if os.path.lexists(os.path.join(root, "releases", package["version"])):
        return True
    try:
        return os.path.getsize(part_path(package, home)) == int(package["size"])
    except FileNotFoundError:
        return False


def part_path(package: dict[str, Any], home: str) -> str:
    """Return where the driver collects the archive."""
    return os.path.join(home, "downloads", package["sha256"] + ".part")


def require_room(package: dict[str, Any], home: str) -> None:
    """Refuse before anything is sent where the archive cannot fit."""
    disk = os.statvfs(home)
    free = disk.f_bavail * disk.f_frsize
    if package["size"] > free:
        message = f"the disk is full: the package has {package['size']} bytes, {free} are free in {home}"
        raise RefusalError("host.disk_full", message)


def receive(missing: list[str], paths: dict[str, str], package: dict[str, Any], home: str) -> None:
    """Ask for what is missing and put it in its place, each whole or not at all."""
    say(needs=missing)
    stream = sys.stdin.buffer
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise RefusalError("host.cut_off", "the sender went away before it had sent what is missing here")
    for name, text in json.loads(line.decode("ascii")).items():
        write_durably(paths[name], text.encode("utf-8"))
    if "package" in missing:
        receive_package(stream, package, home)


def receive_package(stream: IO[bytes], package: dict[str, Any], home: str) -> None:
    """Collect the archive aside, then let the driver find it, which checks it as it checks any other."""
    # Nothing else is in this folder, and whoever still sends has written lately.
    incoming = os.path.join(home, "incoming")
    make_directory(incoming)
    for name in os.listdir(incoming):
        path = os.path.join(incoming, name)
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.path.getmtime(path) > FORGOTTEN_S:
                os.unlink(path)
    aside = os.path.join(incoming, f"{package['sha256']}-{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            copy(stream, file, package["size"])
        os.replace(aside, part_path(package, home))
    except BaseException:
        remove(aside)
        raise


def copy(stream: IO[bytes], file: IO[bytes], size: int) -> None:
    """Copy *size* bytes."""
    while size:
        chunk = stream.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise RefusalError("host.cut_off", "the sender went away before the package was whole")
        file.write(chunk)
        size -= len(chunk)


def trust_exactly(folder: str, keys: dict[str, str]) -> None:
    """Let the driver trust these keys, and no other."""
    for name in os.listdir(folder):
        if name.endswith(".pem") and name not in keys:
            remove(os.path.join(folder, name))
            sync(folder)
    for name, pem in keys.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path) or read_bytes(path) != pem.encode("ascii"):
            write_durably(path, pem.encode("ascii"))


def drain(root: str, *, wanted: bool | None) -> bool:
    """Create (True) or remove (False) the drain file; say whether it is there."""
    path = os.path.join(root, "shared", "drain")
    if wanted:
        make_directory(root)
        make_directory(os.path.dirname(path))
        write_durably(path, b"")
    elif wanted is False:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            sync(os.path.dirname(path))
    return os.path.exists(path)


def make_directory(path: str) -> None:
    """Make a directory where it is missing; its parent must be there."""
    if not os.path.isdir(path):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        sync(os.path.dirname(path))


def write_durably(path: str, content: bytes) -> None:
    """Replace a file: after a crash it has the old content or the new, whole."""
    aside = os.path.join(os.path.dirname(path), f".new-{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        remove(aside)
        raise
    sync(os.path.dirname(path))


def read_bytes(path: str) -> bytes:
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()


def remove(path: str) -> None:
    """Remove a file where there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync(folder: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
