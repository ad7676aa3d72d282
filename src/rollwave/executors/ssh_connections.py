"""SSH connections: one per server, opened when first needed, shared, kept alive, closed after a long silence."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import asyncssh
from msgspec import Struct

from rollwave.executors.errors import HostNotReadyError
from rollwave.ports.executor import HostUnknownError, HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from rollwave.ports.executor import Host

KEEPALIVE_S: Final = 2
"""How often a connection is tried that somebody waits on. It is sshd that answers, however slow a command is."""

IDLE_KEEPALIVE_S: Final = 10
"""The same, while nobody waits: there may be thousands."""

_UNANSWERED: Final = 2
"""After so many tries without a sign of life, and the time for one more, a connection is broken."""

SESSIONS_PER_CONNECTION: Final = 8
"""Most commands at once over one connection: OpenSSH allows ten (``MaxSessions``)."""

_ACKNOWLEDGE_EVERY_S: Final = 0.003

asyncssh.set_log_level(logging.WARNING)  # every connection and channel is two lines of its own otherwise


class HostKeyMismatchError(HostNotReadyError):
    """The server shows another host key than the one that is known: a new machine, or somebody in between."""

    code = "host.key_mismatch"


class HostKeyUnknownError(HostNotReadyError):
    """Nothing says which host key the server has."""

    code = "host.key_unknown"


class LoginRefusedError(HostNotReadyError):
    """The server does not let us in."""

    code = "host.login_refused"


class SshAccess(Struct, frozen=True, kw_only=True):
    """
    How to get to servers.

    Attributes:
        user: Account there; None: the name of our own.
        port: TCP port of their sshd.
        identity: Private key; None: the SSH agent, and the usual files in ``~/.ssh``.
        known_hosts: File with the host keys of servers and jump hosts; read again when it changes.
        jump: What to go through, ``[USER@]HOST[:PORT]``, the first of them first.
        connect_timeout_s: After how long a server that does not answer is unreachable, in seconds.
        idle_s: After how long without a command a connection is closed, in seconds.
    """

    user: str | None = None
    port: int = 22
    identity: Path | None = None
    known_hosts: Path
    jump: tuple[str, ...] = ()
    connect_timeout_s: float = 5.0
    idle_s: float = 600.0


class _Place(Struct, frozen=True):
    """Where an sshd is, and as whom we go there."""

    user: str | None
    address: str
    port: int


class _Door:
    """The way into one server: open, being opened, or neither."""

    def __init__(self) -> None:
        self.opening: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self.sessions = asyncio.Semaphore(SESSIONS_PER_CONNECTION)
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open, or may yet be."""
        if self.opening is None:
            return False
        if not self.opening.done():
            return True
        return not self.opening.cancelled() and not self.opening.exception() and not self.opening.result().is_closed()

    def relax(self) -> None:
        """Nobody waits any more: see less often whether the connection lives."""
        if self.opening is not None and self.opening.done() and self.is_usable:
            self.opening.result().set_keepalive(IDLE_KEEPALIVE_S)

    def close(self) -> None:
        """Close what is open; whoever still waits for an answer hears that it is gone."""
        if self.closing is not None:
            self.closing.cancel()
        if self.opening is not None:
            if self.opening.done() and self.is_usable:
                self.opening.result().close()
            self.opening.cancel()


class SshLogin:
    """
    What opens connections: our key, the host keys that we know, the way there.

    Raises:
        ValueError: If *access* names what cannot be read or understood; the message begins with the name of the field.
    """

    def __init__(self, access: SshAccess) -> None:
        self.access = access
        self.known_hosts = _KnownHosts(access.known_hosts)
        self.jumps = tuple(_parse_place(text) for text in access.jump)
        self.options = asyncssh.SSHClientConnectionOptions(
            config=None,
            client_keys=_client_keys(access.identity),
            **({} if access.identity is None else {"agent_path": None}),
            preferred_auth="publickey",
            gss_host=None,
            compression_algs=None,
            # First what processors do themselves: a package then costs 2 ms a megabyte here, and not 5.
            encryption_algs="^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=_UNANSWERED,
        )


