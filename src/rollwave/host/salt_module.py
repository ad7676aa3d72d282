"""
Rollwave's execution module for Salt minions, with fixed verbs.

It brings the host driver and its plan to the deploy path, has the driver do one verb, and hands its answer back. The
driver itself detaches from it: the death of the minion does not stop a verb that has begun. Python 3.8 and newer,
standard library only. Installed as ``rollwave.py`` among the execution modules; see Rollwave's ``docs/salt.md``.

Every function but `ping` takes one document, the same for all minions that were told in one publish::

    {"format": 1,
     "commands": {MINION ID: {"deploy_path": PATH, "plan": SHA256, "options": [WORD, ...], "limit_s": SECONDS}},
     "driver": SHA256, "keys": {KEY ID: PEM}, "files": BASE64 OF ZLIB OF JSON {SHA256: TEXT} or null}

and returns one of::

    {"exit_code": N, "stdout": TEXT, "stderr": TEXT}      what the driver said
    {"missing": [SHA256, ...]}                            nothing was done: come again with these files
    {"code": CODE, "message": TEXT, "path": PATH}         nothing was done: the host cannot be prepared
    {"drained": true or false}                            whether the drain file is there now

Configuration of the minion: ``rollwave: {python: PATH}`` names the Python that runs the driver.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
from typing import IO, Any, Sequence

# Both are brought by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Any]

__virtualname__ = "rollwave"

FORMAT = 1
SHOWN_BYTES = 256 * 1024
PYTHON = "/usr/bin/python3"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


class NotPreparedError(Exception):
    """The host cannot be prepared; becomes the answer."""

    def __init__(self, code: str, path: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"code": code, "message": message, "path": path}


def __virtual__() -> str:  # noqa: N807  Salt's name
    """Return the name under which Salt finds this module."""
    return __virtualname__


def ping(*_document: Any, **_published: Any) -> int:
    """Return the format of documents that this module reads."""
    return FORMAT


def download(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have the goal version fetched, checked and unpacked aside."""
    return _answer("download", document, published)


