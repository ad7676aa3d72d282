"""The SSH executor: servers that are reached through the sshd that they have anyway."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Mapping  # noqa: TC003  msgspec looks at it
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

import asyncssh
from msgspec import Struct

from rollwave.executors.command_line import arguments_of
from rollwave.executors.errors import HostNotReadyError, unknown
from rollwave.executors.host_check import CHECK_LIMIT_S, check_arguments, parse_check
from rollwave.executors.patience import Patience
from rollwave.executors.plan_file import HashedFile, plan_file
from rollwave.executors.report import parse_report
from rollwave.executors.ssh_connections import SshConnections, SshLogin, acknowledging
from rollwave.ports.executor import HostUnknownError, HostVerb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rollwave.executors.ssh_connections import SshAccess
    from rollwave.ports.executor import Host, HostAnswer, HostCommand, HostQuestion, HostReport

_KEPT_BYTES: Final = 256 * 1024
"""How much of a command's output is kept: the report is in its last line."""

_CHUNK_BYTES: Final = 128 * 1024

_AHEAD_BYTES: Final = 512 * 1024
"""
How much of a package is sent before the host has said that it is there. What it has not read yet, its sshd keeps, and
that takes it several times longer than to pass it on; on a way of a tenth of a second, this much fills 40 Mbit/s.
"""

_MARK: Final = b'{"rollwave": '
"""How a line of the porter begins."""