class SshConnections:
    """
    The connections of one event loop.

    Args:
        login: What opens them.
    """

    def __init__(self, login: SshLogin) -> None:
        self._login = login
        self._access = login.access
        self._doors: dict[_Place, _Door] = {}

    @asynccontextmanager
    async def use(self, host: Host) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """
        Lend an open connection to the server of *host* to one command.

        Raises:
            HostUnreachableError: If there is none within the time for it.
            HostNotReadyError: If the server refuses us, or we it.
        """
        place = self._place(host)
        door = self._doors.setdefault(place, _Door())
        door.users += 1
        if door.closing is not None:
            door.closing.cancel()
            door.closing = None
        try:
            try:
                connection = await self._through(door, place, host.server, self._login.jumps)
            except HostUnknownError as error:
                # Others may wait for the same connection, for another instance.
                raise type(error)(error.message, **error.facts, instance=host.instance) from error
            connection.set_keepalive(KEEPALIVE_S)
            async with door.sessions:
                yield connection
        finally:
            door.users -= 1
            if not door.users:
                door.relax()
            if not door.users and self._doors.get(place) is not door:
                door.close()
            elif not door.users:
                loop = asyncio.get_running_loop()
                door.closing = loop.call_later(self._access.idle_s, self._shut, place, door)

    def distrust(self, host: Host) -> None:
        """Let later commands open another connection: this one gave no answer in time."""
        door = self._doors.pop(self._place(host), None)
        if door is not None and not door.users:
            door.close()

    async def close(self) -> None:
        """Close all connections."""
        doors, self._doors = list(self._doors.values()), {}
        for door in doors:
            door.close()
        for door in doors:
            if door.opening is not None:
                with suppress(asyncio.CancelledError, HostUnknownError):
                    await (await door.opening).wait_closed()

    def _place(self, host: Host) -> _Place:
        return _Place(self._access.user, host.address, self._access.port)

    def _shut(self, place: _Place, door: _Door) -> None:
        if self._doors.get(place) is door:
            del self._doors[place]
        door.close()

    async def _through(
        self, door: _Door, place: _Place, server: str, jumps: tuple[_Place, ...]
    ) -> asyncssh.SSHClientConnection:
        if not door.is_usable:
            door.opening = asyncio.create_task(self._open(place, server, jumps))
            door.opening.add_done_callback(_heard)
        assert door.opening is not None
        # Shared by all who wait for it: one of them that is cancelled must not take it from the others.
        return await asyncio.shield(door.opening)

    async def _open(self, place: _Place, server: str, jumps: tuple[_Place, ...]) -> asyncssh.SSHClientConnection:
        tunnel = None
        if jumps:
            *before, jump = jumps
            door = self._doors.setdefault(jump, _Door())
            tunnel = await self._through(door, jump, f"{server} (jump host {jump.address})", tuple(before))
        facts = {"server": server, "address": place.address, "port": place.port}
        where = f"{server} at {place.address}:{place.port}"
        try:
            known_hosts = self._login.known_hosts.read()
        except (OSError, ValueError) as error:
            raise HostKeyUnknownError(f"nobody knows the host key of server {where}: {error}", **facts) from error
        try:
            async with asyncio.timeout(self._access.connect_timeout_s):
                return await asyncssh.connect(
                    place.address,
                    place.port,
                    options=self._login.options,
                    tunnel=tunnel,
                    known_hosts=known_hosts,
                    **({} if place.user is None else {"username": place.user}),
                )
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._key_error(place, where, facts, known_hosts) from error
        except asyncssh.KeyExchangeFailed as error:
            if "host key" not in str(error).lower():
                raise HostUnreachableError(f"server {where} cannot be spoken to: {error}", **facts) from error
            raise self._key_error(place, where, facts, known_hosts) from error
        except asyncssh.PermissionDenied as error:
            raise LoginRefusedError(
                f"server {where} does not let {place.user or 'us'} in; check the account, its authorized_keys and "
                f"the identity",
                **facts,
            ) from error
        except TimeoutError as error:
            reason = f"no answer within {self._access.connect_timeout_s:g} s"
            raise HostUnreachableError(f"server {where} cannot be reached: {reason}", **facts) from error
        except (OSError, asyncssh.Error) as error:
            reason = str(error) or type(error).__name__
            raise HostUnreachableError(f"server {where} cannot be reached: {reason}", **facts) from error

    def _key_error(
        self, place: _Place, where: str, facts: dict[str, object], known_hosts: asyncssh.SSHKnownHosts
    ) -> HostNotReadyError:
        path = self._access.known_hosts
        if any(known_hosts.match(place.address, place.address, place.port)):
            return HostKeyMismatchError(
                f"server {where} shows another host key than the one in {path}: find out whether it was set up anew, "
                f"and only then replace its line there",
                **facts,
            )
        return HostKeyUnknownError(
            f"the host key of server {where} is not in {path}: get it from the server itself and add it there", **facts
        )


class _KnownHosts:
    """A file of known hosts, read when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._content = asyncssh.import_known_hosts("")
        try:
            self.read()
        except OSError as error:
            raise ValueError(f"known_hosts: {path} cannot be read: {error.strerror}") from error

    def read(self) -> asyncssh.SSHKnownHosts:
        state = self._path.stat()
        if self._read_at != (state.st_mtime_ns, state.st_size):
            try:
                self._content = asyncssh.read_known_hosts(str(self._path))
            except ValueError as error:
                raise ValueError(f"known_hosts: {self._path} cannot be used: {error}") from error
            self._read_at = (state.st_mtime_ns, state.st_size)
        return self._content


@contextmanager
def acknowledging(connection: asyncssh.SSHClientConnection) -> Iterator[None]:
    """
    Acknowledge at once what a server says while a session is opened.

    Until its first session is there, sshd lets small packets wait for the acknowledgment of those before, which the
    kernel keeps back for 40 ms; and what it is told about that holds for the next packet alone.
    """
    acknowledger = asyncio.create_task(_acknowledge(connection.get_extra_info("socket")))
    try:
        yield
    finally:
        acknowledger.cancel()


async def _acknowledge(own: socket.socket | None) -> None:
    while own is not None and sys.platform == "linux":
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        await asyncio.sleep(_ACKNOWLEDGE_EVERY_S)


def _client_keys(path: Path | None) -> list[asyncssh.SSHKey] | tuple[()]:
    if path is None:
        return ()
    try:
        return [asyncssh.read_private_key(path)]
    except OSError as error:
        raise ValueError(f"identity: {path} cannot be read: {error.strerror}") from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        hint = "a key with a passphrase belongs into the SSH agent, and identity away"
        raise ValueError(f"identity: {path} cannot be used: {error}; {hint}") from error


def _parse_place(text: str) -> _Place:
    user, _, host = text.strip().rpartition("@")
    host, colon, port = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", "22")
    if not host or (colon and not 1 <= int(port) <= 65535):
        raise ValueError(f"jump: expected [USER@]HOST[:PORT], not {text!r}")
    return _Place(user or None, host.strip("[]"), int(port))


def _heard(task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    """Nobody may be left to hear how it ended."""
    if not task.cancelled():
        task.exception()
