"""The executor: carries ``driver.py <verb> <plan>`` to a host, and the answer back. It decides nothing."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from msgspec import Struct

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.ports.packages import SignedPackage


class HostVerb(Enum):
    """What a host can be told to do; each is idempotent per (deployment, attempt, verb)."""

    DOWNLOAD = "download"
    """Fetch, check and unpack the goal version aside, rename it to ``releases/<version>``; never touches the app."""
    INSTALL = "install"
    """Stop the app, switch ``current`` to the goal version, start the app."""
    VERIFY = "verify"
    """Prove that the running process is the goal version and that its health check answers."""
    PROVE = "prove"
    """The same proof, asked before anything was installed in this attempt: it fails at once, without waiting."""
    RESTORE = "restore"
    """Switch ``current`` back to the previous version, restart the app, prove that it serves."""


class HostState(Enum):
    """What a host's journal says about one (deployment, attempt, verb)."""

    ABSENT = "absent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Host(Struct, frozen=True, kw_only=True, gc=False):
    """
    One instance's place in the world, as an executor sees it.

    Attributes:
        instance: Unique name of the instance, ``<group>/<server>:<port>``.
        server: Name of the server.
        address: Where the server is reached (host name or IP address).
        port: TCP port on which the instance serves.
        deploy_path: Absolute directory on the server that belongs to this instance alone.
    """

    instance: str
    server: str
    address: str
    port: int
    deploy_path: str


class HostPlan(Struct, frozen=True, kw_only=True, gc=False):
    """
    Everything the driver needs for one deployment on one instance; written once under its content hash.

    Attributes:
        deployment_id: The deployment.
        created_us: When it was created, in microseconds of Unix time, later than any before it in its group. A host
            keeps apart by it what a restored database gives the same id, and refuses what is older than it has seen.
        host: The instance.
        package: The goal package.
        previous_version: Version to restore to, still on the host; None where there is none.
        start: Argument vector that starts (or restarts) the app through its supervisor.
        stop: Argument vector that stops it; returns when the process is gone.
        health_path: Path of the health check, for example ``/healthz``.
        version_path: Path that answers with the running version; None: read it from the process that owns the port.
        startup_timeout_s: How long verify waits for a healthy answer, in seconds.
        command_timeout_s: How long one lifecycle command may take, in seconds.
        ignore_verify: Go on whatever verify says; the result still records what it saw.
        keep_versions: How many versions stay on the host, at least 2.
    """

    deployment_id: int
    created_us: int
    host: Host
    package: SignedPackage
    previous_version: str | None
    start: tuple[str, ...]
    stop: tuple[str, ...]
    health_path: str
    version_path: str | None = None
    startup_timeout_s: int = 60
    command_timeout_s: int = 60
    ignore_verify: bool = False
    keep_versions: int = 5


class HostCommand(Struct, frozen=True, kw_only=True, gc=False):
    """
    One command to one host.

    Attributes:
        plan: The plan; commands carry its hash.
        verb: What to do.
        attempt: Attempt of the target, from 1; 0 for a download that runs ahead.
        fence: Fencing number: the host refuses a command with a lower one than it has seen.
        deadline: Unix time in seconds after which the host refuses to begin.
    """

    plan: HostPlan
    verb: HostVerb
    attempt: int
    fence: int
    deadline: float


LINES: Final = 6
CHARACTERS: Final = 160
"""So many lines, so wide, tell what a stage did."""


class Line(Struct, frozen=True, kw_only=True, gc=False):
    """
    One thing that a stage did or measured, like a line of a log: technical, and in English.

    Attributes:
        after_ms: Milliseconds since the stage began where it happens, by the clock there.
        text: What; at most `CHARACTERS`.
    """

    after_ms: int
    text: str


class HostReport(Struct, frozen=True, kw_only=True):
    """
    What the host's journal says, read back from the host itself.

    Attributes:
        state: See `HostState`.
        code: Stable dotted name of the failure (``host.disk_full``, ``health.timeout``, ...); empty on success.
        message: One sentence for a person: what went wrong and what would help.
        running_version: Version of the process that serves now; None where unknown or none runs.
        detail: Further facts, JSON-serializable.
        lines: What the verb did, in order, at most `LINES`; of a recorded result the same whenever it is read.
    """

    state: HostState
    code: str = ""
    message: str = ""
    running_version: str | None = None
    detail: Mapping[str, object] = {}
    lines: tuple[Line, ...] = ()