class SshExecutor:
    """
    `Executor` for servers with OpenSSH, Python 3.8 or newer and nothing of ours.

    A command is one round trip in a session of an open connection. In the session runs the porter (see
    `rollwave.host`), which asks for what is missing on the host, gets it over the same session, and runs the driver.
    Packages of a file store are brought in the same way, so that a server needs to reach nobody. Verbs run detached: a
    connection that breaks does not stop them, and their journal is read back.

    Args:
        driver: Source of the host driver.
        porter: Source of the porter.
        trusted_keys: PEM of each public key by its id; hosts trust exactly these.
        access: How to get to servers.
        python: Python on the servers.
        sudo: What to put before it, for example ``("sudo", "-n", "-u", "shop")``.
        parallel: Most servers that are spoken to at once.
        patience: How long it waits, and for what.

    Raises:
        ValueError: If *access* names what cannot be read; the message begins with the name of the field.
    """

    def __init__(
        self,
        *,
        driver: bytes,
        porter: str,
        trusted_keys: Mapping[str, bytes],
        access: SshAccess,
        python: str = "python3",
        sudo: Sequence[str] = (),
        parallel: int = 50,
        patience: Patience = Patience(),  # noqa: B008  it is frozen
    ) -> None:
        self._driver = HashedFile.of(driver)
        self._keys = {f"{key_id}.pem": pem.decode("ascii") for key_id, pem in trusted_keys.items()}
        # Neither the account's environment nor its packages have a say; -S alone saves a third of the time.
        self._program = shlex.join([*sudo, python, "-I", "-S", "-c", porter])
        self._python = (*sudo, python, "-I")
        self._login = SshLogin(access)
        self._parallel = parallel
        self._patience = patience
        self._outlets: dict[asyncio.AbstractEventLoop, _Outlet] = {}

    async def run(self, command: HostCommand) -> HostReport:
        """Have the verb done; see `Executor.run`."""
        return await self._patience.run(command, self._ask)

    async def status(self, command: HostCommand) -> HostReport:
        """Read the journal back; see `Executor.status`."""
        return await self._ask(command, None)

    async def set_drain(self, host: Host, *, drained: bool) -> None:
        """
        Create or remove the host's drain file, which its health page watches; durable on return, and idempotent.

        Raises:
            HostUnknownError: If the host did not say that it is done.
        """
        await self._drain(host, wanted=drained)

    async def is_drained(self, host: Host) -> bool:
        """
        Say whether the host's drain file is there.

        Raises:
            HostUnknownError: If the host did not say.
        """
        return await self._drain(host, wanted=None)

    async def check(self, question: HostQuestion) -> HostAnswer:
        """Have the driver look at the server; see `ChecksHosts.check`."""
        # From stdin, in a session of its own: the server is left as it was.
        program = shlex.join([*self._python, "-", *check_arguments(question)])
        outlet, host = self._outlet(), question.host
        try:
            async with (
                outlet.slots,
                _told(host, outlet.connections, limit_s=CHECK_LIMIT_S),
                outlet.connections.use(host) as connection,
                asyncio.timeout(CHECK_LIMIT_S),
            ):
                done = await connection.run(program, input=self._driver.content, encoding=None)
        except _BrokenError as error:
            raise HostUnknownError(f"the check of {host.server}: {error}", server=host.server) from error
        assert isinstance(done.stdout, bytes)
        assert isinstance(done.stderr, bytes)
        exit_code = -1 if done.exit_status is None else done.exit_status
        return parse_check(question, exit_code=exit_code, stdout=done.stdout, stderr=done.stderr)

    async def close(self) -> None:
        """Close the connections of this event loop; a later command opens them again."""
        await self._outlet().connections.close()

    async def _ask(self, command: HostCommand, wait_s: float | None) -> HostReport:
        plan, host = plan_file(command.plan), command.plan.host
        home = f"{host.deploy_path}/.rollwave"
        arguments = arguments_of(
            command, plan_path=f"{home}/plans/{plan.sha256}.json", plan_hash=plan.sha256, wait_s=wait_s
        )
        order = {
            "deploy_path": host.deploy_path,
            "keys": self._keys,
            "driver": self._driver.sha256,
            "plan": plan.sha256,
            "words": arguments,
            "package": _package_to_bring(command) if wait_s is not None else None,
        }
        supply = {"driver": self._driver.content.decode(), "plan": plan.content.decode()}
        brought = _Supply(files=supply, package_path=_store_path(command), package_size=command.plan.package.size)
        try:
            answer = await self._converse(host, order, brought, limit_s=(wait_s or 0) + self._patience.answer_s)
        except _BrokenError as error:
            raise unknown(command, str(error)) from error
        return parse_report(command, exit_code=answer.exit_code, stdout=answer.stdout, stderr=answer.stderr)

    async def _drain(self, host: Host, *, wanted: bool | None) -> bool:
        order = {"deploy_path": host.deploy_path, "drain": wanted}
        try:
            answer = await self._converse(host, order, _Supply(files={}), limit_s=self._patience.answer_s)
            is_there = answer.heard.get("drained")
            if not isinstance(is_there, bool):
                last_words = answer.stderr[-300:].decode(errors="replace").strip()
                raise _BrokenError(f"no answer, exit code {answer.exit_code}: {last_words}")  # noqa: TRY301
        except _BrokenError as error:
            message = f"drain file of {host.instance}: {error}"
            raise HostUnknownError(message, instance=host.instance, server=host.server) from error
        return is_there

    async def _converse(self, host: Host, order: Mapping[str, Any], supply: _Supply, *, limit_s: float) -> _Answer:
        """
        Give the porter *order*, and what it asks for; return its answer.

        Raises:
            HostUnreachableError, HostNotReadyError: Nothing was begun by this.
            _BrokenError: Nobody knows.
        """
        outlet = self._outlet()
        async with outlet.slots, _told(host, outlet.connections, limit_s=limit_s):
            try:
                answer = await self._order(outlet, host, order, supply, limit_s=limit_s)
            except (asyncssh.Error, ConnectionError):
                # Mostly the connection broke while nobody used it, and we are the first to notice. And if this order
                # was begun: the host does nothing twice.
                answer = await self._order(outlet, host, order, supply, limit_s=limit_s)
        if refusal := answer.heard.get("refuses"):
            code, message = refusal
            raise HostRefusalError(code, f"{host.instance}: {message}", server=host.server, instance=host.instance)
        return answer

    async def _order(
        self, outlet: _Outlet, host: Host, order: Mapping[str, Any], supply: _Supply, *, limit_s: float
    ) -> _Answer:
        async with outlet.connections.use(host) as connection, asyncio.timeout(limit_s) as limit:
            idle = outlet.idle.setdefault(connection, [])
            while idle and not idle[-1].is_open:
                idle.pop()
            if idle:
                talk = idle.pop()
            else:
                talk = _Talk()
                with acknowledging(connection):
                    await connection.create_session(lambda: talk, self._program, encoding=None)
            try:
                answer = await talk.answer(order, supply, limit, self._patience)
            except BaseException:
                talk.close()  # what it says later belongs to nobody
                raise
            if talk.is_open:
                idle.append(talk)
            return answer

    def _outlet(self) -> _Outlet:
        loop = asyncio.get_running_loop()
        if loop not in self._outlets:
            self._outlets = {one: outlet for one, outlet in self._outlets.items() if not one.is_closed()}
            self._outlets[loop] = _Outlet(self._login, self._parallel)
        return self._outlets[loop]


@asynccontextmanager
async def _told(host: Host, connections: SshConnections, *, limit_s: float) -> AsyncIterator[None]:
    """Turn what breaks a connection into what nobody knows."""
    try:
        yield
    except TimeoutError as error:
        connections.distrust(host)
        raise _BrokenError(f"no answer within {limit_s:g} s") from error
    except (OSError, asyncssh.Error) as error:
        reason = str(error) or type(error).__name__
        raise _BrokenError(f"the SSH connection to {host.server} broke: {reason}") from error


class _Outlet:
    """What belongs to one event loop."""

    def __init__(self, login: SshLogin, parallel: int) -> None:
        self.connections = SshConnections(login)
        self.slots = asyncio.Semaphore(parallel)
        self.idle: WeakKeyDictionary[asyncssh.SSHClientConnection, list[_Talk]] = WeakKeyDictionary()


