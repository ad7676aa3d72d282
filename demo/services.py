"""
The services that a distributed set-up needs, from Debian's packages: PostgreSQL, RabbitMQ and Redis.

Each runs on free ports, of 127.0.0.1 where no other address is named, with all that it has below one folder, and
touches nothing of the system's own.
By hand: ``python -m demo.services postgres rabbitmq`` prints their URLs and stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import amqp
import psycopg
import redis

from demo.processes import LabError, Program, free_ports, until, until_interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE: Final = "rollwave"
"""The database that PostgreSQL comes up with, and the name of its superuser."""


LOOPBACK: Final = "127.0.0.1"


class Service(ABC):
    """
    One service. As a context manager it runs from the beginning to the end of the block.

    It keeps its port and its data when it is started again, whether it was stopped or killed.

    Args:
        folder: Where all of it is; made where it does not exist.
        address: The address of this machine at which it listens. Beyond the loopback it lets in whoever reaches it.

    Attributes:
        url: Where clients connect, and as whom.
        programs: What runs, in the order of its start.
    """

    package: str
    """The Debian package that brings it."""
    url: str
    programs: tuple[Program, ...]

    def __init__(self, folder: Path, *, address: str = LOOPBACK) -> None:
        self.folder = folder.absolute()
        self.address = address
        self.log = self.folder / "log"

    def _prepare(self) -> None:
        """Lay out what is missing in the folder, before each start."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def _answers(self) -> bool:
        """Say whether it serves a client."""

    def start(self) -> None:
        """Start it; return once it answers. LabError where it does not; then nothing of it runs."""
        self._prepare()
        try:
            for program in self.programs:
                program.start()
            until(self._is_up, what=f"the start of {type(self).__name__} ({self.log})", timeout_s=60)
        except BaseException:
            self.kill()
            raise

    @property
    def is_running(self) -> bool:
        """Whether all of it runs."""
        return all(program.is_running for program in self.programs)

    def _is_up(self) -> bool:
        for program in self.programs:
            program.check()
        return self._answers()

    def stop(self) -> None:
        """Stop it in good order; return when all of it is gone."""
        for program in reversed(self.programs):
            program.stop()

    def kill(self) -> None:
        """``kill -9``, all of it at once."""
        for program in reversed(self.programs):
            program.kill()

    def pause(self) -> None:
        """Let all of it stand still: connections stay open, and nothing answers."""
        for program in self.programs:
            program.pause()

    def resume(self) -> None:
        """Let all of it go on."""
        for program in self.programs:
            program.resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