class HostUnknownError(RollwaveError):
    """The host did not answer in time: neither success nor failure, until its journal has been read."""

    code = "host.unknown"


class HostUnreachableError(HostUnknownError):
    """The host cannot be reached at all."""

    code = "host.unreachable"


class Executor(Protocol):
    """
    Reaches hosts. Safe to call from many coroutines at once.

    A command that the host refuses (fence, deadline, plan hash, a newer deployment that was there) is a report in state
    FAILED with a ``host.*`` code.
    Every call ends: an executor bounds it by what the plan allows the verb, and then says that it does not know.
    """

    async def run(self, command: HostCommand) -> HostReport:
        """
        Bring driver and plan to the host where they are missing, run the verb, and wait for its end.

        The verb runs detached on the host: cancelling this coroutine, or killing this process, does not stop it.

        Returns:
            A report in state SUCCEEDED or FAILED. A repeated command returns the recorded result.

        Raises:
            HostUnknownError: If no answer came in time, or the carrier broke.
            HostUnreachableError: If the host could not be reached; an earlier call may have begun the verb.
        """
        ...

    async def status(self, command: HostCommand) -> HostReport:
        """
        Read the journal back for this command's (deployment, attempt, verb); raise the host's fence to the command's.

        Raising the fence is what makes the answer final: after ABSENT, no older command can begin any more.

        Raises:
            HostUnknownError, HostUnreachableError: As for `run`.
        """
        ...


@runtime_checkable
class KeepsDrainFiles(Protocol):
    """What an executor has beside, if it can tell a host's health page to answer "no": ``shared/drain`` is there."""

    async def set_drain(self, host: Host, *, drained: bool) -> None:
        """
        Create or remove the host's drain file; durable on return, and idempotent.

        Raises:
            HostUnknownError, HostUnreachableError: As for `Executor.run`; to ask again is harmless.
        """
        ...

    async def is_drained(self, host: Host) -> bool:
        """
        Say whether the host's drain file is there.

        Raises:
            HostUnknownError, HostUnreachableError: As for `Executor.run`.
        """
        ...


class Verdict(Enum):
    """What comes of looking at one thing that a release needs."""

    OK = "ok"
    MISSING = "missing"
    """A release would fail, or lose its proof, for want of it."""
    NOTE = "note"
    """It is not there, and need not be yet; or nobody can tell."""


class Finding(Struct, frozen=True, kw_only=True):
    """
    One thing that was looked at.

    Attributes:
        name: Of the thing: ``python``, ``openssl``, ``disk``, ...
        verdict: See `Verdict`.
        message: What was found; where it is missing, what would be right.
    """

    name: str
    verdict: Verdict
    message: str


class HostQuestion(Struct, frozen=True, kw_only=True):
    """
    What a server is asked before it carries anything.

    Attributes:
        host: The instance that it shall carry.
        app: Name of the app.
        start: Argument vector that will start the app.
        stop: Argument vector that will stop it.
        health_path: Path of the health check.
        free_bytes: How much room there has to be.
    """

    host: Host
    app: str
    start: tuple[str, ...]
    stop: tuple[str, ...]
    health_path: str
    free_bytes: int


class HostAnswer(Struct, frozen=True, kw_only=True):
    """
    What a server found about itself.

    Attributes:
        findings: In the order in which they help.
        now: The server's own time, Unix time in seconds.
    """

    findings: tuple[Finding, ...]
    now: float


@runtime_checkable
class ChecksHosts(Protocol):
    """What an executor has beside, if it can run ``driver.py check`` on a server that carries nothing yet."""

    async def check(self, question: HostQuestion) -> HostAnswer:
        """
        Have the server look at itself; it is left as it was.

        Raises:
            HostUnknownError, HostUnreachableError: As for `Executor.run`; to ask again is harmless.
        """
        ...