class HostRefusalError(HostNotReadyError):
    """Something has to be put right first, on the host or here; *code* says what, as in a report."""

    def __init__(self, code: str, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = code  # type: ignore[misc]  # the host names it


class _BrokenError(Exception):
    """No answer came, or none that can be understood."""


class _Supply(Struct, frozen=True, kw_only=True):
    """What the porter may ask for: files as text by their role; where the archive is on our own disk, and its size."""

    files: Mapping[str, str]
    package_path: str | None = None
    package_size: int = 0


class _Answer(Struct, frozen=True, kw_only=True):
    """What came of an order: the exit code, what the porter said, the end of what was printed beside that."""

    exit_code: int
    heard: dict[str, Any]
    stdout: bytes
    stderr: bytes


class _Talk(asyncssh.SSHClientSession[bytes]):
    """One session with a porter, which takes one order after the other."""

    def __init__(self) -> None:
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._heard: dict[str, Any] = {}
        self._news = asyncio.Event()
        self._has_ended = False
        self._was_asked = False
        self._trouble: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether the porter can take another order."""
        return not self._has_ended and not self._channel.is_closing()

    @property
    def _is_over(self) -> bool:
        """Whether nothing more comes of this order."""
        return self._has_ended or "done" in self._heard

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Remember where to write."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Keep the end of it, and take out the lines that are the porter's."""
        kept = self._stdout if datatype is None else self._stderr
        kept += data
        if datatype is None:
            lines = []
            while self._stdout.endswith(b"\n"):
                begin = self._stdout.rfind(b"\n", 0, -1) + 1
                if not self._stdout.startswith(_MARK, begin):
                    break
                lines.append(bytes(self._stdout[begin:]))
                del self._stdout[begin:]
            for line in reversed(lines):
                self._listen(line)
        del kept[:-_KEPT_BYTES]

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        self._has_ended, self._trouble = True, exc
        self._news.set()
        self._may_write.set()

    def pause_writing(self) -> None:
        """Let the host catch up."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._may_write.set()

    def close(self) -> None:
        """End the session; what runs detached on the host goes on."""
        self._channel.abort()

    async def answer(
        self, order: Mapping[str, Any], supply: _Supply, limit: asyncio.Timeout, patience: Patience
    ) -> _Answer:
        """
        Have *order* carried out.

        Raises:
            _BrokenError: If the session ended without an exit code.
            OSError, asyncssh.Error: If the connection broke.
        """
        self._heard = {}
        self._stdout.clear()
        self._stderr.clear()
        try:
            self._channel.write(_line(order))
        except BrokenPipeError:
            if self._was_asked:
                raise  # it ended while nobody used it: another session takes the order
            # The program could not even begin; its exit code and last words, which tell why, are on their way.
        self._was_asked = True
        while not self._is_over:
            self._news.clear()
            if needs := self._heard.pop("needs", None):
                await self._supply(needs, supply, limit, patience)
            await self._news.wait()
        if self._trouble is not None:
            raise self._trouble
        exit_code = 0 if "done" in self._heard else self._channel.get_returncode()
        if exit_code is None:
            raise _BrokenError("the SSH session ended without an exit code")
        return _Answer(exit_code=exit_code, heard=self._heard, stdout=bytes(self._stdout), stderr=bytes(self._stderr))

    async def _supply(self, needs: Sequence[str], supply: _Supply, limit: asyncio.Timeout, patience: Patience) -> None:
        loop = asyncio.get_running_loop()
        allowed_s = (limit.when() or loop.time()) - loop.time()
        self._channel.write(_line({name: text for name, text in supply.files.items() if name in needs}))
        if "package" in needs and supply.package_path is not None:
            limit.reschedule(loop.time() + patience.download_s)
            await self._send(supply.package_path, supply.package_size)
            limit.reschedule(loop.time() + allowed_s)

    async def _send(self, path: str, size: int) -> None:
        try:
            file = await asyncio.to_thread(open, path, "rb")
        except OSError as error:
            raise HostRefusalError("package.fetch_failed", f"{path} cannot be read here: {error.strerror}") from error
        with file:
            if os.fstat(file.fileno()).st_size != size:
                # One byte too many would be taken for the next order, one too few be waited for.
                raise HostRefusalError(
                    "package.fetch_failed", f"{path} does not have the {size} bytes that were signed"
                )
            sent = 0
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await self._may_write.wait()
                while sent - self._heard.get("have", 0) > _AHEAD_BYTES and not self._is_over:
                    self._news.clear()
                    await self._news.wait()
                if self._is_over:
                    self.close()  # it would take what is still on its way for an order
                    return
                self._channel.write(chunk)
                sent += len(chunk)

    def _listen(self, line: bytes) -> None:
        with suppress(ValueError, KeyError, TypeError):
            self._heard |= json.loads(line)["rollwave"]
            self._news.set()


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"


def _package_to_bring(command: HostCommand) -> dict[str, object] | None:
    """Return which package the host cannot fetch by itself; None where it can, or need not."""
    package = command.plan.package
    if command.verb is not HostVerb.DOWNLOAD or _store_path(command) is None:
        return None
    return {"sha256": package.sha256, "size": package.size, "version": package.version}


def _store_path(command: HostCommand) -> str | None:
    """Return where the archive is on our own disk."""
    url = urlsplit(command.plan.package.url)
    return unquote(url.path) if url.scheme == "file" else None
