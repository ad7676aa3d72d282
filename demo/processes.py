"""Programs that run beside us, each with everything that it starts: begun, stopped, killed and paused as a whole."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class LabError(Exception):
    """Something of the lab did not come up; says what and where its log is."""


PORTS: Final = range(10_000, 32_000)
"""Below what the kernel gives to outgoing connections: what is stopped finds its port free when it is started again."""

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return *count* free ports of 127.0.0.1, none of which was returned before."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0, every_s: float = 0.05) -> None:
    """Wait until *condition* holds; LabError after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(every_s)


class Program:
    """
    One program and whatever it starts. Not a process group: daemons such as PostgreSQL give their children their own.

    Args:
        argv: Its command line.
        log: The file to which its output is appended.
        cwd: Its working directory; ours where None.
        environment: Variables beside our own.
        user: Who runs it, by name; ourselves where None.
        stop_signal: What asks it to end in good order.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self._cwd = cwd
        self._environment = dict(environment or {})
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its first process; LabError where it does not run."""
        self.check()
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cwd,
                env={**os.environ, **self._environment},
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                # A session of its own: Ctrl-C reaches us alone, who then stop everything in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Do nothing while it runs; LabError with the end of its log where it has ended."""
        if not self.is_running:
            code = None if self._process is None else self._process.returncode
            said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
            raise LabError(f"{self.argv[0]} does not run (exit code {code}); {self.log} ends with:\n{said[-2000:]}")

    def wait(self) -> int:
        """Wait for the end of its first process; return its exit code."""
        assert self._process is not None
        return self._process.wait()

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """Ask it to end, and kill what is left of it after *timeout_s*. Return when all of it is gone."""
        if self._process is None:
            return
        self.resume()
        with ExitStack() as stack:
            tree = [stack.enter_context(_Handle(pid)) for pid in self.processes()]
            self._process.send_signal(self._stop_signal)
            deadline = time.monotonic() + timeout_s
            for one in tree:
                one.wait(max(0.0, deadline - time.monotonic()))
            # What it started meanwhile is reached from here, as long as it lives.
            self.kill()
            for one in tree:
                one.kill()
                one.wait()

    def kill(self) -> None:
        """End all of it at once, by SIGKILL. Return when all of it is gone."""
        if self._process is None:
            return
        # What is stopped starts nothing new, so none escapes.
        self.pause()
        with ExitStack() as stack:
            tree = [stack.enter_context(_Handle(pid)) for pid in self.processes()]
            for one in tree:
                one.kill()
            for one in tree:
                one.wait()
        self._process.wait()

    def crash(self) -> None:
        """End its first process alone, by SIGKILL: what that has started lives on, as where it failed by itself."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let all of it stand still, by SIGSTOP, as a machine that hangs."""
        seen: set[int] = set()
        while new := set(self.processes()) - seen:
            _signal(new, signal.SIGSTOP)
            seen |= new

    def resume(self) -> None:
        """Let all of it go on."""
        _signal(self.processes(), signal.SIGCONT)

    def processes(self) -> Iterator[int]:
        """Yield the numbers of all its processes that live, the first one first."""
        if self._process is not None and self.is_running:
            yield from _tree(self._process.pid)


@contextmanager
def running(programs: Sequence[Program], *, timeout_s: float = 120.0) -> Iterator[None]:
    """
    Run *programs* as long as the block lasts, which begins once each has said ``ready`` in its log.

    Raises:
        LabError: If one has ended instead, or has not said so within *timeout_s*.
    """

    def are_ready() -> bool:
        for program in programs:
            program.check()
        return all(b"ready" in program.log.read_bytes() for program in programs)

    with ExitStack() as stack:
        for program in programs:
            program.start()
            stack.callback(program.stop)
        until(
            are_ready, what=f"the start of {', '.join(program.log.stem for program in programs)}", timeout_s=timeout_s
        )
        yield


class _Handle:
    """A process that is meant even after its number has gone to another one."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd: int | None = None

    def __enter__(self) -> Self:
        with suppress(ProcessLookupError):
            self._fd = os.pidfd_open(self._pid)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def kill(self) -> None:
        if self._fd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def wait(self, timeout_s: float | None = None) -> None:
        if self._fd is not None:
            select.select([self._fd], [], [], timeout_s)


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it, parents first."""
    yield pid
    # Children belong to the thread that started them; what ends while we look has no children.
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from _tree(int(child))


def _signal(pids: Iterator[int] | set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def until_interrupted() -> None:
    """Wait for Ctrl-C, or for the SIGTERM of whoever started us."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        signal.pause()


def processes_of(folder: Path) -> list[str]:
    """Return every process of this machine, as its command line, that stands below *folder* or was told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            told = command + (process / "environ").read_bytes()
            if (process / "cwd").readlink().is_relative_to(folder) or os.fsencode(folder) in told:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended while we looked, or it is none of ours
            continue
    return found