def install(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have the app switched to the goal version and started."""
    return _answer("install", document, published)


def verify(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have it proven that the goal version serves."""
    return _answer("verify", document, published)


def prove(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have it proven at once, without waiting for a start."""
    return _answer("prove", document, published)


def restore(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have the app switched back to the previous version."""
    return _answer("restore", document, published)


def status(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Read the journal back."""
    return _answer("status", document, published)


def drain(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Create the file that a health page may watch."""
    return _mark("drain", document, published)


def undrain(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Remove it."""
    return _mark("undrain", document, published)


def drained(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Say whether it is there."""
    return _mark("drained", document, published)


def check(document: dict[str, Any], **published: Any) -> dict[str, Any]:
    """Have the driver look whether a release could be brought here; nothing is written."""
    try:
        command = _command("check", document, published)
    except NotPreparedError as error:
        return error.answer
    driver = _brought(document.get("files")).get(document["driver"])
    if driver is None:
        return {"missing": [document["driver"]]}
    return _run([_python(), "-I", "-", "check", str(command["question"])], float(command["limit_s"]), driver)


def _answer(verb: str, document: dict[str, Any], published: dict[str, Any]) -> dict[str, Any]:
    try:
        command = _command(verb, document, published)
        home = os.path.join(_placed(_deploy_path(command)), ".rollwave")
        driver = os.path.join(home, "drivers", _sha256(document["driver"]) + ".py")
        plan = os.path.join(home, "plans", _sha256(command["plan"]) + ".json")
        missing = _prepare(home, {driver: document["driver"], plan: command["plan"]}, document)
    except NotPreparedError as error:
        return error.answer
    except OSError as error:
        return _unusable(error)
    if missing:
        return {"missing": missing}
    options = [str(word) for word in command["options"]]
    return _run([_python(), "-I", "-S", driver, verb, plan, *options], float(command["limit_s"]))


def _mark(verb: str, document: dict[str, Any], published: dict[str, Any]) -> dict[str, Any]:
    try:
        deploy_path = _placed(_deploy_path(_command(verb, document, published)))
        shared = os.path.join(deploy_path, "shared")
        path = os.path.join(shared, "drain")
        if verb == "drain":
            _make_directory(deploy_path)
            _make_directory(shared)
            _write_durably(path, b"")
        elif verb == "undrain" and os.path.exists(path):
            os.unlink(path)
            _sync(shared)
        return {"drained": os.path.exists(path)}
    except NotPreparedError as error:
        return error.answer
    except OSError as error:
        return _unusable(error)


def _command(verb: str, document: dict[str, Any], published: dict[str, Any]) -> dict[str, Any]:
    if isinstance(published.get("__pub_fun", ""), (list, tuple)):
        # Salt lets such a call pass as soon as one of its functions is allowed. Rollwave never makes one.
        raise ValueError("rollwave." + verb + " is not part of a compound call")  # noqa: TRY004  it is no type of ours
    if document.get("format") != FORMAT:
        message = "the module reads format %d, and this is %s: install the module of the Rollwave that sent it"
        raise NotPreparedError("host.salt_module", __file__, message % (FORMAT, document.get("format")))
    command: dict[str, Any] = document["commands"][__opts__["id"]]  # noqa: F821  declared above
    return command


def _unusable(error: OSError) -> dict[str, Any]:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return {
        "code": "host.disk_full" if is_full else "host.io_error",
        "message": "the operating system refused: " + str(error),
        "path": str(error.filename or ""),
    }


def _deploy_path(command: dict[str, Any]) -> str:
    path = str(command["deploy_path"])
    if not os.path.isabs(path) or os.path.normpath(path) != path or path == "/":
        raise ValueError(f"deploy_path is {path!r}; expected an absolute path without '.', '..' or a trailing slash")
    return path


def _placed(path: str) -> str:
    """Return the deploy path. Its parent has to be there: a mistyped path must not be made, nor one on a lost disk."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        raise NotPreparedError("host.no_deploy_path", parent, parent + " is not a directory on this server")
    return path


def _sha256(value: str) -> str:
    if not re.match(r"[0-9a-f]{64}\Z", value):
        raise ValueError(f"{value!r} is no sha256: expected 64 hex digits")
    return value


def _python() -> str:
    named = __salt__["config.get"]("rollwave:python")  # noqa: F821  declared above
    if named:
        return str(named)
    return PYTHON if os.path.exists(PYTHON) else sys.executable


def _prepare(home: str, files: dict[str, str], document: dict[str, Any]) -> list[str]:
    """Write what the document brings and the host does not have; return the hashes of what is still missing."""
    for path in [os.path.dirname(home), home] + [os.path.join(home, name) for name in ("drivers", "plans", "keys")]:
        _make_directory(path)
    brought = _brought(document.get("files"))
    missing = []
    for path, sha256 in files.items():
        content = _read(path)
        if content is None and sha256 in brought:
            _write_durably(path, brought[sha256])
        elif content is None:
            missing.append(sha256)
        elif hashlib.sha256(content).hexdigest() != sha256:
            message = f"{path} is no longer what was written under that hash; find out who changed it, then delete it"
            raise NotPreparedError("host.file_changed", path, message)
    _trust_exactly(os.path.join(home, "keys"), document["keys"])
    return missing


def _brought(files: str | None) -> dict[str, bytes]:
    if not files:
        return {}
    texts = json.loads(zlib.decompress(base64.b64decode(files)).decode("utf-8"))
    contents = {sha256: text.encode("utf-8") for sha256, text in texts.items()}
    for sha256, content in contents.items():
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"what was sent as {sha256} has another content")
    return contents


def _trust_exactly(directory: str, keys: dict[str, str]) -> None:
    wanted = {}
    for key_id, pem in keys.items():
        if not re.match(r"[0-9a-f]{16}\Z", key_id):
            raise ValueError(f"{key_id!r} is no key id: expected 16 hex digits")
        wanted[key_id + ".pem"] = pem.encode("utf-8")
    for name in os.listdir(directory):
        if name.endswith(".pem") and name not in wanted:
            os.unlink(os.path.join(directory, name))
            _sync(directory)
    for name, content in wanted.items():
        path = os.path.join(directory, name)
        if _read(path) != content:
            _write_durably(path, content)


def _make_directory(path: str) -> None:
    """Make one directory where it is missing, durably. Its parent must be there: it may be a disk that is not."""
    if not os.path.isdir(path):
        with contextlib.suppress(FileExistsError):  # another command makes it at the same time
            os.mkdir(path, 0o755)
        _sync(os.path.dirname(path))


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write_durably(path: str, content: bytes) -> None:
    """Replace the file at *path*: after a crash it has the old content or the new, whole."""
    directory = os.path.dirname(path)
    descriptor, aside = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
        raise
    _sync(directory)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _run(arguments: Sequence[str], limit_s: float, source: bytes = b"") -> dict[str, Any]:
    # Lifecycle commands see what finds a supervisor, and nothing of what the minion runs with.
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["PATH"] = os.environ.get("PATH") or DEFAULT_PATH
    # Files, not pipes: whatever a verb leaves running cannot keep us waiting for an end of output.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(source)
        stdin.seek(0)
        process = subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        try:
            exit_code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            # Only the process that waits for the verb; the verb itself is detached and goes on.
            process.kill()
            exit_code = process.wait()
        return {"exit_code": exit_code, "stdout": _end_of(stdout), "stderr": _end_of(stderr)}


def _end_of(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - SHOWN_BYTES))
    return output.read().decode("utf-8", "replace")


if __name__ == "__main__":
    # python -m rollwave.host.salt_module >/srv/salt/_modules/rollwave.py
    with open(__file__, encoding="utf-8") as source:
        sys.stdout.write(source.read())
