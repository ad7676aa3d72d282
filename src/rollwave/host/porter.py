"""
The porter: runs the driver on a server that is reached through SSH, and fetches from the sender what is missing for it.

It is sent along as an argument of Python, needs nothing but version 3.8 and the standard library, stays as long as its
session does, and leaves nothing of itself behind. It takes one order after the other; for each a fork of it becomes the
driver, so that Python's start and the driver's own are paid once per session and not once per command.

An order is a line of JSON on stdin: deploy_path, keys (text by file name: what is trusted, exactly), driver and plan
(sha256), words (the driver's arguments), package (sha256, size and version where the sender has to bring it, or null).
For a drain file it is deploy_path and drain: true, false, or null, which only asks.

On stdout is the driver's own report, before and after it lines ``{"rollwave": ...}`` with one of these:

    needs     what is missing: the sender sends one line of JSON (driver and plan, as text), then the package
    refuses   code and message: nothing was begun
    have      how many bytes of the package are here
    drained   whether the drain file is there
    done      the order has been carried out; where it failed with an exit code, the session ends with that
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
EXIT_BUG = 70


class RefusalError(Exception):
    """Nothing can be done here; code and message say why."""


def main() -> int:
    """Carry out orders until the sender goes, or a driver fails; return its exit code."""
    os.chdir("/")
    os.umask(0o022)
    drivers: dict[str, Any] = {}
    for line in iter(sys.stdin.buffer.readline, b""):
        exit_code = carry_out(json.loads(line.decode("ascii")), drivers)
        if exit_code:
            return exit_code
        say(done=True)
        load_what_comes_next()
    return 0


def carry_out(order: dict[str, Any], drivers: dict[str, Any]) -> int:
    """Carry out one order; return the driver's exit code."""
    try:
        if "drain" in order:
            say(drained=drain(order["deploy_path"], wanted=order["drain"]))
            return 0
        prepare(order)
    except RefusalError as refusal:
        say(refuses=refusal.args)
        return 0
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(refuses=("host.disk_full" if is_full else "host.io_error", f"the operating system refused: {error}"))
        return 0
    if order["driver"] not in drivers:
        drivers[order["driver"]] = load_driver(driver_path(order))
    if order["words"][0] == "download":
        load_for_download()
    child = os.fork()
    if child == 0:
        os._exit(drive(drivers[order["driver"]], order["words"]))
    status = os.waitpid(child, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def load_driver(path: str) -> dict[str, Any]:
    """Return the names that the driver defines."""
    names: dict[str, Any] = {"__name__": "rollwave_driver", "__file__": path}
    exec(code_of(path), names)  # noqa: S102  we are its interpreter
    return names


def code_of(path: str) -> Any:
    """Return the driver's code, which Python keeps beside the file, as of any module: to compile it takes long."""
    from importlib.machinery import SourceFileLoader

    try:
        return SourceFileLoader("rollwave_driver", path).get_code("rollwave_driver")
    except (EOFError, ValueError, TypeError):  # a power cut left a part of what was kept
        return compile(read_bytes(path), path, "exec")


def load_for_download() -> None:
    """Import what a download needs once per session, and not in each fork."""
    import base64  # noqa: F401
    import shutil  # noqa: F401
    import subprocess  # noqa: F401
    import tarfile  # noqa: F401


def load_what_comes_next() -> None:
    """Import, while nobody waits, what the driver needs to talk to supervisors and health checks."""
    import http.client  # noqa: F401
    import subprocess  # noqa: F401


def drive(driver: dict[str, Any], words: list[str]) -> int:
    """Be the driver; return its exit code."""
    exit_code = EXIT_BUG
    try:
        exit_code = driver["main"](words)
        sys.stdout.flush()
    except Exception:  # noqa: BLE001  a bug: say so with its own exit code
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    return exit_code


def driver_path(order: dict[str, Any]) -> str:
    """Return where the driver that *order* names is, or will be."""
    return os.path.join(order["deploy_path"], ".rollwave", "drivers", order["driver"] + ".py")


def prepare(order: dict[str, Any]) -> None:
    """See to it that all is here that the driver needs."""
    root, package = order["deploy_path"], order["package"]
    home = os.path.join(root, ".rollwave")
    if not os.path.isdir(os.path.dirname(root)):
        raise RefusalError("host.no_deploy_path", f"{os.path.dirname(root)} is not a directory on this server")
    for path in (root, home, *(os.path.join(home, name) for name in ("drivers", "plans", "keys", "downloads"))):
        make_directory(path)
    trust_exactly(os.path.join(home, "keys"), order["keys"])
    paths = {
        "driver": driver_path(order),
        "plan": os.path.join(home, "plans", order["plan"] + ".json"),
    }
    missing = [name for name, path in paths.items() if is_missing(path, order[name])]
    if package and not is_here(package, root, home):
        require_room(package, home)
        missing.append("package")
    if missing:
        receive(missing, paths, package, home)


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
    """Copy *size* bytes, and say after each chunk how many there are: the sender keeps only so far ahead."""
    have = 0
    while have < size:
        chunk = stream.read(min(size - have, CHUNK_BYTES))
        if not chunk:
            raise RefusalError("host.cut_off", "the sender went away before the package was whole")
        file.write(chunk)
        have += len(chunk)
        say(have=have)


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
    sys.exit(main())
