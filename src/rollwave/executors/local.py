"""The local executor: servers are folders on this machine, with real processes and the real driver."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from rollwave.executors.command_line import arguments_of
from rollwave.executors.errors import unknown
from rollwave.executors.host_check import CHECK_LIMIT_S, check_arguments, parse_check
from rollwave.executors.host_files import (
    HostFiles,
    HostPathError,
    install_files,
    make_directory,
    remove_durably,
    write_durably,
)
from rollwave.executors.patience import Patience
from rollwave.executors.plan_file import HashedFile, plan_file
from rollwave.executors.report import parse_report
from rollwave.ports.executor import HostUnknownError, HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollwave.ports.executor import Host, HostAnswer, HostCommand, HostQuestion, HostReport

_PASSED_ON: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"}
)
"""What lifecycle commands see of our environment: enough to find a supervisor, and none of the controller's secrets."""

_SHOWN_BYTES: Final = 256 * 1024


class LocalExecutor:
    """
    `Executor` for servers that are folders on this machine: the embedded default, the demo, and a real single machine.

    A server is up as long as the directory that holds the deploy path is there; the deploy path itself is made when it
    is missing. Verbs run detached in their own sessions: neither a cancelled call nor our own death stops them.

    Args:
        driver: Source of the host driver.
        trusted_keys: PEM of each public key by its id; hosts trust exactly these.
        interpreter: Python that runs the driver, isolated (``-I``), and with its installed packages only where the
            driver needs one (``-S``).
        parallel: Most driver processes at once; by default two per processor.
        patience: How long it waits, and for what.
    """

    def __init__(
        self,
        *,
        driver: bytes,
        trusted_keys: Mapping[str, bytes],
        interpreter: str = sys.executable,
        parallel: int | None = None,
        patience: Patience = Patience(),  # noqa: B008  it is frozen
    ) -> None:
        self._driver = HashedFile.of(driver)
        self._trusted_keys = dict(trusted_keys)
        self._interpreter = interpreter
        self._parallel = parallel or 2 * (os.cpu_count() or 1)
        self._patience = patience
        # A semaphore belongs to the event loop that first waits on it, and an executor may outlive a loop.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

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
            HostUnreachableError: If the server is down.
        """
        _require_server(host)
        await asyncio.to_thread(_write_drain, host, drained=drained)

    async def is_drained(self, host: Host) -> bool:
        """
        Say whether the host's drain file is there.

        Raises:
            HostUnreachableError: If the server is down.
        """
        _require_server(host)
        return await asyncio.to_thread(_drain_path(host).exists)

    async def check(self, question: HostQuestion) -> HostAnswer:
        """Have the driver look at this machine; see `ChecksHosts.check`."""
        _require_server(question.host)
        with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
            stdin.write(self._driver.content)
            stdin.seek(0)
            # From stdin: whatever carries nothing yet is left as it was.
            exit_code = await self._execute(
                ("-", *check_arguments(question)),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                limit_s=CHECK_LIMIT_S,
                lost=lambda reason: HostUnknownError(
                    f"the check of {question.host.server}: {reason}", server=question.host.server
                ),
            )
            return parse_check(question, exit_code=exit_code, stdout=_end_of(stdout), stderr=_end_of(stderr))

    async def _ask(self, command: HostCommand, wait_s: float | None) -> HostReport:
        plan = plan_file(command.plan)
        files = await self._install(command.plan.host, plan)
        arguments = arguments_of(command, plan_path=str(files.plan), plan_hash=plan.sha256, wait_s=wait_s)
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._parallel))
        # Files, not pipes: whatever a verb leaves running cannot keep us waiting for an end of output.
        with TemporaryFile() as stdout, TemporaryFile() as stderr:
            async with slots:
                exit_code = await self._execute(
                    (str(files.driver), *arguments),
                    stdout=stdout,
                    stderr=stderr,
                    limit_s=(wait_s or 0) + self._patience.answer_s,
                    lost=lambda reason: unknown(command, reason),
                )
            return parse_report(command, exit_code=exit_code, stdout=_end_of(stdout), stderr=_end_of(stderr))

    async def _install(self, host: Host, plan: HashedFile) -> HostFiles:
        _require_server(host)
        return await asyncio.to_thread(
            install_files, Path(host.deploy_path), driver=self._driver, plan=plan, trusted_keys=self._trusted_keys
        )

    async def _execute(
        self,
        arguments: tuple[str, ...],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        limit_s: float,
        lost: Callable[[str], HostUnknownError],
        stdin: IO[bytes] | int = asyncio.subprocess.DEVNULL,
    ) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                self._interpreter,
                "-I",
                "-S",
                *arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env={name: value for name, value in os.environ.items() if name in _PASSED_ON},
                # A signal to our process group (Ctrl-C) is not meant for the host.
                start_new_session=True,
            )
        except OSError as error:
            raise lost(f"the driver cannot be started: {error}") from error
        try:
            async with asyncio.timeout(limit_s):
                return await process.wait()
        except TimeoutError as error:
            raise lost(f"the driver did not answer within {limit_s:g} s") from error
        finally:
            # Only the process that waits for the verb; the verb itself is detached and goes on.
            if process.returncode is None:
                process.kill()
                await process.wait()


def _end_of(output: IO[bytes]) -> bytes:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - _SHOWN_BYTES))
    return output.read()


def _require_server(host: Host) -> None:
    server = Path(host.deploy_path).parent
    if not server.is_dir():
        raise HostUnreachableError(
            f"server {host.server} is not there: {server} is not a directory; mount or make it",
            server=host.server,
            instance=host.instance,
            path=str(server),
        )


def _drain_path(host: Host) -> Path:
    return Path(host.deploy_path, "shared", "drain")


def _write_drain(host: Host, *, drained: bool) -> None:
    path = _drain_path(host)
    try:
        if drained:
            make_directory(path.parent.parent)
            make_directory(path.parent)
            write_durably(path, b"")
        elif path.parent.is_dir():
            remove_durably(path)
    except OSError as error:
        raise HostPathError(deploy_path=Path(host.deploy_path), error=error) from error
