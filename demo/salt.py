"""
A Salt master with its HTTP API and minions, on free ports of 127.0.0.1 and all below one folder.

Salt lives in a virtual environment of its own, ``.venv-salt`` beside ours, which ``./dev`` makes: Rollwave talks to it
over HTTP alone. Keys are made before anything starts, and nothing is accepted by itself, as in production.
By hand: ``python -m demo.salt 5`` starts five minions, prints how to reach the API, and stays until Ctrl-C.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from ruamel.yaml import YAML

from demo.processes import LabError, Program, free_ports, processes_of, until, until_interrupted
from rollwave.host import salt_module_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

BIN: Final = Path(__file__).resolve().parents[1] / ".venv-salt" / "bin"
"""Where ``./dev test`` puts Salt's programs."""

USER: Final = "rollwave"
"""The user of the API, who may call the functions of our module and nothing else."""

EAUTH: Final = "file"
"""Salt's module that knows the user's password."""

_GUIDE: Final = Path(__file__).resolve().parents[1] / "docs" / "salt.md"

READY: Final = "Minion is ready to receive requests!"
"""What a minion logs once it hears the master; nobody else can know."""


def documented() -> dict[str, Any]:
    """Return the configuration of a master that the guide tells administrators to write; it is the one that runs."""
    _, _, block = _GUIDE.read_text(encoding="utf-8").partition("# /etc/salt/master.d/rollwave.conf\n")
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(textwrap.dedent(block.partition("```")[0]))
    return found


def installed() -> bool:
    """Say whether Salt is there."""
    return (BIN / "salt-master").exists()


