"""
nginx, through one file for each pool and a reload.

A pool is the file ``<folder>/<pool>.conf`` with its ``upstream`` block (`PoolFile`); a member is in traffic where its
``server`` line does not say ``down``. nginx takes a new file by replacing its worker processes: the new ones serve at
once, the old ones answer what they have begun and end. So a change is in force when nginx names the new generation and
no old worker accepts any more, and a member is drained when every worker has ended that could still know it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from rollwave.balancers.drain import wait_until
from rollwave.balancers.nginx_file import DIAL, GENERATION_PATH, NAME, PoolFile, PoolFileError
from rollwave.balancers.pool_writer import PoolWriter
from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

TEST: Final = ("nginx", "-t")
RELOAD: Final = ("nginx", "-s", "reload")

_REAP_S: Final = 1.0
"""How long the end of a command that was killed is waited for, in seconds."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Change:
    """What is wanted of one member until some time; without an address only that nginx loads the pool's file."""

    pool: str
    dial: str = ""
    is_in: bool = False
    until: datetime | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class _Worker:
    """One worker process; its start tells it from a later one with the same number."""

    pid: int
    started: str


class _RefusedError(BalancerUnknownError):
    """A command has ended, and says that it did nothing."""


class NginxBalancer:
    """
    Switches members of upstream files, and has nginx on this machine load them.

    Args:
        folder: Where the pools' files are, which ``nginx.conf`` includes and this process may write.
        status: Address ``host:port`` on the loopback interface where nginx is to name the generation it has loaded.
        pid_file: Where nginx writes the number of its master process.
        clock: Waiting and time.
        test: The command that tells whether nginx could load its files.
        reload: The command that makes nginx load them.
        timeout_s: Most time for one answer of nginx, in seconds.
        load_timeout_s: Most time for each of: the turn of another process, a test, a reload, in seconds.
        write_timeout_s: A change that has not been written by then is given up, in seconds: later it could undo what
            another process was told meanwhile. A file that is loaded late does no harm, since it is the latest.
        gather_s: How long a change waits for others, of whatever pool, in seconds: they go into one reload.
        poll_s: How often nginx is looked at while something is awaited, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        status: str,
        pid_file: Path,
        clock: Clock,
        test: Sequence[str] = TEST,
        reload: Sequence[str] = RELOAD,
        timeout_s: float = 3.0,
        load_timeout_s: float = 10.0,
        write_timeout_s: float = 2.5,
        gather_s: float = 0.05,
        poll_s: float = 0.05,
    ) -> None:
        self._folder = folder
        self._status = status
        self._pid_file = pid_file
        self._clock = clock
        self._test = tuple(test)
        self._reload = tuple(reload)
        self._timeout_s = timeout_s
        self._load_timeout_s = load_timeout_s
        self._write_timeout = timedelta(seconds=write_timeout_s)
        self._poll_s = poll_s
        # No connection is kept: it would be one to a worker that has been replaced.
        limits = httpx.Limits(max_connections=8, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(timeout_s, pool=None), trust_env=False)
        self._writer: PoolWriter[_Change] = PoolWriter(self._write, clock=clock, gather_s=gather_s)
        self._reads: dict[str, SharedRead[PoolFile]] = {}
        self._leaving: dict[tuple[str, str], frozenset[_Worker]] = {}
        """By pool and address of who is out: the workers that may still have a request for it."""

    async def aclose(self) -> None:
        """Close the connections to nginx."""
        await self._http.aclose()

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Switch *member* to ``down``, then wait until every worker has ended that could still know it."""
        await self._put(member, is_in=False)

        async def is_drained() -> bool:
            return not self._is_leaving(member, self._workers())

        return await wait_until(is_drained, clock=self._clock, timeout_s=drain_timeout_s, poll_s=self._poll_s)

    async def mark_up(self, member: Member) -> None:
        """Put *member* into its pool; nginx has loaded it, and no old worker takes requests, when this returns."""
        await self._put(member, is_in=True)

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """
        Return what the file says that nginx has loaded.

        A file that was changed by hand is believed as it stands, loaded or not: what is wrong in it is put right, and
        loaded, by the next change.
        """
        if not members:
            return {}
        dials = (await self._loaded(members[0].pool)).dials
        workers = self._workers()

        def traffic_of(member: Member) -> Traffic:
            if dial_of(member) in dials:
                return Traffic.IN
            return Traffic.DRAINING if self._is_leaving(member, workers) else Traffic.OUT

        return {member.name: traffic_of(member) for member in members}

    async def _put(self, member: Member, *, is_in: bool) -> None:
        self._file(member.pool)  # one that is missing fails alone, and not with all who share its reload
        until = self._clock.now() + self._write_timeout
        change = _Change(pool=member.pool, dial=dial_of(member), is_in=is_in, until=until)
        await self._writer.put(change)
        if change.is_late:
            raise BalancerUnknownError(
                f"nginx was busy with other changes for {self._write_timeout.total_seconds():g} s, and that of "
                f"{member.name} was not begun",
                member=member.name,
            )

    def _is_leaving(self, member: Member, workers: Mapping[_Worker, bool]) -> bool:
        # Who was taken out before this process came may be known to any worker that is ending.
        ending = (worker for worker, accepts in workers.items() if not accepts)
        return any(worker in workers for worker in self._leaving.get((member.pool, dial_of(member)), ending))

    async def _loaded(self, pool: str) -> PoolFile:
        """Return the file of *pool*, loaded by nginx; finish a change that was interrupted before it was."""
        if pool not in self._reads:

            async def read() -> PoolFile:
                self._workers()
                file = self._file(pool)
                if not file.is_by_hand and not await self._serves(file):
                    # Whoever is at it now is waited for. Who died over it has left it to us.
                    await self._writer.put(_Change(pool=pool))
                    file = self._file(pool)
                return file

            self._reads[pool] = SharedRead(read)
        return await self._reads[pool].get()

    async def _write(self, changes: Sequence[_Change]) -> None:
        """Bring *changes* about by one reload at most."""
        async with self._alone():
            before = self._workers()
            old = {change.pool: self._file(change.pool) for change in changes}
            served = {pool for pool, file in old.items() if await self._serves(file)}
            new = self._with_changes(old, changes)
            stale = {
                pool: file
                for pool, file in new.items()
                if old[pool].is_by_hand or old[pool].body != file.body or pool not in served
            }
            if stale:
                await self._load(stale, before)
        ending = frozenset(worker for worker, accepts in before.items() if not accepts)
        for change in changes:
            key = (change.pool, change.dial)
            if change.is_late or not change.dial:
                continue
            if change.is_in:
                self._leaving.pop(key, None)
            elif change.pool in stale:
                self._leaving[key] = frozenset(before)
            else:
                self._leaving.setdefault(key, ending)

    def _with_changes(self, files: Mapping[str, PoolFile], changes: Sequence[_Change]) -> dict[str, PoolFile]:
        now = self._clock.now()
        wanted: dict[str, dict[str, bool]] = {pool: {} for pool in files}
        for change in changes:
            change.is_late = change.until is not None and change.until < now
            if change.dial and not change.is_late:
                wanted[change.pool][change.dial] = change.is_in
        return {pool: file.with_members(wanted[pool], status=self._status) for pool, file in files.items()}

    async def _load(self, files: Mapping[str, PoolFile], before: Mapping[_Worker, bool]) -> None:
        """Write *files* and have nginx load them; as before where it would not."""
        texts = {self._path(pool): file.render(status=self._status) for pool, file in files.items()}
        earlier = {path: path.read_text(encoding="utf-8") for path in texts}
        may_be_told = False
        try:
            _replace(texts)
            await self._run(self._test)
            may_be_told = True
            await self._run(self._reload)
        except BaseException as error:
            # Else whatever next starts or reloads nginx would stumble over it, or change who is in traffic. But once
            # nginx may have been told, nobody knows which of the two it reads: then whoever looks next has it loaded.
            if not may_be_told or isinstance(error, _RefusedError):
                with suppress(OSError):
                    _replace(earlier)
            if isinstance(error, OSError):
                raise BalancerUnknownError(
                    f"the files of nginx in {self._folder} cannot be written ({error}); "
                    f"they and their folder must belong to the user that runs Rollwave",
                    folder=str(self._folder),
                ) from error
            raise

        async def is_loaded() -> bool:
            now = self._workers()
            return not any(now.get(worker) for worker in before) and all(
                [await self._serves(file) for file in files.values()]
            )

        if not await wait_until(is_loaded, clock=self._clock, timeout_s=self._load_timeout_s, poll_s=self._poll_s):
            raise BalancerUnknownError(
                f"nginx was told to reload and has not done so within {self._load_timeout_s:g} s; its error log says "
                f"why (does nginx.conf include {self._folder}/*.conf, and is {self._status} free for it?)",
                pools=sorted(files),
            )

    async def _serves(self, file: PoolFile) -> bool:
        """Say whether nginx has loaded *file*."""
        url = f"http://{self._status}{GENERATION_PATH}"
        try:
            answer = await self._http.get(url, headers={"Host": file.pool})
        except httpx.TimeoutException as error:
            raise BalancerUnknownError(
                f"nginx did not answer at {self._status} within {self._timeout_s:g} s; see that it runs",
                status=self._status,
            ) from error
        except httpx.TransportError:
            return False  # before the first reload nobody listens there
        # A pool that nginx has not loaded yet is answered by another one's server.
        return answer.is_success and answer.text == f"{file.pool} {file.generation}"

    def _workers(self) -> dict[_Worker, bool]:
        """Return the worker processes, and of each whether it accepts requests."""
        try:
            master = int(self._pid_file.read_text(encoding="ascii"))
            if not _title(master).startswith("nginx: master process"):
                raise ProcessLookupError(f"process {master} is not nginx")
            children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
        except (OSError, ValueError) as error:
            raise BalancerUnknownError(
                f"nginx does not run: {self._pid_file} names no master process of it ({error}); start it, or see that "
                f"this is the file of its directive pid",
                pid_file=str(self._pid_file),
            ) from error
        workers = {}
        for child in map(int, children):
            with suppress(OSError):  # it has just ended
                title = _title(child)
                if title.startswith("nginx: worker process"):
                    workers[_Worker(child, _started(child))] = "shutting down" not in title
        return workers

    def _path(self, pool: str) -> Path:
        return self._folder / f"{pool}.conf"

    def _file(self, pool: str) -> PoolFile:
        path = self._path(pool)
        if not NAME.fullmatch(pool):
            raise BalancerPoolError(
                f"pool {pool!r} cannot be one of nginx: expected letters, digits, dots, dashes and underscores",
                pool=pool,
            )
        try:
            return PoolFile.parse(pool, path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BalancerPoolError(
                f"nginx has no pool {pool!r}: {path} is missing; create it with a block 'upstream {pool} {{ ... }}'",
                pool=pool,
            ) from error
        except PoolFileError as error:
            raise BalancerPoolError(f"{path} cannot be used: {error}", pool=pool) from error
        except (OSError, UnicodeDecodeError) as error:
            raise BalancerUnknownError(f"{path} cannot be read: {error}", pool=pool) from error

    async def _run(self, command: Sequence[str]) -> None:
        name = " ".join(command)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                async with asyncio.timeout(self._load_timeout_s):
                    said = (await process.communicate())[0].decode(errors="replace").strip()
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError, PermissionError, TimeoutError):
                        process.kill()
                        # Somebody has to take note of its end, and whoever was cancelled may be the last one here.
                        async with asyncio.timeout(_REAP_S):
                            await process.wait()
        except TimeoutError as error:
            message = f"{name} failed: no end within {self._load_timeout_s:g} s"
            raise BalancerUnknownError(message, command=name) from error
        except OSError as error:
            raise _RefusedError(f"{name} failed: {error}; nginx goes on with what it had", command=name) from error
        if process.returncode != 0:
            said = said or f"exit code {process.returncode}"
            raise _RefusedError(f"{name} failed: {said}; nginx goes on with what it had", command=name)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep out the other processes of Rollwave on this machine."""
        try:
            number = os.open(self._folder, os.O_RDONLY)
        except OSError as error:
            raise BalancerPoolError(f"the folder of nginx's pools cannot be used: {error}") from error
        try:

            async def is_ours() -> bool:
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            if not await wait_until(is_ours, clock=self._clock, timeout_s=self._load_timeout_s, poll_s=self._poll_s):
                raise BalancerUnknownError(
                    f"another process has been changing {self._folder} for {self._load_timeout_s:g} s",
                    folder=str(self._folder),
                )
            yield
        finally:
            os.close(number)


def dial_of(member: Member) -> str:
    """
    Return the address as nginx writes it: ``host:port``, with brackets around an IPv6 address.

    Raises:
        BalancerPoolError: If it would end the directive that it is to stand in.
    """
    host = f"[{member.address}]" if ":" in member.address else member.address
    dial = f"{host}:{member.port}"
    if not DIAL.fullmatch(dial):
        raise BalancerPoolError(f"{dial!r} of {member.name} cannot be an address in nginx", member=member.name)
    return dial


def _replace(texts: Mapping[Path, str]) -> None:
    """Replace each file as a whole: nginx, whoever reloads it, reads the old one or the new one."""
    for path, text in texts.items():
        draft = path.with_name(f".{path.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _started(pid: int) -> str:
    # The name of the program, in brackets, may hold anything; the start is the 20th word after it.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
