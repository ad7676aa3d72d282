"""The SSH executor: servers that are reached through the sshd that they have anyway."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import asyncssh

from rollwave.executors.command_line import arguments_of
from rollwave.executors.errors import HostNotReadyError, unknown
from rollwave.executors.patience import Patience
from rollwave.executors.plan_file import HashedFile, plan_file
from rollwave.executors.report import parse_report
from rollwave.executors.ssh_connections import SshConnections, SshLogin
from rollwave.ports.executor import HostUnknownError, HostVerb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.executors.ssh_connections import SshAccess
    from rollwave.ports.executor import Host, HostCommand, HostReport

_KEPT_BYTES: Final = 256 * 1024
"""How much of a command's output is kept: the report is in its last line."""

_CHUNK_BYTES: Final = 256 * 1024

_MARK: Final = b'{"rollwave": '
"""How a line of the porter begins."""


class SshExecutor:
    """
    `Executor` for servers with OpenSSH, Python 3.8 or newer and nothing of ours.

    A command is one session on an open connection: it runs the porter (see `rollwave.host`), which asks for what is
    missing on the host, gets it over the same session, and becomes the driver. Packages of a file store are brought in
    the same way, so that a server needs to reach nobody. Verbs run detached: a connection that breaks does not stop
    them, and their journal is read back.

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
        talk = _Talk(supply, package_path=_store_path(command))
        try:
            exit_code = await self._converse(host, order, talk, limit_s=(wait_s or 0) + self._patience.answer_s)
        except _BrokenError as error:
            raise unknown(command, str(error)) from error
        return parse_report(command, exit_code=exit_code, stdout=bytes(talk.stdout), stderr=bytes(talk.stderr))

    async def _drain(self, host: Host, *, wanted: bool | None) -> bool:
        talk = _Talk({}, package_path=None)
        order = {"deploy_path": host.deploy_path, "drain": wanted}
        try:
            exit_code = await self._converse(host, order, talk, limit_s=self._patience.answer_s)
            answer = talk.heard.get("drained")
            if not isinstance(answer, bool):
                raise _BrokenError(f"no answer, exit code {exit_code}: {talk.last_words}")  # noqa: TRY301
        except _BrokenError as error:
            message = f"drain file of {host.instance}: {error}"
            raise HostUnknownError(message, instance=host.instance, server=host.server) from error
        return answer

    async def _converse(self, host: Host, order: Mapping[str, Any], talk: _Talk, *, limit_s: float) -> int:
        """
        Run the porter with *order* and give it what it asks for; return the exit code.

        Raises:
            HostUnreachableError, HostNotReadyError: Nothing was begun by this.
            _BrokenError: Nobody knows.
        """
        outlet = self._outlet()
        program = f"{self._program} {shlex.quote(json.dumps(order))}"
        async with outlet.slots:
            try:
                try:
                    channel = await self._session(outlet, host, program, talk, limit_s=limit_s)
                except asyncssh.ChannelOpenError:
                    # The connection broke while nobody used it, and we are the first to notice. Nothing was begun.
                    channel = await self._session(outlet, host, program, talk, limit_s=limit_s)
            except TimeoutError as error:
                outlet.connections.distrust(host)
                raise _BrokenError(f"no answer within {limit_s:g} s") from error
            except (OSError, asyncssh.Error) as error:
                reason = str(error) or type(error).__name__
                raise _BrokenError(f"the SSH connection to {host.server} broke: {reason}") from error
        exit_code = channel.get_returncode()
        if exit_code is None:
            raise _BrokenError(f"the SSH session on {host.server} ended without an exit code")
        if refusal := talk.heard.get("refuses"):
            code, message = refusal
            raise HostRefusalError(code, f"{host.instance}: {message}", server=host.server, instance=host.instance)
        return exit_code

    async def _session(
        self, outlet: _Outlet, host: Host, program: str, talk: _Talk, *, limit_s: float
    ) -> asyncssh.SSHClientChannel[bytes]:
        """Have *talk* with the program; return the channel, closed."""
        async with outlet.connections.use(host) as connection, asyncio.timeout(limit_s) as limit:
            channel, _ = await connection.create_session(lambda: talk, program, encoding=None)
            try:
                await talk.supply(channel, limit, self._patience)
                await talk.ended
            finally:
                channel.abort()
        return channel

    def _outlet(self) -> _Outlet:
        loop = asyncio.get_running_loop()
        if loop not in self._outlets:
            self._outlets = {one: outlet for one, outlet in self._outlets.items() if not one.is_closed()}
            self._outlets[loop] = _Outlet(self._login, self._parallel)
        return self._outlets[loop]


class _Outlet:
    """What belongs to one event loop."""

    def __init__(self, login: SshLogin, parallel: int) -> None:
        self.connections = SshConnections(login)
        self.slots = asyncio.Semaphore(parallel)


class HostRefusalError(HostNotReadyError):
    """Something has to be put right first, on the host or here; *code* says what, as in a report."""

    def __init__(self, code: str, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = code  # type: ignore[misc]  # the host names it


class _BrokenError(Exception):
    """No answer came, or none that can be understood."""


class _Talk(asyncssh.SSHClientSession[bytes]):
    """
    One session with the porter, and the driver that it becomes.

    Attributes:
        heard: What the porter said, by its words.
        stdout, stderr: The end of what was printed beside that.
        ended: Done once the session is over; with an error where it broke.
    """

    def __init__(self, supply: Mapping[str, str], *, package_path: str | None) -> None:
        loop = asyncio.get_running_loop()
        self._supply = supply
        self._package_path = package_path
        self._asked = loop.create_future()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.heard: dict[str, Any] = {}
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.ended: asyncio.Future[None] = loop.create_future()

    @property
    def last_words(self) -> str:
        """The last line of what went wrong."""
        return bytes(self.stderr).rstrip().rpartition(b"\n")[2].decode(errors="replace")[:300]

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Keep the end of it, and look for a line of the porter."""
        kept = self.stdout if datatype is None else self.stderr
        kept += data
        if datatype is None and self.stdout.endswith(b"\n"):
            line = bytes(self.stdout[:-1]).rpartition(b"\n")[2]
            if line.startswith(_MARK):
                self._listen(line)
                self.stdout.clear()
        del kept[:-_KEPT_BYTES]

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        if not self.ended.done():
            if exc is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(exc)
                self.ended.exception()  # nobody may be left to hear it
        if not self._asked.done():
            self._asked.set_result(())
        self._may_write.set()

    def pause_writing(self) -> None:
        """Let the host catch up."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._may_write.set()

    async def supply(
        self, channel: asyncssh.SSHClientChannel[bytes], limit: asyncio.Timeout, patience: Patience
    ) -> None:
        """Send what the porter says is missing; return when nothing is."""
        needs = await self._asked
        if not needs:
            return
        loop = asyncio.get_running_loop()
        allowed_s = (limit.when() or loop.time()) - loop.time()
        files = {name: self._supply[name] for name in needs if name in self._supply}
        channel.write(json.dumps(files).encode("ascii") + b"\n")
        if "package" in needs and self._package_path is not None:
            limit.reschedule(loop.time() + patience.download_s)
            await self._send(channel, self._package_path)
            limit.reschedule(loop.time() + allowed_s)
        channel.write_eof()

    async def _send(self, channel: asyncssh.SSHClientChannel[bytes], path: str) -> None:
        try:
            file = await asyncio.to_thread(open, path, "rb")
        except OSError as error:
            raise HostRefusalError("package.fetch_failed", f"{path} cannot be read here: {error.strerror}") from error
        with file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await self._may_write.wait()
                if channel.is_closing():
                    return
                channel.write(chunk)

    def _listen(self, line: bytes) -> None:
        try:
            said = json.loads(line)["rollwave"]
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(said, dict):
            self.heard |= said
        if "needs" in self.heard and not self._asked.done():
            self._asked.set_result(self.heard["needs"])


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