class SaltLab:
    """
    One master, its API, and minions. As a context manager all of it runs from the beginning to the end of the block.

    Args:
        folder: Where all of it is; made where it does not exist. Sockets are below it, so its path must be short.
        minions: Their ids.
        master: What is set otherwise in the master's configuration.

    Attributes:
        url: Of the API.
        password: Of `USER`.
        master, api: Their programs.
        minions: Their programs, by id.
    """

    def __init__(self, folder: Path, minions: Iterable[str], *, master: Mapping[str, Any] | None = None) -> None:
        if not installed():
            raise LabError(f"{BIN} has no Salt: run ./dev salt")
        self.folder = folder.absolute()
        self._settings = dict(master or {})
        self.password = secrets.token_hex(16)
        self._publish_port, self._return_port, self._api_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self._api_port}"
        self.master = self._program("salt-master", "master")
        self.api = self._program("salt-api", "master")
        self.minions = {name: self._program("salt-minion", name) for name in minions}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all of it; return once the API answers and every minion hears the master."""
        self._lay_out()
        for program in (self.master, self.api, *self.minions.values()):
            program.start()
        self.until_up()

    def stop(self) -> None:
        """Stop all of it; return when it is gone."""
        # Minions first, at once: one that is asked to end waits for its master.
        for program in [*self.minions.values(), self.api, self.master]:
            program.kill()
        # A look into the job cache is a process of its own, which outlives the master by a moment.
        until(lambda: not processes_of(self.folder), what=f"the end of what Salt started ({self.folder})")

    def restart_master(self) -> None:
        """Start the master again; return once it listens. Its minions find it by themselves, within seconds."""
        self._restart(self.master, "master")
        self._until_listens(self.master, self._return_port)

    def restart_api(self) -> None:
        """Start the API again; return once it listens. It has forgotten who was logged in."""
        self.api.start()
        self._until_listens(self.api, self._api_port)

    def start_minion(self, name: str) -> None:
        """Start one that was killed; return once it hears the master."""
        log = self._log(name)
        log.write_text("", encoding="utf-8")
        self._restart(self.minions[name], name)
        self._until_ready(name)

    @contextmanager
    def strange_key(self, name: str) -> Iterator[None]:
        """Let a minion that does not run have a key that its master has never seen, as long as the block lasts."""
        keys, aside = self.folder / name / "keys", self.folder / name / "keys.own"
        keys.rename(aside)
        keys.mkdir()
        _make_keys(keys, "minion")
        (keys / "minion_master.pub").write_bytes((aside / "minion_master.pub").read_bytes())
        try:
            yield
        finally:
            shutil.rmtree(keys)
            aside.rename(keys)

    def start_rejected(self, name: str) -> None:
        """Start a minion; return once the master has turned it away, and put what it showed aside."""
        self._restart(self.minions[name], name)
        denied = self.folder / "master" / "keys" / "minions_denied" / name
        until(denied.exists, what=f"the rejection of minion {name} ({self._log(name)})", timeout_s=60)
        denied.unlink()

    def _restart(self, program: Program, home: str) -> None:
        # One that was killed may be a zombie for a while, by its number, and Salt takes that for itself at work.
        for name in ("pid", "process_responsibility_pid"):
            (self.folder / home / name).unlink(missing_ok=True)
        program.start()

    def until_up(self) -> None:
        """Wait until the API answers and every minion that runs hears the master."""
        self._until_listens(self.master, self._return_port)
        self._until_listens(self.api, self._api_port)
        for name, program in self.minions.items():
            if program.is_running:
                self._until_ready(name)

    def _until_listens(self, program: Program, port: int) -> None:
        until(
            lambda: _listens(port, program),
            what=f"the start of {program.log.stem} ({self.folder})",
            # Beside minions, which start at the same time.
            timeout_s=30 + 2 * len(self.minions),
        )

    def _until_ready(self, name: str) -> None:
        def is_ready() -> bool:
            self.minions[name].check()
            log = self._log(name)
            return log.exists() and READY in log.read_text(encoding="utf-8", errors="replace")

        until(is_ready, what=f"the start of minion {name} ({self._log(name)})", timeout_s=60)

    def _log(self, name: str) -> Path:
        return self.folder / name / "log"

    def _program(self, program: str, name: str) -> Program:
        home = self.folder / name
        return Program([BIN / "python", BIN / program, "-c", home], log=home / f"{program}.output", cwd=self.folder)

    def _lay_out(self) -> None:
        master, guide = self.folder / "master", documented()
        (master / "keys" / "minions").mkdir(parents=True, exist_ok=True)
        public = _make_keys(master / "keys", "master")
        (master / "users").write_text(f"{USER}:{self.password}\n", encoding="ascii")
        _write(
            master / "master",
            self._common("master")
            | {
                "interface": "127.0.0.1",
                "publish_port": self._publish_port,
                "ret_port": self._return_port,
                "worker_threads": 3,
                "auto_accept": False,
                "api_logfile": str(master / "api.log"),
                "api_pidfile": str(master / "api.pid"),
                "token_dir": str(master / "tokens"),
                "netapi_enable_clients": guide["netapi_enable_clients"],
                "rest_cherrypy": {"host": "127.0.0.1", "port": self._api_port, "disable_ssl": True},
                "external_auth": {
                    EAUTH: {
                        "^filename": str(master / "users"),
                        USER: guide["external_auth"]["pam"][USER],
                    }
                },
                "publisher_acl_blacklist": guide["publisher_acl_blacklist"],
            }
            | self._settings,
        )
        for name in self.minions:
            home = self.folder / name
            (home / "keys").mkdir(parents=True, exist_ok=True)
            (master / "keys" / "minions" / name).write_bytes(_make_keys(home / "keys", "minion"))
            (home / "keys" / "minion_master.pub").write_bytes(public)
            (home / "modules").mkdir(exist_ok=True)
            (home / "modules" / "rollwave.py").write_bytes(salt_module_source())
            _write(
                home / "minion",
                self._common(name)
                | {
                    "id": name,
                    "master": "127.0.0.1",
                    "publish_port": self._publish_port,
                    "master_port": self._return_port,
                    "module_dirs": [str(home / "modules")],
                    # A minion finds its master again sooner than one in a fleet of thousands may.
                    "random_reauth_delay": 1,
                    "acceptance_wait_time": 1,
                    "recon_default": 100,
                    "recon_max": 1000,
                    "mine_enabled": False,
                },
            )

    def _common(self, name: str) -> dict[str, Any]:
        home = self.folder / name
        return {
            "user": None,
            "root_dir": str(home),
            "pki_dir": str(home / "keys"),
            "cachedir": str(home / "cache"),
            "sock_dir": str(home / "sock"),
            "pidfile": str(home / "pid"),
            "log_file": str(home / "log"),
            "log_level_logfile": "info",
            # What makes them quick to start: they need to know nothing of the hardware and of other machines' names.
            "enable_gpu_grains": False,
            "enable_fqdns_grains": False,
            "grains_cache": True,
            "ipv6": False,
        }


def _write(path: Path, configuration: dict[str, Any]) -> None:
    # JSON is YAML.
    path.write_text(json.dumps({key: value for key, value in configuration.items() if value is not None}, indent=1))


def _make_keys(folder: Path, name: str) -> bytes:
    """Make a pair as Salt does, where there is none; return the public half."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    if not private.exists():
        key = rsa.generate_private_key(65537, 2048)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        private.chmod(0o400)
        public.write_bytes(key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))
    return public.read_bytes()


def _listens(port: int, program: Program) -> bool:
    program.check()
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Run a master and minions until Ctrl-C."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    # A SIGTERM at any moment ends everything that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="rw-salt-") as folder,
            SaltLab(Path(folder), [f"minion-{number}" for number in range(1, count + 1)]) as lab,
        ):
            print(f"{lab.url} user={USER} password={lab.password} eauth={EAUTH}", flush=True)
            until_interrupted()
    except KeyboardInterrupt:
        pass
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
