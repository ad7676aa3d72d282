"""
The host driver: does one verb of one plan on one instance, and remembers what came of it.

    driver.py VERB PLAN --plan-hash SHA256 --attempt N --fence F --deadline UNIX_SECONDS [--wait SECONDS]
    driver.py status PLAN ... --verb VERB
    driver.py check QUESTION

``check`` says, before there is any plan, what this server lacks to be released to. It changes nothing, and needs no
file but this one, which may come on stdin; QUESTION is a JSON object, and the answer as well.

The last line on stdout is the report, one JSON object. Exit code 0: there is a report (a refusal is a report, too);
2: unusable arguments; 70: a bug in this file, with its traceback on stderr.

How it stays correct, whatever is killed, doubled, delayed or late:

- Bookkeeping (fence and journal) happens under ``.rollwave/lock``, held for milliseconds. The fence only rises; a
  command with a lower one is refused before it does anything.
- Work happens in a detached worker under ``.rollwave/work.lock``, so two verbs never run side by side on an instance.
  A worker is judged again (fence, deadline, journal) at the instant it gets that lock: one that queued while a newer
  command raised the fence never begins.
- A verb that has begun runs to its end, even when a newer fence arrives: half an install is worse than a whole one, and
  the newer command waits on ``work.lock`` meanwhile. So there is no fence check inside a verb.
- A repeated command queues on ``work.lock`` like any other and then finds the recorded result: joining a running verb
  needs no code of its own. If the first worker was killed, the second finds a begun record without result and does the
  verb again; each verb is safe to repeat after a kill at any system call.
- Records are of one deployment, not of one number: a controller whose database was restored from a backup gives ids
  again. So records go by when the deployment was created as well, and one that is older than the newest that was here
  is refused: of what came after it, its controller knows nothing.
- Every worker holds a shared lock on ``.rollwave/locks/<deployment>-<created>-<attempt>-<verb>`` from before the
  command is answered until it ends, so ``status`` tells a verb that is queued or running from one whose worker died.
  The kernel drops the lock whatever the cause of death.
- ``current`` is a relative link, switched by rename(2) to a directory that was complete, checked and fsynced before it
  got its name.

What the lifecycle commands must do: ``stop`` returns when the process is gone and succeeds when there was none;
``start`` returns once the supervisor took the job. Both may use {app} {version} {port} {instance} {server}
{deploy_path}.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import sys
import time
from typing import IO, Any, Callable, Dict, Iterable, Iterator, NamedTuple, Sequence

# Heavy modules (tarfile, subprocess, http.client, urllib) are imported where they are needed: `status` must be quick.

FORMAT = 1
MARKER = ".rollwave-package"
JOURNALED_DEPLOYMENTS = 50
OUTPUT_TAIL_BYTES = 4000
TOLD_LINES = 6
TOLD_CHARACTERS = 160
CHUNK_BYTES = 1 << 18

FETCH_TRIES = 3
FETCH_PAUSE_S = 0.5
FETCH_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 5.0
PROBE_PAUSE_S = 0.2  # at most; at first, an app that starts quickly is found up quickly
FIRST_PROBE_PAUSE_S = 0.02
STATUS_PROBE_TIMEOUT_S = 1.0
ASKED_TIMEOUT_S = 3.0  # openssl, sudo three times, a supervisor, and the app: all of it in less than 25 s
PORT_GRACE_S = 5.0
PORT_PAUSE_S = 0.05
ATTENDANCE_PAUSE_S = 0.02

CHANGED_HINT = "it was changed since it was pushed: retry, and if that does not help push it under a new version"
BUILD_HINT = "take that out of what is built, and push it under a new version"

MAX_UNPACKED_BYTES = 64 << 30
MAX_MEMBERS = 500000
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 64
MAX_EXTENDED_HEADER_BYTES = 1 << 16
MAX_RATIO = 1000
RATIO_FREE_BYTES = 64 << 20
HEADERS_BYTES = 512 << 20
BLOCK_BYTES = 4096

EXIT_USAGE = 2
EXIT_BUG = 70


class RefusalError(Exception):
    """
    The answer is no: becomes a report in state failed.

    Attributes:
        code: Stable dotted name.
        message: One sentence for a person.
        detail: Further facts, JSON-serializable.
    """

    def __init__(self, code: str, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


# ---------------------------------------------------------------------------------------------------------------------
# The plan
# ---------------------------------------------------------------------------------------------------------------------

VERSION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class Package(NamedTuple):
    """The goal package, with what is needed to prove it."""

    sha256: str
    size: int
    url: str
    manifest: bytes
    signature: bytes
    key_id: str


class Plan(NamedTuple):
    """Everything about one deployment on one instance; checked field by field."""

    deployment_id: int
    created_us: int
    instance: str
    server: str
    port: int
    deploy_path: str
    app: str
    version: str
    package: Package
    previous_version: str | None
    start: tuple[str, ...]
    stop: tuple[str, ...]
    health_path: str
    startup_timeout_s: int
    command_timeout_s: int
    ignore_verify: bool
    keep_versions: int
    version_path: str | None = None
    health_host: str = "127.0.0.1"


Check = Callable[[Any], Any]


def integer(low: int, high: int = 1 << 62) -> Check:
    """Return a check for a whole number from *low* to *high*."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def text(pattern: str, expected: str) -> Check:
    """Return a check for a string that matches *pattern* from end to end."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return check


def optional(inner: Check) -> Check:
    """Return a check that lets null pass."""
    return lambda value: None if value is None else inner(value)


def boolean(value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004  every check fails in the same way
    return value


def argv(value: Any) -> tuple[str, ...]:
    """Check for an argument vector."""
    is_argv = isinstance(value, list) and value and all(isinstance(part, str) and "\0" not in part for part in value)
    if not is_argv or not value[0]:
        raise ValueError("a list of strings, the program first")
    return tuple(value)


def absolute_path(value: Any) -> str:
    """Check for an absolute path in its shortest form, not the root."""
    is_path = isinstance(value, str) and value.startswith("/") and "\0" not in value
    if not is_path or value == "/" or os.path.normpath(value) != value:
        raise ValueError("an absolute path without '.', '..' or a trailing slash")
    return value


def base64_bytes(length: int | None = None) -> Check:
    """Return a check that decodes base64, to exactly *length* bytes where given."""

    def check(value: Any) -> bytes:
        import base64

        expected = f"base64 of {'some' if length is None else length} bytes"
        if not isinstance(value, str):
            raise ValueError(expected)  # noqa: TRY004  every check fails in the same way
        try:
            decoded = base64.b64decode(value.encode("utf-8"), validate=True)
        except ValueError:
            raise ValueError(expected) from None
        if not decoded or (length is not None and len(decoded) != length):
            raise ValueError(expected)
        return decoded

    return check


VERSION_CHECK = text(VERSION_PATTERN.pattern, "a version: letters, digits and . _ + -, at most 100, no leading dot")
URL_PATH_CHECK = text(r"/[!-~]*", "a path that begins with / and has no blanks")
NAME_CHECK = text(r"[^\x00-\x1f\x7f]{1,500}", "1 to 500 printable characters")

PACKAGE_FIELDS: dict[str, Check] = {
    "sha256": text(r"[0-9a-f]{64}", "64 hex digits"),
    "size": integer(1),
    "url": text(r"(file|https?)://[!-~]+", "a file, http or https URL"),
    "manifest": base64_bytes(),
    "signature": base64_bytes(64),
    "key_id": text(r"[0-9a-f]{16}", "16 hex digits"),
}


def package_fields(value: Any) -> Package:
    """Check for the package's object."""
    return Package(**checked_fields(PACKAGE_FIELDS, value, "package."))


PLAN_FIELDS: dict[str, Check] = {
    "format": integer(FORMAT, FORMAT),
    "deployment_id": integer(1),
    "created_us": integer(1),
    "instance": NAME_CHECK,
    "server": NAME_CHECK,
    "port": integer(1, 65535),
    "deploy_path": absolute_path,
    "app": text(r"[a-z0-9][a-z0-9-]{0,62}", "an app name: lower-case letters, digits and -"),
    "version": VERSION_CHECK,
    "package": package_fields,
    "previous_version": optional(VERSION_CHECK),
    "start": argv,
    "stop": argv,
    "health_path": URL_PATH_CHECK,
    "startup_timeout_s": integer(1, 86400),
    "command_timeout_s": integer(1, 86400),
    "ignore_verify": boolean,
    "keep_versions": integer(2, 1000),
    "version_path": optional(URL_PATH_CHECK),
    "health_host": text(r"[A-Za-z0-9.:-]{1,253}", "a host name or an IP address"),
}
OPTIONAL_FIELDS = frozenset({"version_path", "health_host"})


def checked_fields(checks: dict[str, Check], document: Any, where: str = "") -> dict[str, Any]:
    """
    Return the fields of *document*, each checked.

    Raises:
        RefusalError: ``host.plan_invalid``, if a field is missing, unknown or wrong; the message names it.
    """
    if not isinstance(document, dict):
        raise plan_invalid(where.rstrip(".") or "plan", "an object")
    for name in sorted(set(document) - set(checks)):
        raise plan_invalid(where + name, "no such field")
    fields = {}
    for name, check in checks.items():
        if name not in document:
            if name in OPTIONAL_FIELDS:
                continue
            raise plan_invalid(where + name, "this field to be there")
        try:
            fields[name] = check(document[name])
        except ValueError as error:
            raise plan_invalid(where + name, str(error)) from None
    return fields


def plan_invalid(field: str, expected: str) -> RefusalError:
    """Return the refusal of a plan whose *field* is wrong."""
    return RefusalError("host.plan_invalid", f"plan field {field}: expected {expected}", field=field)


