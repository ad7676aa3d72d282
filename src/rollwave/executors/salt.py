"""The Salt executor: servers are minions of a Salt master, which is reached over salt-api alone."""

from __future__ import annotations

import asyncio
import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from rollwave.executors.command_line import arguments_of, patience_s
from rollwave.executors.errors import HostNotReadyError, unknown
from rollwave.executors.host_check import CHECK_LIMIT_S, check_arguments, parse_check
from rollwave.executors.plan_file import HashedFile, plan_file
from rollwave.executors.report import parse_report
from rollwave.executors.salt_api import SaltApi
from rollwave.executors.salt_jobs import SaltJobs
from rollwave.ports.executor import HostReport, HostState, HostUnknownError, HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Host, HostAnswer, HostCommand, HostPlan, HostQuestion

_TRIES: Final = 3
"""Of one command: the first may find driver and plan missing, and somebody may clean up between it and the second."""

_LONGEST_LOOK_S: Final = 10.0
_CARRIED_S: Final = 10.0
_SHOWN_CHARACTERS: Final = 300


class SaltFileError(HostNotReadyError):
    """The minion's module says that the host cannot be prepared."""

    def __init__(self, code: str, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = code  # type: ignore[misc]  # the module names the kind


class SaltExecutor:
    """
    `Executor` for servers that are minions of a Salt master.

    Minions need the execution module ``rollwave`` (`rollwave.host.salt_module`); see ``docs/salt.md``. A return is a
    hint that is heard (event), looked up (job cache), and in the end replaced by the host's own journal: silence is
    never taken for an answer. A server that does not answer a question about its journal is unreachable.

    Args:
        url: Where salt-api listens.
        user, password, eauth: Who we are there.
        driver: Source of the host driver.
        trusted_keys: PEM of each public key by its id; hosts trust exactly these.
        clock: For job ids.
        packages_url: Where servers fetch archives of a file store: its ``blobs/sha256``; None: from their disks.
        minion_id: How the minion of a server is called; ``{server}`` is the server's name.
        parallel: Most publishes at once: more than one makes salt-api 3006 fail, 3008 bears four.
        gather_s: How long a command waits for others, to share a publish with them.
        look_s: After how long a verb that nobody has heard of is asked for.
        answer_s: After how long a minion that does not answer such a question is unreachable.
        download_s: How long a download may take.
        ca_file: Path of the certificates that salt-api's own is checked against; None: those of the system.

    Raises:
        ValueError: If *ca_file* cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        eauth: str,
        driver: bytes,
        trusted_keys: Mapping[str, bytes],
        clock: Clock,
        packages_url: str | None = None,
        minion_id: str = "{server}",
        parallel: int = 1,
        gather_s: float = 0.005,
        look_s: float = 3.0,
        answer_s: float = 7.0,
        download_s: float = 900.0,
        ca_file: str | None = None,
    ) -> None:
        self._driver = HashedFile.of(driver)
        self._packages_url = packages_url
        self._minion_id = minion_id
        self._look_s = look_s
        self._answer_s = answer_s
        self._download_s = download_s
        shared = {
            "format": 1,
            "driver": self._driver.sha256,
            "keys": {key_id: pem.decode() for key_id, pem in trusted_keys.items()},
        }

        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ValueError(f"ca_file: {ca_file} cannot be used: {error}") from error

        def open_jobs() -> SaltJobs:
            api = SaltApi(url, user=user, password=password, eauth=eauth, tls=tls)
            return SaltJobs(
                api=api, clock=clock, shared=shared, limit=parallel, gather_s=gather_s, look_s=min(look_s, answer_s / 2)
            )

        self._open_jobs: Callable[[], SaltJobs] = open_jobs
        # Connections belong to the event loop that opened them, and an executor may outlive a loop.
        self._jobs: WeakKeyDictionary[asyncio.AbstractEventLoop, SaltJobs] = WeakKeyDictionary()

    async def close(self) -> None:
        """Let go of what the running event loop has open; the next call opens it again."""
        jobs = self._jobs.pop(asyncio.get_running_loop(), None)
        if jobs is not None:
            await jobs.close()

    async def run(self, command: HostCommand) -> HostReport:
        """Have the verb done; see `Executor.run`."""
        limit_s = patience_s(command, download_s=self._download_s)
        told = asyncio.Event()
        asked = asyncio.create_task(self._ask(command, limit_s, told))
        try:
            async with asyncio.timeout(limit_s):
                report = await self._heard_or_found(command, asked, told)
        except HostNotReadyError as error:
            return HostReport(state=HostState.FAILED, code=error.code, message=error.message, detail=error.facts)
        except TimeoutError as error:
            raise unknown(command, f"it still runs after {limit_s:g} s") from error
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        if report.state not in {HostState.SUCCEEDED, HostState.FAILED}:
            raise unknown(command, "its worker ended without a result")
        return report

    async def status(self, command: HostCommand) -> HostReport:
        """Read the journal back; see `Executor.status`."""
        return await self._ask(command, None, asyncio.Event())

    async def set_drain(self, host: Host, *, drained: bool) -> None:
        """Create or remove the host's drain file; see `KeepsDrainFiles.set_drain`."""
        await self._tell("drain" if drained else "undrain", host, {}, limit_s=self._answer_s)

    async def is_drained(self, host: Host) -> bool:
        """Say whether the host's drain file is there; see `KeepsDrainFiles.is_drained`."""
        return bool((await self._tell("drained", host, {}, limit_s=self._answer_s)).get("drained"))

    async def check(self, question: HostQuestion) -> HostAnswer:
        """Have the driver look at the server; see `ChecksHosts.check`."""
        # First whether anybody is there: what the driver looks at may take far longer than an answer.
        await self._ask_minion("ping", question.host, {}, limit_s=self._answer_s)
        _, asked = check_arguments(question)
        answer = await self._tell(
            "check",
            question.host,
            {"question": asked, "limit_s": CHECK_LIMIT_S},
            files={self._driver.sha256: self._driver.content.decode()},
            limit_s=CHECK_LIMIT_S + self._answer_s,
        )
        stdout, stderr = (str(answer.get(name, "")).encode() for name in ("stdout", "stderr"))
        return parse_check(question, exit_code=int(answer.get("exit_code", -1)), stdout=stdout, stderr=stderr)

    async def _heard_or_found(
        self, command: HostCommand, asked: asyncio.Task[HostReport], told: asyncio.Event
    ) -> HostReport:
        """Return the report that comes, or the one that is in the journal while none comes."""
        pause_s, was_absent = self._look_s, False
        while True:
            await asyncio.wait({asked}, timeout=pause_s)
            if asked.done():
                return asked.result()
            if not told.is_set():
                continue  # it waits for its publish, and a question would only wait behind it
            try:
                found = await self.status(command)
            except HostUnknownError as error:
                if not asked.done() and isinstance(error, HostNotReadyError):
                    raise unknown(command, error.message) from error  # it may have begun before that
                if not asked.done():
                    raise
            if asked.done():
                return asked.result()
            if found.state in {HostState.SUCCEEDED, HostState.FAILED}:
                return found
            if found.state is HostState.ABSENT and was_absent:
                raise unknown(command, "the minion answers, and knows nothing of it")
            # Once may be chance: the command and our question are carried side by side.
            was_absent = found.state is HostState.ABSENT
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)

    async def _ask(self, command: HostCommand, wait_s: float | None, told: asyncio.Event) -> HostReport:
        """Have the verb done, waiting for its end; or, with None, read its journal. *told* is set while a minion is."""
        host, plan = command.plan.host, plan_file(self._as_seen_there(command.plan))
        verb, _, *options = arguments_of(command, plan_path="", plan_hash=plan.sha256, wait_s=wait_s)
        limit_s = self._answer_s if wait_s is None else wait_s
        entry = {
            "plan": plan.sha256,
            "options": options,  # the minion puts the verb and its path of the plan before them
            "limit_s": limit_s + _CARRIED_S,
        }
        texts = {file.sha256: file.content.decode() for file in (self._driver, plan)}
        files: dict[str, str] = {}
        for _ in range(_TRIES):
            told.clear()
            answer = await self._tell(verb, host, entry, files=files, limit_s=limit_s, told=told)
            if "exit_code" in answer:
                stdout, stderr = (str(answer.get(name, "")).encode() for name in ("stdout", "stderr"))
                return parse_report(command, exit_code=int(answer["exit_code"]), stdout=stdout, stderr=stderr)
            files = {sha256: texts[sha256] for sha256 in answer.get("missing", ()) if sha256 in texts}
        raise unknown(command, f"driver and plan do not stay on {host.server}; who removes them?")

    async def _tell(
        self,
        verb: str,
        host: Host,
        entry: Mapping[str, object],
        *,
        limit_s: float,
        files: Mapping[str, str] = MappingProxyType({}),
        told: asyncio.Event | None = None,
    ) -> Mapping[str, Any]:
        """Return what the module answers; raise what it refuses, and what is no answer of a module."""
        answer = await self._ask_minion(verb, host, entry, limit_s=limit_s, files=files, told=told)
        facts = self._facts(host)
        if not isinstance(answer, dict):
            reason = f"{verb} on {host.instance}: minion {facts['minion']} says {str(answer)[-_SHOWN_CHARACTERS:]!r}"
            raise HostUnknownError(f"{reason}; its journal has to be read", **facts)
        if "code" in answer:
            code, message, path = (str(answer.get(name, "")) for name in ("code", "message", "path"))
            raise SaltFileError(code, f"{host.instance}: {message}", path=path, **facts)
        return answer

    async def _ask_minion(
        self,
        verb: str,
        host: Host,
        entry: Mapping[str, object],
        *,
        limit_s: float,
        files: Mapping[str, str] = MappingProxyType({}),
        told: asyncio.Event | None = None,
    ) -> Any:
        """Return what the minion answers; raise where there is none, or none with our module."""
        facts = self._facts(host)
        try:
            answer = await self._session().tell(
                verb,
                facts["minion"],
                {"deploy_path": host.deploy_path, **entry},
                files=files,
                limit_s=limit_s,
                told=told or asyncio.Event(),
            )
        except HostUnreachableError as error:
            raise HostUnreachableError(error.message, **facts) from error
        if isinstance(answer, str) and answer.rstrip(".").endswith("is not available"):
            reason = (
                f"minion {facts['minion']} has no execution module rollwave, or an old one; install it: docs/salt.md"
            )
            raise SaltFileError("host.salt_module", reason, **facts)
        return answer

    def _facts(self, host: Host) -> dict[str, str]:
        minion = self._minion_id.format(server=host.server)
        return {"server": host.server, "instance": host.instance, "minion": minion}

    def _as_seen_there(self, plan: HostPlan) -> HostPlan:
        """Return the plan with a URL of the package that the server can use: Salt is no way for large files."""
        url = plan.package.url
        if self._packages_url is None or not url.startswith("file:"):
            return plan
        folder, name = url.split("/")[-2:]
        reachable = f"{self._packages_url.rstrip('/')}/{folder}/{name}"
        return replace(plan, package=replace(plan.package, url=reachable))

    def _session(self) -> SaltJobs:
        loop = asyncio.get_running_loop()
        jobs = self._jobs.get(loop)
        if jobs is None:
            jobs = self._jobs[loop] = self._open_jobs()
            jobs.start()
        return jobs