class Postgres(Service):
    """
    PostgreSQL with one empty database.

    Args:
        folder: Where all of it is.
        address: Where it listens.
        fsync: Whether it is as careful with its disk as in production; tests that cut no power need not be.
    """

    package = "postgresql"

    def __init__(self, folder: Path, *, address: str = LOOPBACK, fsync: bool = True) -> None:
        super().__init__(folder, address=address)
        (self.port,) = free_ports(1)
        # PostgreSQL refuses to run as root; its package has made a user.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = self.folder / "data"
        options = {
            "listen_addresses": self.address,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if fsync else "off",
        }
        server = Program(
            [_binary("postgres", self), "-D", self._data, *(f"--{name}={value}" for name, value in options.items())],
            log=self.log,
            cwd=self.folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # SIGTERM would wait for its clients to go
        )
        self.programs = (server,)
        self.url = self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return where clients of *database* connect."""
        return f"postgresql://{DATABASE}@{self.address}:{self.port}/{database}"

    def _prepare(self) -> None:
        super()._prepare()
        if self._user is not None:
            shutil.chown(self.folder, self._user)
            _let_through(self.folder, self._user)
        if not self._data.exists():
            options = [f"--username={DATABASE}", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            _run([_binary("initdb", self), "-D", self._data, *options], user=self._user, cwd=self.folder)
            if self.address != LOOPBACK:
                with (self._data / "pg_hba.conf").open("a", encoding="ascii") as access:
                    access.write("host all all samenet trust\n")

    def start(self) -> None:
        """Start it; return once it answers, with its database there."""
        super().start()
        with self._connect("postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            self.create_database(DATABASE)

    def create_database(self, name: str) -> str:
        """Make an empty database; return its URL."""
        with self._connect("postgres") as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url_of(name)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url_of(database), connect_timeout=2, autocommit=True)


class RabbitMQ(Service):
    """RabbitMQ: one node, with an Erlang port mapper of its own."""

    package = "rabbitmq-server"

    def __init__(self, folder: Path, *, address: str = LOOPBACK) -> None:
        super().__init__(folder, address=address)
        self.port, self._distribution_port, self._mapper_port = free_ports(3)
        mapper = Program(
            [_binary("epmd", self), "-address", "127.0.0.1", "-port", str(self._mapper_port)],
            log=self.folder / "epmd.log",
            cwd=self.folder,
        )
        # Debian's wrapper of the same name insists on the system's user and folders.
        server = Program(
            [_binary("rabbitmq-server", self, "/usr/lib/rabbitmq/bin")],
            log=self.log,
            cwd=self.folder,
            environment=self.environment,
        )
        self.programs = (mapper, server)
        self.url = f"amqp://guest:guest@{self.address}:{self.port}//"

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells the server, and ``rabbitmqctl``, which node is meant and where its files are."""
        return {
            "HOME": str(self.folder),  # the Erlang cookie is here
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"rollwave-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(self.folder / "schema"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Idle schedulers sleep instead of spinning: others want the processors too.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _prepare(self) -> None:
        super()._prepare()
        (self.folder / "enabled_plugins").write_text("[].\n", encoding="ascii")
        # By default its guest may come from the loopback alone.
        settings = "" if self.address == LOOPBACK else "loopback_users = none\n"
        (self.folder / "rabbitmq.conf").write_text(settings, encoding="ascii")

    def _answers(self) -> bool:
        try:
            with amqp.Connection(f"{self.address}:{self.port}", connect_timeout=2, read_timeout=2):
                pass
        except (OSError, amqp.AMQPError):
            return False
        return True


class Redis(Service):
    """Redis, which keeps nothing over a restart: nothing but speed depends on messages."""

    package = "redis-server"

    def __init__(self, folder: Path, *, address: str = LOOPBACK) -> None:
        super().__init__(folder, address=address)
        (self.port,) = free_ports(1)
        listen = ["--bind", self.address, "--protected-mode", "no", "--port", str(self.port)]
        options = ["--save", "", "--appendonly", "no"]
        server = Program([_binary("redis-server", self), *listen, *options], log=self.log, cwd=self.folder)
        self.programs = (server,)
        self.url = f"redis://{self.address}:{self.port}/0"

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


SERVICES: Final[Mapping[str, type[Service]]] = {"postgres": Postgres, "rabbitmq": RabbitMQ, "redis": Redis}


def installed(kind: type[Service]) -> bool:
    """Say whether the Debian package of a service is there."""
    try:
        kind(Path("/nonexistent"))
    except LabError:
        return False
    return True


def _binary(name: str, service: Service, folder: str | None = None) -> str:
    """Return the path of a program, or LabError that names the package."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    path = folder or os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, newest_first)])
    found = shutil.which(name, path=path)
    if found is None:
        raise LabError(f"{name} was not found: install the Debian package {service.package}")
    return found


def _version(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def _run(argv: list[str | Path], *, user: str | None, cwd: Path) -> None:
    extra_groups = None if user is None else list[str]()
    done = subprocess.run(
        argv, cwd=cwd, user=user, group=user, extra_groups=extra_groups, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"{argv[0]} failed:\n{done.stderr}{done.stdout}")


def _let_through(folder: Path, user: str) -> None:
    """
    Let *user* pass through to *folder*, without showing what else is on the way.

    Only temporary folders are opened: those of tests and demos begin closed. LabError where another one is in the way.
    """
    account = pwd.getpwnam(user)
    for parent in reversed(folder.parents):
        state = parent.stat()
        if state.st_mode & stat.S_IXOTH or state.st_uid == account.pw_uid:
            continue
        if not parent.is_relative_to(tempfile.gettempdir()):
            raise LabError(f"user {user} cannot reach {folder}, because {parent} is closed: use another folder")
        parent.chmod(state.st_mode | stat.S_IXGRP | stat.S_IXOTH)


def main() -> int:
    """Run the named services until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo.services", description=__doc__.splitlines()[1])
    parser.add_argument("services", nargs="+", choices=SERVICES, metavar="SERVICE", help=" or ".join(SERVICES))
    parser.add_argument("--folder", type=Path, help="where their data is and stays; a temporary one otherwise")
    options = parser.parse_args()
    # A SIGTERM at any moment ends everything that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rw-services-")))
            for name in options.services:
                service = stack.enter_context(SERVICES[name](folder / name))
                print(service.url, flush=True)
            until_interrupted()
    except KeyboardInterrupt:
        pass
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