def parse_plan(content: bytes) -> Plan:
    """
    Return the plan in *content*.

    Raises:
        RefusalError: ``host.plan_invalid``.
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise plan_invalid("plan", f"JSON in UTF-8 ({error})") from None
    fields = checked_fields(PLAN_FIELDS, document)
    del fields["format"]
    return Plan(**fields)


def load_plan(path: str, plan_hash: str) -> Plan:
    """
    Return the plan at *path*, whose bytes must have the sha256 *plan_hash*.

    Raises:
        RefusalError: ``host.plan_missing``, ``host.plan_mismatch``, ``host.plan_invalid``.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise RefusalError("host.plan_missing", f"there is no plan at {path}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != plan_hash:
        raise RefusalError("host.plan_mismatch", f"the plan at {path} is not the one commanded", found=found)
    return parse_plan(content)


# ---------------------------------------------------------------------------------------------------------------------
# The deploy path, and files that survive a crash
# ---------------------------------------------------------------------------------------------------------------------


class Layout:
    """Where things are below one deploy path."""

    def __init__(self, deploy_path: str) -> None:
        self.root = deploy_path
        self.current = os.path.join(deploy_path, "current")
        self.releases = os.path.join(deploy_path, "releases")
        self.shared = os.path.join(deploy_path, "shared")
        self.drain = os.path.join(self.shared, "drain")
        self.home = os.path.join(deploy_path, ".rollwave")
        self.keys = os.path.join(self.home, "keys")
        self.journal = os.path.join(self.home, "journal")
        self.locks = os.path.join(self.home, "locks")
        self.logs = os.path.join(self.home, "log")
        self.downloads = os.path.join(self.home, "downloads")
        self.fence = os.path.join(self.home, "fence")
        self.lock = os.path.join(self.home, "lock")
        self.work_lock = os.path.join(self.home, "work.lock")
        self._is_below: Callable[[str], Any] | None = None

    def prepare(self) -> None:
        """
        Make the directories that are missing.

        Raises:
            RefusalError: ``host.no_deploy_path``: a mistyped path must not be created.
        """
        if not os.path.isdir(self.root):
            raise RefusalError("host.no_deploy_path", f"{self.root} is not a directory on this server")
        for path in (self.home, self.releases, self.shared, self.journal, self.locks, self.logs, self.downloads):
            if not os.path.isdir(path):
                with contextlib.suppress(FileExistsError):  # another command makes them at the same time
                    os.mkdir(path, 0o755)
                fsync_directory(os.path.dirname(path))

    def release(self, version: str) -> str:
        """Return the directory of *version*."""
        return os.path.join(self.releases, version)

    def log(self, key: str) -> str:
        """Return the log of one verb's worker and commands."""
        return os.path.join(self.logs, key + ".log")

    def version_at(self, path: str) -> str | None:
        """Return the version whose directory *path* lies in, judged by its letters alone; None where in none."""
        if self._is_below is None:
            # Asked of every file that any process has open: the link is followed once.
            places = {re.escape(place) for place in (self.releases, os.path.realpath(self.releases))}
            self._is_below = re.compile(f"(?:{'|'.join(places)})/([^/]*)").match
        found = self._is_below(path)
        return found.group(1) if found and VERSION_PATTERN.fullmatch(found.group(1)) else None

    def current_version(self) -> str | None:
        """Return the version that ``current`` points to; None where there is no such link."""
        return self.version_at(os.path.join(self.root, read_link(self.current)))


def read_bytes(path: str) -> bytes:
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()


def read_link(path: str) -> str:
    """Return where the link points; empty where there is no link, or none that this user may read."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of *content*."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_bytes(path: str, content: bytes, *, durably: bool = False) -> None:
    """Write a file anew."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(descriptor, content)
        if durably:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: str, content: bytes) -> None:
    """Replace the file at *path*; after a crash it holds the old content or the new, whole."""
    aside = path + ".tmp"
    write_bytes(aside, content, durably=True)
    os.replace(aside, path)
    fsync_directory(os.path.dirname(path))


def remove_durably(path: str) -> None:
    """Remove the file at *path* where there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fsync_directory(os.path.dirname(path))


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fsync_path(path, os.O_DIRECTORY)


def fsync_path(path: str, flags: int = 0) -> None:
    """Make one file or directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(top: str) -> None:
    """
    Make a whole tree durable.

    Done once at the end: the first fsync commits the file system's journal, which makes the others cheap.
    """
    for directory, _, names in os.walk(top, topdown=False):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                fsync_path(path)
        fsync_directory(directory)


def remove_tree(path: str) -> None:
    """Remove a directory and everything in it; a link is never followed."""
    import shutil

    shutil.rmtree(path)


@contextlib.contextmanager
def locked(path: str, mode: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold the lock file at *path*; programs that are started meanwhile do not inherit it."""
    descriptor = open_locked(path, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_locked(path: str, mode: int) -> int:
    """Open and lock the file at *path*; closing the descriptor, or death, gives the lock back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def os_errors_refused() -> Iterator[None]:
    """Turn what the operating system refuses into a refusal with a name."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise RefusalError("host.disk_full", f"the disk is full: {error}") from error
        raise RefusalError("host.io_error", f"the operating system refused: {error}") from error


def is_disk_full(error: OSError) -> bool:
    """Say whether there was no room, on the disk or in the quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


# ---------------------------------------------------------------------------------------------------------------------
# The command, the report, the fence and the journal
# ---------------------------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """
    What the command line says.

    Attributes:
        action: The verb to do, or ``status``.
        verb: The verb that is done or asked about.
        deadline: Unix time in seconds after which nothing may begin.
        wait_s: How long to wait for the end; None: until it comes.
    """

    action: str
    verb: str
    plan_path: str
    plan_hash: str
    attempt: int
    fence: int
    deadline: float
    wait_s: float | None = None


Report = Dict[str, Any]


def new_report(
    command: Command, plan: Plan | None, state: str, refusal: RefusalError | None = None, **detail: Any
) -> Report:
    """Return a report; *refusal* says why it failed."""
    return {
        "state": state,
        "code": refusal.code if refusal else "",
        "message": refusal.message if refusal else "",
        "running_version": None,
        "current_version": None,
        "detail": dict(refusal.detail if refusal else {}, **detail),
        "lines": [],
        "deployment": plan.deployment_id if plan else None,
        "attempt": command.attempt,
        "verb": command.verb,
        "fence": command.fence,
    }


def with_versions(report: Report, versions: Iterable[str], layout: Layout) -> Report:
    """Return *report* with the version that runs (None where unknown or not one alone) and the one linked."""
    running = sorted(versions)
    if len(running) > 1:
        report["detail"]["running_versions"] = running
    return dict(
        report,
        running_version=running[0] if len(running) == 1 else None,
        current_version=layout.current_version(),
    )


class Ledger:
    """
    The fence and the journal of one instance.

    Call everything but `hold` inside ``with ledger.hold()``.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def hold(self) -> Any:
        """Return a context that keeps every other command's bookkeeping out."""
        return locked(self._layout.lock)

    def raise_fence(self, fence: int) -> None:
        """
        Record *fence* as the highest seen.

        Raises:
            RefusalError: ``host.fenced``, if a higher one was seen.
        """
        seen = self._seen_fence()
        if fence < seen:
            message = f"fence {fence} is behind {seen}: a newer controller has taken over"
            raise RefusalError("host.fenced", message, seen=seen)
        if fence > seen:
            write_durably(self._layout.fence, b"%d\n" % fence)

    def require_newest(self, plan: Plan) -> None:
        """
        Refuse a deployment when a newer one was here.

        Raises:
            RefusalError: ``host.superseded``.
        """
        newest, deployment = max(map(deployment_of, os.listdir(self._layout.journal)), default=(0, 0))
        if plan.created_us < newest:
            message = (
                f"deployment {deployment}, created after this one, was here; if the controller does not know it, "
                f"its database was restored from a backup: abort this one and plan anew"
            )
            raise RefusalError("host.superseded", message, deployment=deployment, created_us=newest)

    def _seen_fence(self) -> int:
        try:
            content = read_bytes(self._layout.fence)
        except FileNotFoundError:
            return -1
        try:
            return int(content)
        except ValueError:
            raise state_corrupt(self._layout.fence) from None

    def result(self, key: str, plan: Plan) -> Report | None:
        """
        Return the recorded result; None where there is none yet.

        Raises:
            RefusalError: ``host.plan_mismatch``, if the same deployment and attempt was about another package.
        """
        record = self._record(key)
        if record is None:
            return None
        if record["package"] != plan.package.sha256:
            message = f"deployment {plan.deployment_id} was begun here with another package"
            raise RefusalError("host.plan_mismatch", message, found=record["package"])
        return record["report"]

    def has_begun(self, key: str) -> bool:
        """Say whether the verb was ever begun."""
        return self._record(key) is not None

    def _record(self, key: str) -> dict[str, Any] | None:
        path = self._record_path(key)
        try:
            record = json.loads(read_bytes(path).decode("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise state_corrupt(path) from None
        if not isinstance(record, dict) or not {"package", "report"} <= set(record):
            raise state_corrupt(path)
        return record

    def record(self, key: str, plan: Plan, report: Report | None) -> None:
        """Record that the verb has begun (*report* None), or its result."""
        record = {"format": FORMAT, "package": plan.package.sha256, "at": time.time(), "report": report}
        write_durably(self._record_path(key), json.dumps(record, sort_keys=True).encode("utf-8"))

    def _record_path(self, key: str) -> str:
        return os.path.join(self._layout.journal, key + ".json")

    def attend(self, key: str) -> int:
        """Return a descriptor that says, as long as somebody has it open: a worker for this verb is alive."""
        return open_locked(os.path.join(self._layout.locks, key), fcntl.LOCK_SH)

    def is_attended(self, key: str) -> bool:
        """Say whether a worker for this verb is alive, queued or running."""
        path = os.path.join(self._layout.locks, key)
        if not os.path.exists(path):
            return False
        try:
            os.close(open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            return True
        return False

    def prune(self, plan: Plan) -> None:
        """Forget all but the last deployments and the plan's own."""
        folders = (self._layout.journal, self._layout.locks, self._layout.logs)
        names = [(folder, name) for folder in folders for name in os.listdir(folder)]
        deployments = {deployment_of(name) for _, name in names}
        kept = set(sorted(deployments | {(plan.created_us, plan.deployment_id)})[-JOURNALED_DEPLOYMENTS:])
        for folder, name in names:
            if deployment_of(name) not in kept:
                os.unlink(os.path.join(folder, name))


def deployment_of(name: str) -> tuple[int, int]:
    """Return when the deployment was created, and its id, from a name ``<deployment>-<created>-<attempt>-<verb>``."""
    found = re.match(r"(\d+)-(\d+)-\d+-", name)
    return (int(found.group(2)), int(found.group(1))) if found else (0, 0)


def state_corrupt(path: str) -> RefusalError:
    """Return the refusal to guess what an unreadable file of our own once said."""
    return RefusalError("host.state_corrupt", f"{path} is unreadable; move it away once you know why")


# ---------------------------------------------------------------------------------------------------------------------
# Download: prove, fetch, unpack, publish
# ---------------------------------------------------------------------------------------------------------------------


class Notes:
    """
    What a verb did and measured, in a few short lines for whoever watches; they go into its report.

    Attributes:
        lines: Each with the milliseconds since the verb began.
    """

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._began_at = time.monotonic()

    def add(self, text: str) -> None:
        """Note what was just done; of what is too long the end is left out, of what is too much the rest."""
        if len(self.lines) < TOLD_LINES:
            after_ms = round(1000 * (time.monotonic() - self._began_at))
            self.lines.append({"after_ms": after_ms, "text": shortened(" ".join(text.split()))})


def shortened(text: str) -> str:
    """Return *text* as one line may be."""
    return text if len(text) <= TOLD_CHARACTERS else text[: TOLD_CHARACTERS - 3] + "..."


def seconds_since(moment: float) -> str:
    """Return how long ago the monotonic time *moment* was."""
    return f"{time.monotonic() - moment:.1f} s"


def megabytes(count: int) -> str:
    """Return a number of bytes for a person."""
    return f"{count} bytes" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


class Stage(NamedTuple):
    """One verb at work."""

    plan: Plan
    layout: Layout
    key: str
    notes: Notes


class Manifest(NamedTuple):
    """What the signed manifest says about the archive's content."""

    unpacked_size: int
    file_count: int


def download(stage: Stage) -> dict[str, Any]:
    """
    Bring the goal version to ``releases/<version>``, complete and durable; the app does not notice.

    Raises:
        RefusalError: ``package.*`` where the package is to blame, ``host.*`` where this server is.
    """
    plan, layout, notes = stage.plan, stage.layout, stage.notes
    clear_leftovers(layout, keep=part_name(plan.package))
    fetched = not is_on_host(layout, plan.version, plan)
    if fetched:
        manifest = proven_manifest(plan, layout)
        notes.add(f"signature of {plan.version} holds, by key {plan.package.key_id}")
        require_room(plan.package, manifest, layout)
        with collected_part(plan.package, layout) as archive:
            bring(plan.package, archive, layout, notes)
            began_at = time.monotonic()
            publish(plan, manifest, archive, layout)
        unpacked = f"{manifest.file_count} files, {megabytes(manifest.unpacked_size)}"
        notes.add(f"unpacked {unpacked}, in {seconds_since(began_at)}")
        os.unlink(part_path(plan.package, layout))  # comes back after a power cut at worst, and goes with the next one
    else:
        notes.add(f"{plan.version} is complete on this host already, sha256 {plan.package.sha256[:12]}")
    return {"fetched": fetched, "retention": retain(stage)}


def bring(package: Package, archive: IO[bytes], layout: Layout, notes: Notes) -> None:
    """Complete the archive and check it; raises as `fetch` and `require_checksum` do."""
    here, began_at = os.fstat(archive.fileno()).st_size, time.monotonic()
    fetch(package, archive.fileno())
    resumed = f"; {megabytes(here)} of it were here before" if here else ""
    notes.add(f"fetched {megabytes(package.size)} in {seconds_since(began_at)}{resumed}")
    require_checksum(package, archive, layout)
    notes.add(f"sha256 {package.sha256[:12]} is what was signed")


def clear_leftovers(layout: Layout, keep: str) -> None:
    """Remove what killed workers left; we hold the work lock, so nobody works on it. The part *keep* is resumed."""
    for name in os.listdir(layout.releases):
        if name.startswith(".") and name.endswith((".partial", ".trash")):
            remove_tree(os.path.join(layout.releases, name))
    for name in os.listdir(layout.downloads):
        if name != keep:
            os.unlink(os.path.join(layout.downloads, name))


def marker_of(layout: Layout, version: str) -> dict[str, Any] | None:
    """Return the marker of a complete version; None where the version is not on this server."""
    path = os.path.join(layout.release(version), MARKER)
    try:
        marker = json.loads(read_bytes(path).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise state_corrupt(path) from None
    return marker if isinstance(marker, dict) else None


def is_on_host(layout: Layout, version: str, plan: Plan) -> bool:
    """
    Say whether *version* is here, complete.

    Raises:
        RefusalError: ``host.version_conflict``, if something else has its place: packages never change.
    """
    if not os.path.lexists(layout.release(version)):
        return False
    marker = marker_of(layout, version)
    if marker is None or marker.get("sha256") != plan.package.sha256:
        message = f"{layout.release(version)} is not this package, and a version never changes its content"
        raise RefusalError("host.version_conflict", message)
    return True


def proven_manifest(plan: Plan, layout: Layout) -> Manifest:
    """
    Return the manifest once its signature holds and it is about this very package.

    Raises:
        RefusalError: ``package.unknown_key``, ``package.bad_signature``, ``package.manifest_mismatch``.
    """
    require_signature(plan.package, layout)
    try:
        manifest = json.loads(plan.package.manifest.decode("utf-8"))
    except ValueError:
        raise manifest_mismatch("manifest") from None
    if not isinstance(manifest, dict):
        raise manifest_mismatch("manifest")
    goal = {"app": plan.app, "version": plan.version, "sha256": plan.package.sha256, "size": plan.package.size}
    for name, value in goal.items():
        if type(manifest.get(name)) is not type(value) or manifest[name] != value:
            raise manifest_mismatch(name)
    try:
        return Manifest(
            unpacked_size=integer(0, MAX_UNPACKED_BYTES)(manifest.get("unpacked_size")),
            file_count=integer(0, MAX_MEMBERS)(manifest.get("file_count")),
        )
    except ValueError as error:
        raise manifest_mismatch(f"unpacked_size and file_count ({error})") from None


def manifest_mismatch(field: str) -> RefusalError:
    """Return the refusal of a manifest that is about something else."""
    message = f"the signed manifest and the plan disagree on {field}"
    return RefusalError("package.manifest_mismatch", message, field=field)


def require_signature(package: Package, layout: Layout) -> None:
    """Prove the Ed25519 signature over the manifest with this server's own openssl (3.0 or newer)."""
    import subprocess

    key_path = trusted_key_path(package.key_id, layout)
    manifest_path = os.path.join(layout.downloads, package.sha256 + ".manifest")
    signature_path = os.path.join(layout.downloads, package.sha256 + ".signature")
    write_bytes(manifest_path, package.manifest)
    write_bytes(signature_path, package.signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key_path, "-rawin"]
    command += ["-in", manifest_path, "-sigfile", signature_path]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RefusalError("host.no_openssl", f"openssl cannot be run here: {error}") from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 and "Signature Verification Failure" not in output:
        message = "openssl cannot check Ed25519 signatures here; version 3.0 or newer is needed"
        raise RefusalError("host.no_openssl", message, output=output[-OUTPUT_TAIL_BYTES:])
    if done.returncode != 0:
        raise RefusalError("package.bad_signature", f"the signature is not by key {package.key_id}; {CHANGED_HINT}")
    os.unlink(manifest_path)
    os.unlink(signature_path)


def trusted_key_path(key_id: str, layout: Layout) -> str:
    """
    Return the public key that goes by *key_id*: an Ed25519 key whose fingerprint is that id.

    Raises:
        RefusalError: ``package.unknown_key``.
    """
    import base64

    path = os.path.join(layout.keys, key_id + ".pem")
    try:
        lines = read_bytes(path).decode("ascii").split("\n")
        encoded = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    except FileNotFoundError:
        message = f"this server does not trust key {key_id}; an operator puts it at {path}"
        raise RefusalError("package.unknown_key", message) from None
    except ValueError:
        encoded = b""
    ed25519_prefix = bytes.fromhex("302a300506032b6570032100")
    is_ed25519 = encoded[:12] == ed25519_prefix and len(encoded) == 44
    if not is_ed25519 or hashlib.sha256(encoded[12:]).hexdigest()[:16] != key_id:
        raise RefusalError("package.unknown_key", f"{path} is not the Ed25519 key {key_id}")
    return path


def require_room(package: Package, manifest: Manifest, layout: Layout) -> None:
    """
    Check that archive and content fit on the disk before anything is fetched.

    Raises:
        RefusalError: ``host.disk_full``; says how much is needed and how much there is.
    """
    part = part_path(package, layout)
    have = os.path.getsize(part) if os.path.exists(part) else 0
    needed = max(0, package.size - have) + manifest.unpacked_size + manifest.file_count * BLOCK_BYTES
    disk = os.statvfs(layout.releases)
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        room = f"{needed / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free in {layout.releases}"
        raise RefusalError("host.disk_full", f"the disk is full: {room}", needed_bytes=needed, free_bytes=free)


def part_name(package: Package) -> str:
    """Return the name under which the archive is collected."""
    return package.sha256 + ".part"


def part_path(package: Package, layout: Layout) -> str:
    """Return where the archive is collected."""
    return os.path.join(layout.downloads, part_name(package))


@contextlib.contextmanager
def collected_part(package: Package, layout: Layout) -> Iterator[IO[bytes]]:
    """Yield the file in which the archive is collected; it stays for the next try, unless the disk runs full."""
    path = part_path(package, layout)
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), "r+b", buffering=0) as part:
            yield part
    except OSError as error:
        if is_disk_full(error):
            remove_durably(path)
        raise


def fetch(package: Package, descriptor: int) -> None:
    """
    Complete the part behind *descriptor*; what an earlier try left is resumed.

    Raises:
        RefusalError: ``package.fetch_failed``, ``package.checksum_mismatch``.
    """
    trouble = fetch_once(package, descriptor)
    for _ in range(FETCH_TRIES - 1):
        if trouble is None or not trouble.is_passing:
            break
        time.sleep(FETCH_PAUSE_S)
        trouble = fetch_once(package, descriptor)
    if trouble is not None:
        raise RefusalError("package.fetch_failed", f"{package.url} cannot be fetched: {trouble.message}")


class Trouble(NamedTuple):
    """What went wrong with a fetch, and whether it may pass."""

    message: str
    is_passing: bool = True


def fetch_once(package: Package, descriptor: int) -> Trouble | None:
    """Append what is missing; return what went wrong, None once all is there."""
    have = os.fstat(descriptor).st_size
    if have == package.size:
        return None
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(package.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            os.ftruncate(descriptor, 0)
        may_pass = error.code >= 500 or error.code in (408, 416, 429)
        return Trouble(f"status {error.code}", is_passing=may_pass)
    except (OSError, http.client.HTTPException) as error:
        return Trouble(str(error))
    with response:
        if have and not resumes_at(response, have):
            os.ftruncate(descriptor, 0)
        return collect(response, descriptor, package)


def resumes_at(response: Any, offset: int) -> bool:
    """Say whether the answer goes on at *offset*; a server or a scheme that cannot begins again."""
    content_range = response.headers.get("Content-Range", "")
    return getattr(response, "status", None) == 206 and content_range.startswith(f"bytes {offset}-")


def collect(response: Any, descriptor: int, package: Package) -> Trouble | None:
    """Append the body of *response*, never more than the package's size."""
    import http.client

    have = os.fstat(descriptor).st_size
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return Trouble(str(error) or type(error).__name__)
        if not chunk:
            break
        have += len(chunk)
        if have > package.size:
            os.ftruncate(descriptor, 0)
            message = f"{package.url} is longer than the {package.size} bytes that were signed; {CHANGED_HINT}"
            raise RefusalError("package.checksum_mismatch", message)
        write_all(descriptor, chunk)
    return None if have == package.size else Trouble(f"it ended after {have} of {package.size} bytes")


def require_checksum(package: Package, archive: IO[bytes], layout: Layout) -> None:
    """
    Check the archive's sha256 and go back to its beginning; a wrong archive is deleted.

    Raises:
        RefusalError: ``package.checksum_mismatch``.
    """
    digest = hashlib.sha256()
    archive.seek(0)
    for chunk in iter(lambda: archive.read(CHUNK_BYTES), b""):
        digest.update(chunk)
    if digest.hexdigest() != package.sha256:
        remove_durably(part_path(package, layout))
        message = f"{package.url} does not have the sha256 that was signed; {CHANGED_HINT}"
        raise RefusalError("package.checksum_mismatch", message, found=digest.hexdigest())
    archive.seek(0)


def publish(plan: Plan, manifest: Manifest, archive: IO[bytes], layout: Layout) -> None:
    """Unpack aside, make it durable, then give it its name: from that instant on it is complete."""
    aside = os.path.join(layout.releases, f".{plan.version}.{os.urandom(4).hex()}.partial")
    os.mkdir(aside, 0o755)
    try:
        with decompressed(archive) as stream:
            unpack(stream, aside, manifest, archive_size=plan.package.size)
        marker = {"app": plan.app, "version": plan.version, "sha256": plan.package.sha256, "at": time.time()}
        write_bytes(os.path.join(aside, MARKER), json.dumps(marker, sort_keys=True).encode("utf-8"))
        fsync_tree(aside)
        os.rename(aside, layout.release(plan.version))
    except BaseException:
        remove_tree(aside)
        raise
    fsync_directory(layout.releases)


@contextlib.contextmanager
def decompressed(archive: IO[bytes]) -> Iterator[Any]:
    """
    Yield the content of a zstd file as a stream, by the first means this server has.

    Raises:
        RefusalError: ``host.no_zstd``, ``package.corrupt_archive``.
    """
    import shutil

    standard = module_or_none("compression.zstd")  # Python 3.14 and newer
    program = shutil.which("zstd")
    third_party = None if standard or program else package_or_none("zstandard")
    if standard:
        with codec_errors_refused(standard.ZstdError):
            yield standard.open(archive)
    elif program:
        with piped([program, "-dc"], archive) as stream:
            yield stream
    elif third_party:
        with codec_errors_refused(third_party.ZstdError):
            yield third_party.ZstdDecompressor().stream_reader(archive)
    else:
        message = "zstd packages cannot be unpacked here: install the zstd program (or Python's zstandard)"
        raise RefusalError("host.no_zstd", message)


def module_or_none(name: str) -> Any:
    """Return a module where this server has it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def package_or_none(name: str) -> Any:
    """Return a module that is no part of Python, where this server has it; only this looks for any (``-S``)."""
    if sys.flags.no_site:
        import site

        site.main()
    return module_or_none(name)


@contextlib.contextmanager
def codec_errors_refused(error_type: Any) -> Iterator[None]:
    """Turn a codec's complaint into a refusal."""
    try:
        yield
    except (error_type, EOFError) as error:
        raise corrupt_archive(str(error)) from error


@contextlib.contextmanager
def piped(command: list[str], source: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield what *command* makes of *source*; it must end well."""
    import subprocess

    process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with process.stdout as stream:
            yield stream
            while stream.read(CHUNK_BYTES):
                pass  # the reader has looked at the rest; the program must not die of a closed pipe
        if process.wait() != 0:
            raise corrupt_archive(f"{command[0]} ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def corrupt_archive(why: str) -> RefusalError:
    """Return the refusal of an archive that is what was signed, and still no archive."""
    return RefusalError("package.corrupt_archive", f"the archive cannot be read: {why}")


# ---------------------------------------------------------------------------------------------------------------------
# The extractor: regular files, directories and links that stay inside; nothing else, and never outside
# ---------------------------------------------------------------------------------------------------------------------


def unpack(stream: Any, directory: str, manifest: Manifest, archive_size: int) -> None:
    """
    Unpack the tar *stream* into the empty *directory*.

    Every step goes through descriptors of directories that this function opened without following a link. Symbolic
    links come last, when nothing is written any more, and each must resolve to something inside.

    Raises:
        RefusalError: ``package.unsafe_archive`` names the member; ``package.corrupt_archive``.
    """
    import tarfile

    bounded = BoundedStream(stream, manifest, archive_size)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    extraction = Extraction(root, manifest)
    try:
        with tarfile.open(fileobj=bounded, mode="r|", tarinfo=bounded_headers(tarfile)) as tar:
            for member in tar:
                extraction.add(member, tar)
        bounded.drain()
        extraction.link_all(directory)
    except tarfile.TarError as error:
        raise corrupt_archive(str(error)) from error
    finally:
        os.close(root)


def unsafe(name: str, why: str) -> RefusalError:
    """Return the refusal of one member."""
    message = f"the package is unsafe: member {name[:200]!r} {why}; {BUILD_HINT}"
    return RefusalError(
        "package.unsafe_archive", message, member=name[:MAX_PATH_BYTES].encode("utf-8", "replace").decode()
    )


class BoundedStream:
    """A stream that stops an archive which grows beyond what its signed manifest and its own size allow."""

    def __init__(self, stream: Any, manifest: Manifest, archive_size: int) -> None:
        self._stream = stream
        self._most = min(manifest.unpacked_size + HEADERS_BYTES, max(RATIO_FREE_BYTES, archive_size * MAX_RATIO))
        self._count = 0

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes."""
        chunk = self._stream.read(size)
        self._count += len(chunk)
        if self._count > self._most:
            message = f"the package is unsafe: it unpacks to more than {self._most} bytes; {BUILD_HINT}"
            raise RefusalError("package.unsafe_archive", message, limit_bytes=self._most)
        return chunk

    def drain(self) -> None:
        """Read to the end."""
        while self.read(CHUNK_BYTES):
            pass


def bounded_headers(tarfile: Any) -> Any:
    """Return a TarInfo class that refuses headers which would fill the memory."""

    class BoundedTarInfo(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Any:
            info = super().frombuf(buf, encoding, errors)
            is_content = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            if info.size < 0 or (not is_content and info.size > MAX_EXTENDED_HEADER_BYTES):
                raise unsafe(info.name, f"has a header of {info.size} bytes")
            return info

    return BoundedTarInfo


class Extraction:
    """One archive on its way into one directory."""

    def __init__(self, root: int, manifest: Manifest) -> None:
        self._root = root
        self._manifest = manifest
        self._names: set[tuple[str, ...]] = set()
        self._links: list[tuple[tuple[str, ...], str]] = []
        self._file_count = 0
        self._byte_count = 0

    def add(self, member: Any, tar: Any) -> None:
        """Write one member; a link is only noted."""
        parts = safe_parts(member.name)
        if not parts and member.isdir():
            return  # the archive's own root
        if not parts or parts in self._names:
            raise unsafe(member.name, "comes twice" if parts else "has no name")
        if parts[0] == MARKER:
            raise unsafe(member.name, "has a name that is reserved")
        if len(self._names) >= MAX_MEMBERS:
            raise unsafe(member.name, f"is one too many: {MAX_MEMBERS} at most")
        self._names.add(parts)
        if member.isdir():
            os.close(self._open_directory(parts, member.name))
        elif member.issym():
            self._links.append((parts, safe_target(parts, member)))
        elif member.type in (b"0", b"\0") and not member.issparse():
            self._write(parts, member, tar)
        else:
            raise unsafe(member.name, "is neither a regular file nor a directory nor a symbolic link")

    def _write(self, parts: tuple[str, ...], member: Any, tar: Any) -> None:
        self._count(member)
        parent = self._open_directory(parts[:-1], member.name)
        try:
            with members_refused(member.name):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                descriptor = os.open(parts[-1], flags, 0o600, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            content = tar.extractfile(member)
            for chunk in iter(lambda: content.read(CHUNK_BYTES), b""):
                write_all(descriptor, chunk)
            os.fchmod(descriptor, 0o755 if member.mode & 0o111 else 0o644)
        finally:
            os.close(descriptor)

    def _count(self, member: Any) -> None:
        self._file_count += 1
        self._byte_count += member.size
        if self._file_count > self._manifest.file_count:
            raise unsafe(member.name, f"is one more file than the {self._manifest.file_count} signed")
        if self._byte_count > self._manifest.unpacked_size:
            raise unsafe(member.name, f"goes beyond the {self._manifest.unpacked_size} bytes signed")

    def _open_directory(self, parts: tuple[str, ...], name: str) -> int:
        """Return a descriptor of the directory, made where it is missing; no step follows a link."""
        directory = os.dup(self._root)
        for part in parts:
            parent = directory
            try:
                with members_refused(name):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=parent)
                    directory = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            finally:
                os.close(parent)
        return directory

    def link_all(self, directory: str) -> None:
        """Make the links that were noted, then check where each of them leads."""
        for parts, target in self._links:
            parent = self._open_directory(parts[:-1], "/".join(parts))
            try:
                with members_refused("/".join(parts)):
                    os.symlink(target, parts[-1], dir_fd=parent)
            finally:
                os.close(parent)
        inside = os.path.realpath(directory) + "/"
        for parts, target in self._links:
            leads_to = os.path.realpath(os.path.join(directory, *parts))
            if not (leads_to + "/").startswith(inside) or not os.path.exists(leads_to):
                raise unsafe("/".join(parts), f"links to {target!r}, which is not in the package")


@contextlib.contextmanager
def members_refused(name: str) -> Iterator[None]:
    """Turn what only a hostile archive meets (a name taken, a file or a link on the way) into its refusal."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG):
            raise unsafe(name, f"cannot have this place: {error.strerror}") from error
        raise


def safe_parts(name: str) -> tuple[str, ...]:
    """
    Return the steps of a member's path.

    Raises:
        RefusalError: ``package.unsafe_archive``, if it is absolute, climbs, or is too long or too deep.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    encoded = [part.encode("utf-8", "surrogateescape") for part in parts]
    if name.startswith("/"):
        raise unsafe(name, "has an absolute path")
    if ".." in parts or "\0" in name:
        raise unsafe(name, "has a path that climbs")
    if len(parts) > MAX_DEPTH or sum(map(len, encoded)) + len(parts) - 1 > MAX_PATH_BYTES:
        raise unsafe(name, "has a path that is too long")
    if any(len(part) > MAX_NAME_BYTES for part in encoded):
        raise unsafe(name, "has a name that is too long")
    return parts


def safe_target(parts: tuple[str, ...], member: Any) -> str:
    """
    Return where a symbolic link points, if it is relative and stays inside by its letters.

    Raises:
        RefusalError: ``package.unsafe_archive``.
    """
    target = member.linkname
    lexical = os.path.normpath(os.path.join(*parts[:-1], target))
    if not target or "\0" in target or target.startswith("/") or lexical == ".." or lexical.startswith("../"):
        raise unsafe(member.name, f"links to {target[:200]!r}, which is not in the package")
    return target


# ---------------------------------------------------------------------------------------------------------------------
# Retention
# ---------------------------------------------------------------------------------------------------------------------


def retain(stage: Stage) -> dict[str, Any]:
    """Remove versions beyond those kept; what cannot be removed is told and fails nothing: the release matters more."""
    done = remove_old_versions(stage.plan, stage.layout)
    if done["removed"]:
        stage.notes.add(f"removed {', '.join(done['removed'])}; {stage.plan.keep_versions} versions are kept")
    if "error" in done:
        stage.notes.add(f"an old version could not be removed: {done['error']}")
    return done


def remove_old_versions(plan: Plan, layout: Layout) -> dict[str, Any]:
    """Do it; return what was removed, and why no more was."""
    newest_first = versions_by_age(layout)
    if len(newest_first) <= plan.keep_versions:
        return {"removed": []}
    protected = {plan.version, plan.previous_version, layout.current_version()} | versions_in_use(layout)
    removed: list[str] = []
    try:
        for version in versions_to_remove(newest_first, protected, plan.keep_versions):
            aside = os.path.join(layout.releases, f".{version}.{os.urandom(4).hex()}.trash")
            os.rename(layout.release(version), aside)
            fsync_directory(layout.releases)
            removed.append(version)
            remove_tree(aside)
    except OSError as error:
        return {"removed": removed, "error": str(error)}
    return {"removed": removed}


def versions_by_age(layout: Layout) -> list[str]:
    """Return the complete versions, the one published last first."""
    markers = {name: marker_of(layout, name) for name in os.listdir(layout.releases) if VERSION_PATTERN.fullmatch(name)}
    return sorted(
        (name for name in markers if markers[name]), key=lambda name: (markers[name]["at"], name), reverse=True
    )


def versions_to_remove(newest_first: Sequence[str], protected: Iterable[str | None], keep_count: int) -> list[str]:
    """Return what goes, oldest first: neither protected, nor needed to fill *keep_count* places with the newest."""
    safe = set(protected)
    places = keep_count - sum(version in safe for version in newest_first)
    others = [version for version in newest_first if version not in safe]
    return others[max(0, places) :][::-1]


# ---------------------------------------------------------------------------------------------------------------------
# Ground truth: which process runs which version
# ---------------------------------------------------------------------------------------------------------------------


def process_ids() -> list[str]:
    """Return the processes of this server but this one; none where there is no /proc."""
    own = str(os.getpid())
    return [name for name in list_or_nothing("/proc") if name.isdigit() and name != own]


def list_or_nothing(path: str) -> list[str]:
    """Return the names in a directory; none where it is gone or closed to this user, as in /proc at any time."""
    try:
        return os.listdir(path)
    except OSError:
        return []


def read_or_nothing(path: str) -> bytes:
    """Return the content of a file of /proc; nothing where the process is gone or another user's."""
    try:
        return read_bytes(path)
    except OSError:
        return b""


def paths_used_by(pid: str) -> Iterator[str]:
    """
    Yield the paths a process lives by, the most telling first.

    The kernel resolved them when the process began (so ``current`` does not appear and cannot lie), but for the
    arguments, which count by their letters only.
    """
    home = "/proc/" + pid
    for name in ("cwd", "exe", "root"):
        yield read_link(home + "/" + name)
    for argument in read_or_nothing(home + "/cmdline").split(b"\0"):
        yield os.fsdecode(argument)
    for path in dict.fromkeys(re.findall(rb" (/.*)", read_or_nothing(home + "/maps"))):
        yield os.fsdecode(path)
    for descriptor in list_or_nothing(home + "/fd"):
        yield read_link(home + "/fd/" + descriptor)


def versions_used_by(pid: str, layout: Layout) -> Iterator[str]:
    """Yield the versions a process has anything to do with, the one it runs first."""
    for path in paths_used_by(pid):
        version = layout.version_at(path) if path.startswith("/") else None
        if version is not None:
            yield version


def versions_in_use(layout: Layout) -> set[str]:
    """Return every version that some process runs or holds open."""
    return {version for pid in process_ids() for version in versions_used_by(pid, layout)}


def listening_sockets(port: int) -> set[str]:
    """Return the kernel's numbers of the sockets that listen on *port*."""
    wanted = b":%04X" % port
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read_or_nothing(table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == b"0A" and fields[1].endswith(wanted):
                inodes.add("socket:[" + fields[9].decode("ascii") + "]")
    return inodes


def listening_processes(port: int) -> list[str]:
    """Return the processes that own a socket listening on *port*."""
    sockets = listening_sockets(port)
    if not sockets:
        return []
    return [
        pid
        for pid in process_ids()
        if any(read_link(f"/proc/{pid}/fd/{fd}") in sockets for fd in list_or_nothing("/proc/" + pid + "/fd"))
    ]


def running_versions(plan: Plan, layout: Layout, timeout_s: float) -> set[str]:
    """Return the versions that serve on the port: by the app's own word where it has a version path, else by /proc."""
    if plan.version_path is not None:
        try:
            status, body = http_get(plan, plan.version_path, timeout_s)
        except ProbeError:
            return set()
        version = version_in(body) if 200 <= status < 300 else None
        return set() if version is None else {version}
    found = (next(versions_used_by(pid, layout), None) for pid in listening_processes(plan.port))
    return {version for version in found if version is not None}


def version_in(body: bytes) -> str | None:
    """Return the version in an answer: JSON with a ``version``, or plain text whose first line is it."""
    content = body.decode("utf-8", "replace")
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    word = document.get("version") if isinstance(document, dict) else content.strip().split("\n", 1)[0].strip()
    return word if isinstance(word, str) and VERSION_PATTERN.fullmatch(word) else None


# ---------------------------------------------------------------------------------------------------------------------
# Install and restore: stop, switch, start
# ---------------------------------------------------------------------------------------------------------------------


def install(stage: Stage) -> dict[str, Any]:
    """
    Make the goal version the one that runs; whether it serves is verify's business.

    Raises:
        RefusalError: ``host.version_missing``, ``lifecycle.*``.
    """
    plan, layout = stage.plan, stage.layout
    if not is_on_host(layout, plan.version, plan):
        raise RefusalError("host.version_missing", f"version {plan.version} is not on this server")
    bring_up(stage, plan.version)
    return {"retention": retain(stage)}


def restore(stage: Stage) -> dict[str, Any]:
    """
    Go back to the previous version, and prove that it serves; nothing is fetched.

    Raises:
        RefusalError: ``host.no_previous_version``, ``lifecycle.*``, ``health.*``.
    """
    version = stage.plan.previous_version
    if version is None:
        raise RefusalError("host.no_previous_version", "there is no previous version to go back to")
    if marker_of(stage.layout, version) is None:
        raise RefusalError("host.no_previous_version", f"version {version} is no longer on this server")
    bring_up(stage, version)
    return prove_serving(stage, version)


def bring_up(stage: Stage, version: str) -> None:
    """Stop the app, point ``current`` to *version*, start the app. Done again, it ends in the same state."""
    run_lifecycle(stage, "stop", stage.plan.stop, version)
    began_at = time.monotonic()
    require_free_port(stage.plan)
    stage.notes.add(f"port {stage.plan.port} was free after {seconds_since(began_at)}")
    before = stage.layout.current_version() or "nothing"
    switch_current(stage.layout, version)
    stage.notes.add(f"current: {before} -> {version}")
    run_lifecycle(stage, "start", stage.plan.start, version)


def switch_current(layout: Layout, version: str) -> None:
    """
    Point ``current`` to a complete version, in one step.

    Raises:
        RefusalError: ``host.current_not_link``, if a file or a directory has its place.
    """
    if os.path.lexists(layout.current) and not os.path.islink(layout.current):
        raise RefusalError("host.current_not_link", f"{layout.current} is in the way: it is not a link")
    aside = os.path.join(layout.root, ".current.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    os.symlink(os.path.join("releases", version), aside)
    os.replace(aside, layout.current)
    fsync_directory(layout.root)


def substituted(arguments: Sequence[str], values: dict[str, str]) -> list[str]:
    """Return *arguments* with each {name} of *values* replaced, once and by its letters; other braces stay."""
    pattern = re.compile("|".join(re.escape("{" + name + "}") for name in values))
    return [pattern.sub(lambda match: values[match.group()[1:-1]], argument) for argument in arguments]


def run_lifecycle(stage: Stage, name: str, arguments: Sequence[str], version: str) -> None:
    """
    Run one lifecycle command to its end; its output goes to the verb's log.

    Raises:
        RefusalError: ``lifecycle.<name>_failed`` or ``lifecycle.<name>_timeout``, with the end of the output.
    """
    import shlex
    import subprocess

    plan, log_path = stage.plan, stage.layout.log(stage.key)
    values = {
        "app": plan.app,
        "version": version,
        "port": str(plan.port),
        "instance": plan.instance,
        "server": plan.server,
        "deploy_path": plan.deploy_path,
    }
    command = substituted(arguments, values)
    environment = dict(os.environ, **{"ROLLWAVE_" + key.upper(): value for key, value in values.items()})
    began_at = time.monotonic()
    with open(log_path, "ab") as log:
        begin = log.tell()
        try:
            process = subprocess.Popen(
                command,
                cwd=plan.deploy_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RefusalError(
                f"lifecycle.{name}_failed", f"{command[0]} cannot be run: {error}", argv=command
            ) from error
    try:
        exit_code = process.wait(plan.command_timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        message = f"the {name} command did not return within {plan.command_timeout_s} s"
        output = tail(log_path, begin)
        raise RefusalError(f"lifecycle.{name}_timeout", message, argv=command, output=output) from None
    if exit_code != 0:
        output = tail(log_path, begin)
        message = f"the {name} command ended with {exit_code}: {last_line(output)}"
        raise RefusalError(f"lifecycle.{name}_failed", message, argv=command, exit_code=exit_code, output=output)
    stage.notes.add(f"{name}: ended with 0 after {seconds_since(began_at)}: {shlex.join(command)}")


def kill_group(process: Any) -> None:
    """Kill a command and all that it started in its own session."""
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(path: str, begin: int) -> str:
    """Return the end of what was written to *path* since *begin*."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(begin, end - OUTPUT_TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def last_line(output: str) -> str:
    """Return the last line that says anything."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"


def require_free_port(plan: Plan) -> None:
    """
    Wait a moment until nothing listens on the port any more.

    Raises:
        RefusalError: ``lifecycle.still_running``, with the processes that own it.
    """
    give_up_at = time.monotonic() + PORT_GRACE_S
    while listening_sockets(plan.port):
        if time.monotonic() > give_up_at:
            owners = listening_processes(plan.port)
            served_by = "process " + ", ".join(owners) if owners else "a process this user may not see"
            message = f"the stop command returned, but port {plan.port} is still served by {served_by}"
            raise RefusalError("lifecycle.still_running", message, processes=owners)
        time.sleep(PORT_PAUSE_S)


# ---------------------------------------------------------------------------------------------------------------------
# Verify and prove
# ---------------------------------------------------------------------------------------------------------------------


class ProbeError(Exception):
    """There was no answer; the message says why."""


class Sight(NamedTuple):
    """What one look at the app showed."""

    is_healthy: bool
    answer: str
    versions: set[str]


def verify(stage: Stage) -> dict[str, Any]:
    """Wait until the goal version serves."""
    return prove_serving(stage, stage.plan.version)


def prove(stage: Stage) -> dict[str, Any]:
    """Check, once and without mercy, that the goal version serves now."""
    began_at = time.monotonic()
    sight = look(stage, PROBE_TIMEOUT_S)
    note_sight(stage, sight, f"after {seconds_since(began_at)}")
    refusal = judge(stage.plan, sight, stage.plan.version, code="health.unhealthy", within="")
    if refusal is not None:
        raise refusal
    return {"answer": sight.answer}


def prove_serving(stage: Stage, version: str) -> dict[str, Any]:
    """
    Wait until *version* serves, at most the plan's start-up time.

    Raises:
        RefusalError: ``health.timeout``, ``health.wrong_version``, ``health.unknown_version``; where the plan ignores
            verify, it is returned in the detail instead.
    """
    plan = stage.plan
    began_at, times, pause_s = time.monotonic(), 0, FIRST_PROBE_PAUSE_S
    while True:
        times += 1
        left_s = plan.startup_timeout_s - (time.monotonic() - began_at)
        sight = look(stage, max(0.1, min(PROBE_TIMEOUT_S, left_s)))
        within = f" within {plan.startup_timeout_s} s"
        refusal = judge(plan, sight, version, code="health.timeout", within=within)
        is_final = refusal is None or refusal.code == "health.wrong_version"
        if is_final or time.monotonic() - began_at + pause_s > plan.startup_timeout_s:
            break
        time.sleep(pause_s)
        pause_s = min(PROBE_PAUSE_S, 1.25 * pause_s)
    note_sight(stage, sight, f"after {seconds_since(began_at)}" + (f", asked {times} times" if times > 1 else ""))
    if refusal is None:
        return {"answer": sight.answer, "waited_s": round(time.monotonic() - began_at, 3)}
    if plan.ignore_verify:
        stage.notes.add(f"ignored, as the group asks: {refusal.code}")
        return {"ignored": dict(refusal.detail, code=refusal.code, message=refusal.message)}
    raise refusal


def look(stage: Stage, timeout_s: float) -> Sight:
    """Ask the health check, and which version runs; *timeout_s* is for both together."""
    began_at = time.monotonic()
    try:
        status, body = http_get(stage.plan, stage.plan.health_path, timeout_s)
    except ProbeError as error:
        return Sight(is_healthy=False, answer=str(error), versions=set())
    start = " ".join(body[:200].decode("utf-8", "replace").split())
    answer = f"status {status}" + (f": {start}" if start else "")
    if not 200 <= status < 300:
        return Sight(is_healthy=False, answer=answer, versions=set())
    left_s = max(0.1, timeout_s - (time.monotonic() - began_at))
    return Sight(is_healthy=True, answer=answer, versions=running_versions(stage.plan, stage.layout, left_s))


def note_sight(stage: Stage, sight: Sight, when: str) -> None:
    """Note what the address answered, and who serves there."""
    plan = stage.plan
    stage.notes.add(f"GET {page_of(plan, plan.health_path)} {when}: {sight.answer}")
    if sight.versions:
        how = f"by its process in {stage.layout.root}" if plan.version_path is None else f"as {plan.version_path} says"
        stage.notes.add(f"runs {' and '.join(sorted(sight.versions))}, {how}")


def page_of(plan: Plan | Question, path: str) -> str:
    """Return the address of a page of the app."""
    return f"http://{plan.health_host}:{plan.port}{path}"


def judge(plan: Plan, sight: Sight, version: str, code: str, within: str) -> RefusalError | None:
    """Return why *sight* does not prove that *version* serves; None where it does."""
    name, running = plan.instance, sorted(sight.versions)
    if not sight.is_healthy:
        message = f"{name} did not answer {plan.health_path} well{within}; last seen: {sight.answer}"
        return RefusalError(code, message, answer=sight.answer)
    if not running:
        hint = "give it a version path, or start it with its working directory in 'current'"
        message = f"{name} answers, but nothing says which version it is: {hint}"
        return RefusalError("health.unknown_version", message, answer=sight.answer)
    if running != [version]:
        message = f"{name} answers, but it runs {' and '.join(running)}, not {version}"
        return RefusalError("health.wrong_version", message, running_versions=running)
    return None


def http_get(plan: Plan | Question, path: str, timeout_s: float) -> tuple[int, bytes]:
    """
    Return status and first bytes of what the app answers, all within *timeout_s*.

    Raises:
        ProbeError: If it does not answer, or has not answered to the end by then.
    """
    import http.client

    connection = http.client.HTTPConnection(plan.health_host, plan.port)
    try:
        connection.sock = connect_until(time.monotonic() + timeout_s, plan.health_host, plan.port)
        connection.request("GET", path, headers={"User-Agent": "rollwave-driver", "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(4096)
    except ConnectionRefusedError:
        raise ProbeError("connection refused") from None
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def connect_until(until: float, host: str, port: int) -> Any:
    """Return a connection of which nothing waits beyond *until*: a timeout of a socket starts anew with each byte."""
    import socket

    def left_s() -> float:
        left = until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left

    class Hurried(socket.socket):
        def recv_into(self, *args: Any, **kwargs: Any) -> int:
            self.settimeout(left_s())
            return super().recv_into(*args, **kwargs)

    trouble = OSError(f"{host} has no address")
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            connected = socket.create_connection(address[:2], timeout=left_s())
        except OSError as error:  # noqa: PERF203  # the next address may be the right one
            trouble = error
        else:
            hurried = Hurried(fileno=connected.detach())
            hurried.settimeout(left_s())
            return hurried
    raise trouble


# ---------------------------------------------------------------------------------------------------------------------
# What a server needs before it is released to
# ---------------------------------------------------------------------------------------------------------------------


class Question(NamedTuple):
    """
    What ``check`` is about.

    Attributes:
        free_bytes: How much room there has to be for versions.
        health_host: As in a plan: where the app is asked, from this server.
    """

    deploy_path: str
    start: tuple[str, ...]
    stop: tuple[str, ...]
    health_path: str
    port: int
    free_bytes: int
    app: str
    instance: str
    server: str
    health_host: str = "127.0.0.1"


class Finding(NamedTuple):
    """One thing that was looked at; *verdict* is ``ok``, ``missing``, or ``note`` for what need not be there yet."""

    name: str
    verdict: str
    message: str


QUESTION_FIELDS: dict[str, Check] = {
    "deploy_path": absolute_path,
    "start": argv,
    "stop": argv,
    "health_path": URL_PATH_CHECK,
    "port": integer(1, 65535),
    "free_bytes": integer(0),
    "app": PLAN_FIELDS["app"],
    "instance": NAME_CHECK,
    "server": NAME_CHECK,
}


def check(text: str) -> dict[str, Any]:
    """
    Return every finding about what *text* asks, and this server's time.

    Raises:
        RefusalError: ``host.question_invalid``.
    """
    try:
        question = Question(**checked_fields(QUESTION_FIELDS, json.loads(text)))
    except (ValueError, RefusalError) as error:
        message = error.message if isinstance(error, RefusalError) else str(error)
        raise RefusalError("host.question_invalid", message) from error
    findings = [see_python(), see_openssl(), see_zstd(), *see_room(question)]
    findings += [see_command("start", question, question.start), see_command("stop", question, question.stop)]
    findings.append(see_health(question))
    return {"findings": [finding._asdict() for finding in findings], "now": time.time()}


def see_python() -> Finding:
    """Look at the Python that runs this."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 8):  # noqa: UP036  an older one that can read this file has to be told
        return Finding("python", "missing", "Python 3.8 or newer is needed; this is " + found)
    return Finding("python", "ok", "Python " + found)


def see_openssl() -> Finding:
    """Look for an openssl that can verify what packages are signed with."""
    needed = "openssl 3.0 or newer is needed to verify packages"
    try:
        exit_code, said = asked("openssl", "version")
    except UnaskedError as error:
        return Finding("openssl", "missing", f"{needed}: {error}")
    said = last_line(said)
    version = re.match(r"OpenSSL (\d+)\.", said)
    if exit_code != 0 or version is None or int(version.group(1)) < 3:
        return Finding("openssl", "missing", f"{needed}; found: {said}")
    return Finding("openssl", "ok", said)


def see_zstd() -> Finding:
    """Look for something that unpacks packages."""
    import shutil

    program = shutil.which("zstd")
    if program:
        return Finding("zstd", "ok", program)
    for name, find in (("compression.zstd", module_or_none), ("zstandard", package_or_none)):
        if find(name):
            return Finding("zstd", "ok", f"Python's {name}")
    message = "packages cannot be unpacked here: install the zstd program (or Python's zstandard)"
    return Finding("zstd", "missing", message)


def see_room(question: Question) -> Iterator[Finding]:
    """Look whether versions can be written where they shall be, and whether there is room for them."""
    path, parent = question.deploy_path, os.path.dirname(question.deploy_path)
    is_there = os.path.lexists(path)
    place = path if is_there else parent
    if not os.path.isdir(place):
        hint = "" if is_there else f", or mend the group's deploy_path: a release makes {path} alone"
        yield Finding("directory", "missing", f"{place} is not a directory on this server; make it one{hint}")
    elif not os.access(place, os.W_OK | os.X_OK):
        message = f"{path} cannot be {'written' if is_there else 'made'}: {place} is closed to user {os.geteuid()}"
        yield Finding("directory", "missing", f"{message}; give it to that user")
    else:
        yield Finding("directory", "ok", f"{path} {'may be written' if is_there else f'can be made in {parent}'}")
    while not os.path.exists(place):
        place = os.path.dirname(place)
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    room = f"{free / 2**20:.0f} MiB free in {place}"
    if free >= question.free_bytes:
        yield Finding("disk", "ok", room)
    else:
        yield Finding("disk", "missing", f"{room}; {question.free_bytes / 2**20:.0f} MiB are needed")


def see_command(name: str, question: Question, words: Sequence[str]) -> Finding:
    """Look whether the command that starts or stops the app can be run: its program, sudo's rule, the supervisor."""
    values = {
        "app": question.app,
        "port": str(question.port),
        "instance": question.instance,
        "server": question.server,
        "deploy_path": question.deploy_path,
    }
    command = substituted(words, values)
    seen = [see_program(question, command[0])]
    if os.path.basename(command[0]) == "sudo" and seen[0].verdict == "ok":
        options, command = split_sudo(command)
        seen.append(see_sudo(options, command))
        if command:
            seen.append(see_program(question, command[0]))
    supervisor = os.path.basename(command[0]) if command else ""
    if supervisor in SUPERVISORS and seen[-1].verdict == "ok":
        seen.append(SUPERVISORS[supervisor](command, is_ours=len(seen) == 1))
    for verdict in ("missing", "note"):
        grave = [one.message for one in seen if one.verdict == verdict]
        if grave:
            return Finding(name, verdict, "; ".join(grave))
    return Finding(name, "ok", "; ".join(one.message for one in seen))


def see_program(question: Question, program: str) -> Finding:
    """Look for one program."""
    import shutil

    if "{version}" in program:
        return Finding("program", "note", f"{program} is known with a version alone")
    path = os.path.join(question.deploy_path, program) if "/" in program else program
    found = shutil.which(path)
    if found:
        return Finding("program", "ok", found)
    layout = Layout(question.deploy_path)
    if os.path.normpath(path).startswith((layout.current + "/", layout.releases + "/")):
        return Finding("program", "note", f"{program} is not there: right where it comes with the version")
    message = f"{program!r} is not there, or may not be run; PATH is {os.environ.get('PATH', '')}"
    return Finding("program", "missing", message)


def split_sudo(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those options of a sudo command line that say as whom, and the command that it shall run."""
    import getopt

    try:
        given, left = getopt.getopt(list(command[1:]), SUDO_SHORT, SUDO_LONG)
    except getopt.GetoptError:
        return [], []
    while left and re.match(r"[A-Za-z_]\w*=", left[0]):  # a variable for the command
        del left[0]
    whom = {"-u": "-u", "--user": "-u", "-g": "-g", "--group": "-g"}
    return [word for name, value in given if name in whom for word in (whom[name], value)], left


def see_sudo(options: Sequence[str], command: Sequence[str]) -> Finding:
    """Ask sudo whether it would run *command*, which it does not do."""
    shown = " ".join(command)
    if not command or "{version}" in shown:
        return Finding("sudo", "note", f"whether sudo permits {shown!r} is known with a version alone")
    try:
        exit_code, said = asked("sudo", "-n", *options, "-l", "--", *command)
        _, rules = asked("sudo", "-n", "-l")
    except UnaskedError as error:
        return Finding("sudo", "note", f"sudo does not say whether it permits {shown!r}: {error}")
    if exit_code != 0:
        reason = last_line(said) or "no rule permits it"
        message = f"sudo does not let user {os.geteuid()} run {shown!r} ({reason}); mend the sudoers rule"
        return Finding("sudo", "missing", message)
    needs_none = os.geteuid() == 0 or is_passwordless(rules, shown)
    if needs_none is None:
        return Finding("sudo", "note", f"sudo permits {shown!r}; its list does not say whether without a password")
    if not needs_none:
        message = f"sudo wants a password of user {os.geteuid()} for {shown!r}; put NOPASSWD: into the sudoers rule"
        return Finding("sudo", "missing", message)
    return Finding("sudo", "ok", f"sudo permits {shown!r}")


def is_passwordless(rules: str, command: str) -> bool | None:
    """Say whether the last of sudo's *rules* that is about *command* asks for no password; None where none names it."""
    # "sudo -l COMMAND" alone does not tell: it is answered as soon as any rule of the user needs no password.
    flat = " ".join(rules.split())
    if re.search(r"(^|[ ,])!authenticate\b", flat):
        return True
    named = [one.start() for one in re.finditer(rf"({re.escape(command)}|\bALL)(?=,| \(|$)", flat)]
    if not named:
        return None
    tags = re.findall(r"\b(NOPASSWD|PASSWD):", flat[flat.rfind("(", 0, named[-1]) : named[-1]])
    return tags[-1:] == ["NOPASSWD"]


def see_systemd(command: Sequence[str], *, is_ours: bool) -> Finding:
    """Ask systemd whether it knows the units; anybody may, so *is_ours*, that no sudo is needed, does not matter."""
    del is_ours
    options, units = split_supervisor(command, SYSTEMCTL_VALUED)
    if not units or any("{version}" in unit for unit in units):
        return Finding("systemd", "note", f"{' '.join(command)!r} names no unit that can be asked for")
    try:
        exit_code, said = asked(command[0], *options, "show", "--property=LoadState", "--", *units)
    except UnaskedError as error:
        return Finding("systemd", "note", f"systemd cannot be asked for {' '.join(units)}: {error}")
    states = re.findall(r"^LoadState=(\S+)", said, re.MULTILINE)
    if exit_code != 0 or len(states) != len(units):
        is_elsewhere = "not been booted with systemd" in said
        message = f"systemd cannot be asked for {' '.join(units)}: {last_line(said)}"
        return Finding("systemd", "missing" if is_elsewhere else "note", message)
    bad = [f"unit {unit} is {state}" for unit, state in zip(units, states) if state != "loaded"]
    if bad:
        hint = "put the unit file in its place, then systemctl daemon-reload"
        return Finding("systemd", "missing", f"{', '.join(bad)}: {hint}")
    return Finding("systemd", "ok", f"systemd knows {' '.join(units)}")


def see_supervisord(command: Sequence[str], *, is_ours: bool) -> Finding:
    """Ask supervisord whether it knows the programs; where only sudo may, and *is_ours* is False, that is said."""
    options, programs = split_supervisor(command, SUPERVISORCTL_VALUED)
    if not programs or any("{version}" in program for program in programs):
        return Finding("supervisord", "note", f"{' '.join(command)!r} names no program that can be asked for")
    shown = " ".join(programs)
    try:
        exit_code, said = asked(command[0], *options, "status", *programs)
    except UnaskedError as error:
        return Finding("supervisord", "note", f"supervisord cannot be asked for {shown}: {error}")
    unknown = re.findall(r"^(\S+): ERROR \(no such", said, re.MULTILINE)
    if unknown:
        hint = "put it into its configuration, then supervisorctl update"
        return Finding("supervisord", "missing", f"supervisord has no program {' '.join(unknown)}: {hint}")
    # 0: all of them run; 3: some do not.
    if exit_code in (0, 3) and re.search(SUPERVISED, said, re.MULTILINE):
        return Finding("supervisord", "ok", f"supervisord knows {shown}")
    message = f"supervisord cannot be asked for {shown}: {last_line(said)}"
    return Finding("supervisord", "missing" if is_ours else "note", message)


def split_supervisor(command: Sequence[str], valued: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of a supervisor's command line (those of *valued* take a word along), and its names."""
    options: list[str] = []
    words: list[str] = []
    left = iter(command[1:])
    for word in left:
        if word in valued:
            options += [word, next(left, "")]
        else:
            (options if word.startswith("-") else words).append(word)
    return options, words[1:]  # the first is the verb


SUDO_SHORT = "ABbC:D:EeHg:h:iKklNnPp:R:r:SsT:t:U:u:Vv"
SUDO_LONG = ["user=", "group=", "non-interactive", "set-home", "preserve-env", "login", "chdir=", "background"]
SYSTEMCTL_VALUED = ("-H", "--host", "-M", "--machine", "--root", "--job-mode", "-t", "--type", "-p", "--property")
SUPERVISORCTL_VALUED = ("-c", "--configuration", "-s", "--serverurl", "-u", "--username", "-p", "--password")
SUPERVISED = r"^\S+\s+(STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN)\b"
SUPERVISORS: dict[str, Callable[..., Finding]] = {"systemctl": see_systemd, "supervisorctl": see_supervisord}


class UnaskedError(Exception):
    """A program that knows did not answer; says why."""


ANSWERS: dict[tuple[str, ...], tuple[int, str] | UnaskedError] = {}
"""What programs said: start and stop mostly ask the same."""


def asked(*command: str) -> tuple[int, str]:
    """
    Return exit code and output, in English, of a program that only tells; each is asked once.

    Raises:
        UnaskedError: If it cannot be run, or does not end in time.
    """
    if command not in ANSWERS:
        ANSWERS[command] = ask(command)
    answer = ANSWERS[command]
    if isinstance(answer, UnaskedError):
        raise answer
    return answer


def ask(command: Sequence[str]) -> tuple[int, str] | UnaskedError:
    """Run a program that only tells; return exit code and output, or why there is none."""
    import subprocess

    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C"),
            timeout=ASKED_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return UnaskedError(str(error))
    except subprocess.TimeoutExpired:
        return UnaskedError(f"it did not answer within {ASKED_TIMEOUT_S:g} s")
    return done.returncode, done.stdout.decode("utf-8", "replace")


def see_health(question: Question) -> Finding:
    """Ask the health page of what serves now, if anything does."""
    page = page_of(question, question.health_path)
    try:
        status, _ = http_get(question, question.health_path, PROBE_TIMEOUT_S)
    except ProbeError as error:
        return Finding("health", "note", f"{page} does not answer ({error}): right before a first release alone")
    return Finding("health", "ok" if 200 <= status < 300 else "missing", f"{page} answers with status {status}")


# ---------------------------------------------------------------------------------------------------------------------
# From command to report: admit, detach, work, record
# ---------------------------------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "download": download,
    "install": install,
    "verify": verify,
    "prove": prove,
    "restore": restore,
}


def answer(command: Command) -> Report:
    """Return the report on *command*; a refusal is one."""
    plan = None
    try:
        with os_errors_refused():
            plan = load_plan(command.plan_path, command.plan_hash)
            layout = Layout(plan.deploy_path)
            layout.prepare()
            if command.action == "status":
                return status(command, plan, layout)
            if command.action in ("drain", "undrain"):
                return mark_drain(command, plan, layout)
            return run(command, plan, layout)
    except RefusalError as refusal:
        return new_report(command, plan, "failed", refusal)


def key_of(command: Command, plan: Plan) -> str:
    """Return the name of one verb in one attempt of one deployment."""
    return f"{plan.deployment_id}-{plan.created_us}-{command.attempt}-{command.verb}"


def status(command: Command, plan: Plan, layout: Layout) -> Report:
    """
    Return what the journal says, after raising the fence, so that no older command can begin behind the answer.

    The deadline does not matter here: to read is no effect, and a late answer is not the verb's failure.
    """
    ledger, key = Ledger(layout), key_of(command, plan)
    with ledger.hold():
        ledger.raise_fence(command.fence)
        ledger.require_newest(plan)
        report = ledger.result(key, plan)
        has_begun = ledger.has_begun(key)
        is_attended = ledger.is_attended(key)
    if report is None and is_attended:
        report = new_report(command, plan, "running", has_begun=has_begun)
    elif report is None:
        report = new_report(command, plan, "absent", **({"interrupted": True} if has_begun else {}))
    report["detail"]["draining"] = os.path.exists(layout.drain)
    return with_versions(report, running_versions(plan, layout, STATUS_PROBE_TIMEOUT_S), layout)


def mark_drain(command: Command, plan: Plan, layout: Layout) -> Report:
    """Create or remove the file that a health page may watch."""
    ledger = Ledger(layout)
    with ledger.hold():
        ledger.raise_fence(command.fence)
        require_in_time(command)
        if command.action == "drain":
            write_durably(layout.drain, b"%d\n" % plan.deployment_id)
        else:
            remove_durably(layout.drain)
    return new_report(command, plan, "succeeded", draining=command.action == "drain")


def run(command: Command, plan: Plan, layout: Layout) -> Report:
    """Return the recorded result, or have a worker do the verb and wait for it as long as the command says."""
    ledger, key = Ledger(layout), key_of(command, plan)
    with ledger.hold():
        ledger.raise_fence(command.fence)
        ledger.require_newest(plan)
        recorded = ledger.result(key, plan)
        if recorded is not None:
            return recorded
        attendance = ledger.attend(key)
    worker = detach(lambda: work(command, plan, layout), layout.log(key))
    os.close(attendance)  # the worker has it now
    give_up_at = math.inf if command.wait_s is None else time.monotonic() + command.wait_s
    reply = read_reply(worker, give_up_at)
    if reply:
        return json.loads(reply.decode("ascii"))
    while time.monotonic() < give_up_at:  # our worker died: it is just going, or another one goes on
        with ledger.hold():
            if not ledger.is_attended(key):
                break
        time.sleep(ATTENDANCE_PAUSE_S)
    return status(command, plan, layout)


def require_in_time(command: Command) -> None:
    """
    Refuse to begin after the deadline.

    Raises:
        RefusalError: ``host.deadline_passed``.
    """
    late_s = time.time() - command.deadline
    if late_s > 0:
        message = f"the command came {late_s:.1f} s after its deadline; nothing was begun"
        raise RefusalError("host.deadline_passed", message, late_s=round(late_s, 3))


def work(command: Command, plan: Plan, layout: Layout) -> Report:
    """
    Do the verb, alone on this instance, and record its result.

    Returns:
        The result, recorded; or a refusal to begin, which is not, so that a better command can still begin.
    """
    ledger, key = Ledger(layout), key_of(command, plan)
    try:
        with os_errors_refused(), locked(layout.work_lock):
            with ledger.hold():
                ledger.raise_fence(command.fence)
                ledger.require_newest(plan)
                recorded = ledger.result(key, plan)
                if recorded is not None:
                    return recorded
                require_in_time(command)
                ledger.prune(plan)
                ledger.record(key, plan, report=None)
            report = perform(command, Stage(plan=plan, layout=layout, key=key, notes=Notes()))
            with ledger.hold():
                ledger.record(key, plan, report)
            return report
    except RefusalError as refusal:
        return new_report(command, plan, "failed", refusal)


def perform(command: Command, stage: Stage) -> Report:
    """Return the result of the verb, whatever it is."""
    plan, layout = stage.plan, stage.layout
    try:
        with os_errors_refused():
            report = new_report(command, plan, "succeeded", **VERBS[command.verb](stage))
    except RefusalError as refusal:
        report = new_report(command, plan, "failed", refusal)
    except Exception as error:  # noqa: BLE001  a bug must be readable in the journal, not only in a log
        import traceback

        message = f"the driver has a bug: {type(error).__name__}: {error}"
        bug = RefusalError("host.driver_bug", message, traceback=traceback.format_exc())
        report = new_report(command, plan, "failed", bug)
    report["lines"] = stage.notes.lines
    if report["state"] == "failed":
        report["detail"].setdefault("output", output_of(command, plan, layout))
    return with_versions(report, running_versions(plan, layout, STATUS_PROBE_TIMEOUT_S), layout)


def output_of(command: Command, plan: Plan, layout: Layout) -> str:
    """
    Return the end of what the commands of this verb printed, for whoever asks why it failed; empty for nothing.

    A verb that ran none, as verify does, failed by what install has started.
    """
    for verb in (command.verb, "install"):
        with contextlib.suppress(OSError):
            output = tail(layout.log(key_of(command._replace(verb=verb), plan)), 0)
            if output.strip():
                return output
    return ""


def detach(task: Callable[[], Report], log_path: str) -> int:
    """
    Run *task* in a process of its own session that outlives this one and its carrier.

    Returns:
        A descriptor that yields the report as JSON, or ends early if the process dies.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        exit_code = EXIT_BUG
        try:
            os.setsid()
            parent = os.getpid()
            if os.fork() == 0:
                # Whoever ends the carrier and all below it must not find us there, once the journal says that we began.
                while os.getppid() == parent:
                    time.sleep(0.001)
                os.close(reader)
                redirect_output(log_path)
                send_reply(writer, task())
            exit_code = 0
        except Exception:  # noqa: BLE001  nobody above: the log is the only place left
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(exit_code)
    os.close(writer)
    os.waitpid(child, 0)
    return reader


def redirect_output(log_path: str) -> None:
    """Let go of the carrier: its terminal, its pipes, its directory."""
    os.chdir("/")
    os.umask(0o022)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)


def send_reply(descriptor: int, report: Report) -> None:
    """Send the report to whoever waits."""
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more; the journal has it
        write_all(descriptor, line_of(report))


def read_reply(descriptor: int, give_up_at: float) -> bytes:
    """Return the whole reply; empty if the worker died, or at the monotonic time *give_up_at*."""
    import select

    reply = b""
    try:
        while True:
            left_s = None if math.isinf(give_up_at) else max(0.0, give_up_at - time.monotonic())
            if not select.select([descriptor], [], [], left_s)[0]:
                return b""
            chunk = os.read(descriptor, CHUNK_BYTES)
            if not chunk:
                return reply if reply.endswith(b"\n") else b""
            reply += chunk
    finally:
        os.close(descriptor)


def line_of(report: Report) -> bytes:
    """Return the report as one line of JSON."""
    return json.dumps(report, sort_keys=True).encode("ascii") + b"\n"


# ---------------------------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------------------------


USAGE = "driver.py VERB PLAN --plan-hash H --attempt N --fence F --deadline UNIX_SECONDS [--wait SECONDS] [--verb VERB]"
ACTIONS = (*VERBS, "status", "drain", "undrain")


class UsageError(Exception):
    """The arguments are unusable; the message says why."""


def number(kind: Callable[[str], Any], low: int) -> Callable[[str], Any]:
    """Return a parser of a finite number, at least *low*."""

    def parse(word: str) -> Any:
        value = kind(word)
        if not low <= value < math.inf:
            raise ValueError(word)
        return value

    return parse


def verb_name(word: str) -> str:
    """Parse the name of a verb that is journaled."""
    if word not in VERBS:
        raise ValueError(word)
    return word


OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "--plan-hash": ("plan_hash", str),
    "--attempt": ("attempt", number(int, 0)),
    "--fence": ("fence", number(int, 0)),
    "--deadline": ("deadline", number(float, 0)),
    "--wait": ("wait_s", number(float, 0)),
    "--verb": ("verb", verb_name),
}


def parse_command(words: Sequence[str]) -> Command:
    """
    Return the command.

    Not by argparse: to import it would take a sixth of the time that `status` takes in all.

    Raises:
        UsageError: If an argument is missing, unknown or wrong.
    """
    if len(words) < 2 or words[0] not in ACTIONS:
        raise UsageError(f"the first argument is one of {', '.join(ACTIONS)}; the second is the plan")
    given: dict[str, Any] = {"action": words[0], "plan_path": words[1]}
    for name, word in zip(words[2::2], [*words[3::2], ""]):
        if name not in OPTIONS:
            raise UsageError(f"there is no option {name}")
        field, parse = OPTIONS[name]
        try:
            given[field] = parse(word)
        except ValueError:
            raise UsageError(f"{name} cannot be {word!r}") from None
    if ("verb" in given) != (words[0] == "status"):
        raise UsageError("--verb belongs to status, and status needs it")
    missing = {"plan_hash", "attempt", "fence", "deadline"} - set(given)
    if missing:
        raise UsageError(f"missing: {', '.join(sorted(missing))}")
    return Command(**dict({"verb": words[0]}, **given))


def main(words: Sequence[str]) -> int:
    """Answer one command line."""
    if words and words[0] == "check":
        return main_of_check(words)
    try:
        command = parse_command(words)
    except UsageError as error:
        sys.stderr.write(f"usage: {USAGE}\nerror: {error}\n")
        return EXIT_USAGE
    report = answer(command)
    sys.stdout.write(line_of(report).decode("ascii"))
    if report["code"] == "host.driver_bug" and command.action != "status":
        sys.stderr.write(report["detail"]["traceback"])
        return EXIT_BUG
    return 0


def main_of_check(words: Sequence[str]) -> int:
    """Answer a command line that begins with ``check``."""
    try:
        found = check(words[1] if len(words) == 2 else "")
    except RefusalError as refusal:
        sys.stderr.write(f"usage: driver.py check QUESTION\nerror: {refusal.message}\n")
        return EXIT_USAGE
    sys.stdout.write(line_of(found).decode("ascii"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception:  # noqa: BLE001  a bug: say so with its own exit code
        sys.excepthook(*sys.exc_info())
        sys.exit(EXIT_BUG)
