"""The command line as a person uses it: the installed program, a real server, real processes on real ports."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollwave.cli.marks import ASCII

PROGRAM = Path(sys.executable).with_name("rollwave")
HOST_TESTS = Path(__file__).parents[1] / "integration" / "host"
PATIENCE_S = 90
"""For what takes a second: the machine may be busy."""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Rollwave:
    """One data directory, its server, and the program that talks to it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ROLLWAVE_", "COLUMNS", "LINES"))
        }
        self.environment |= {"ROLLWAVE_DATA": str(data_dir), "COLUMNS": "120", "TERM": "xterm-256color"}
        self.server: subprocess.Popen[str] | None = None

    def serve(self, port: int = 0) -> None:
        self.server = subprocess.Popen(
            [PROGRAM, "serve", "--port", str(port)], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        readable, _, _ = select.select([self.server.stdout], [], [], PATIENCE_S)
        assert readable, "the server did not start"
        assert "ready" in self.server.stdout.readline()

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.server.send_signal(number)
        self.server.communicate(timeout=PATIENCE_S)
        self.server = None

    def __call__(self, *arguments: object) -> Result:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object) -> Result:
        result = self(*arguments)
        assert result.code == 0, result
        return result


@dataclass
class Fleet:
    """A group of three instances, each a process of its own."""

    rollwave: Rollwave
    group: str
    root: Path
    ports: list[int]

    @property
    def spec(self) -> str:
        supervise = [sys.executable, "-I", "-S", str(HOST_TESTS / "supervise.py")]
        place = str(self.root / "srv" / "{server}")
        servers = "".join(f"  - name: {self.group}-{number}\n" for number in range(len(self.ports)))
        instances = "".join(
            f"      - {{server: {self.group}-{number}, port: {port}}}\n" for number, port in enumerate(self.ports)
        )
        return (
            f"apps:\n  - name: {self.group}-app\nservers:\n{servers}groups:\n  - name: {self.group}\n"
            f"    app: {self.group}-app\n    deploy_path: {place}\n    version_path: /version\n"
            f"    start: {json.dumps([*supervise, 'start', place, '{port}'])}\n"
            f"    stop: {json.dumps([*supervise, 'stop', place, '{port}'])}\n"
            f"    config:\n      startup_timeout_s: 10\n    instances:\n{instances}"
        )

    def apply(self) -> None:
        for number in range(len(self.ports)):
            (self.root / "srv" / f"{self.group}-{number}" / "shared").mkdir(parents=True)
        path = self.root / "fleet.yaml"
        path.write_text(self.spec)
        self.rollwave.ok("apply", "-f", path)

    def push(self, version: str, *, is_sick: bool = False) -> None:
        source = self.root / version
        source.mkdir()
        (source / "app.py").write_bytes((HOST_TESTS / "app.py").read_bytes())
        (source / "VERSION").write_text(version)
        if is_sick:
            (source / "SICK").touch()
        self.rollwave.ok("package", "push", source, "--app", f"{self.group}-app", "--version", version)

    def release(self, version: str) -> None:
        """Bring every instance to *version*, without a canary."""
        self.push(version)
        self.rollwave.ok("deploy", self.group, version, "--set", "canary_count=0")
        self.rollwave.ok("status", self.group, "--timeout", PATIENCE_S)

    @property
    def running(self) -> set[str]:
        """The versions that the processes themselves say they are."""
        found = set()
        for port in self.ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=10) as response:
                found.add(json.load(response)["version"])
        return found

    def kill(self) -> None:
        for pid_file in self.root.glob("srv/*/shared/app.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now; held together, so that they differ."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@pytest.fixture(scope="module")
def rollwave(tmp_path_factory):
    """A server that the tests of one worker share; each has a group of its own."""
    one = Rollwave(tmp_path_factory.mktemp("data") / "rollwave")
    one.serve()
    yield one
    one.stop()


@pytest.fixture
def own_rollwave(tmp_path):
    """A server for a test that kills it."""
    one = Rollwave(tmp_path / "data")
    yield one
    if one.server is not None:
        one.stop()


@pytest.fixture
def make_fleet(tmp_path):
    """Make the fleet of a test; its processes end with it."""
    made = []

    def make(rollwave: Rollwave, group: str) -> Fleet:
        made.append(Fleet(rollwave, group, tmp_path, free_ports(3)))
        return made[-1]

    yield make
    for fleet in made:
        fleet.kill()


def test_without_a_server_the_way_to_one_is_shown(tmp_path):
    """The first command of somebody new: what is missing, where it was looked for, what to do."""
    result = Rollwave(tmp_path / "nothing")("get")

    assert result.code == 6
    assert str(tmp_path / "nothing" / "endpoint") in result.err
    assert "rollwave serve" in result.err


def test_every_mistake_of_a_spec_is_shown_in_its_line(rollwave, make_fleet, tmp_path):
    """The server's problems come back to the file; nothing is changed."""
    fleet = make_fleet(rollwave, "mistakes")
    path = tmp_path / "bad.yaml"
    path.write_text(
        fleet.spec.replace("startup_timeout_s: 10", "startup_timeout_s: 0").replace("version_path", "versoin_path")
    )
    lines = path.read_text().splitlines()

    result = rollwave("apply", "-f", path)

    assert result.code == 2
    for text, hint in (("versoin_path", "did you mean 'version_path'?"), ("startup_timeout_s: 0", "from 1 to 3600")):
        number = next(number for number, line in enumerate(lines, 1) if text in line)
        (said,) = (line for line in result.err.splitlines() if line.startswith(f"{path}:{number}:"))
        assert hint in said
    assert rollwave("get", "group", "mistakes").code == 4


def test_a_release_from_a_file_to_running_processes(rollwave, make_fleet):
    """Apply, push, plan, deploy, wait, approve twice: then every process is of the new version."""
    fleet = make_fleet(rollwave, "first")
    fleet.apply()
    fleet.push("1.0")

    plan = rollwave.ok("plan", "first", "1.0", "--json").document
    assert [len(batch["instances"]) for batch in plan["batches"]] == [1, 1, 1]

    rollwave.ok("deploy", "first", "1.0", "--reason", "the first one")
    for _ in ("bake", "rollout"):
        assert rollwave("status", "first", "--timeout", PATIENCE_S).code == 3
        assert "open now" in rollwave.ok("promote", "first").out
    assert rollwave("status", "first", "--timeout", PATIENCE_S).code == 0

    assert fleet.running == {"1.0"}
    document = rollwave.ok("get", "first", "--json").document
    assert {one["standing"] for one in document["targets"]} == {"success"}
    picture = rollwave.ok("get", "first").out
    assert "✓ succeeded" in picture
    assert picture.count("on 1.0\n") == 3


def test_a_bad_version_ends_in_1_and_a_rollback_needs_no_version(rollwave, make_fleet):
    """The cause is shown; the way back is one command."""
    fleet = make_fleet(rollwave, "back")
    fleet.apply()
    fleet.release("1.0")
    fleet.push("2.0", is_sick=True)

    rollwave.ok("deploy", "back", "2.0", "--set", "startup_timeout_s=1")
    assert rollwave("status", "back", "--timeout", PATIENCE_S).code == 1
    assert "no database" in rollwave.ok("get", "back").out

    said = rollwave.ok("rollback", "back")
    assert "1.0" in said.out
    rolled_back = _until(lambda: rollwave.ok("get", "--json").document[0], lambda one: one["kind"] == "rollback")
    assert rollwave("status", rolled_back["id"], "--timeout", PATIENCE_S).code == 0
    assert fleet.running == {"1.0"}


def test_a_second_release_is_refused_with_the_way_out(rollwave, make_fleet):
    """One active deployment per group; the message names it."""
    fleet = make_fleet(rollwave, "twice")
    fleet.apply()
    fleet.push("1.0")
    first = rollwave.ok("deploy", "twice", "1.0", "--no-start", "--json").document

    result = rollwave("deploy", "twice", "1.0")

    assert result.code == 5
    assert f"deployment {first['id']}" in result.err
    assert rollwave("abort", "twice").code == 0
    assert rollwave("status", "twice").code == 1


def test_a_key_makes_two_calls_one_command(rollwave, make_fleet):
    """Whoever is not sure that it arrived sends it again."""
    fleet = make_fleet(rollwave, "again")
    fleet.apply()
    fleet.push("1.0")

    ids = {
        rollwave.ok("deploy", "again", "1.0", "--no-start", "--key", "ci-4711", "--json").document["id"]
        for _ in range(2)
    }

    assert len(ids) == 1
    rollwave.ok("abort", "again")


def test_a_token_lives_from_create_to_revoke(rollwave):
    """Its value is printed alone, once; its name is the actor of what it does; revoked, it is worth nothing."""
    value = rollwave.ok("token", "create", "ci", "--days", 30).out.strip()
    rollwave.environment["ROLLWAVE_TOKEN"] = value
    try:
        assert "ci" in rollwave.ok("token", "list").out
        rollwave.ok("token", "revoke", "ci")
        assert rollwave("get").code == 7
    finally:
        del rollwave.environment["ROLLWAVE_TOKEN"]

    audit = rollwave.ok("audit", "--json").document
    assert "ci" in {entry["actor"] for entry in audit}


SHELLS = ("bash", "zsh", "fish")


def test_each_shell_is_told_commands_options_groups_and_what_runs(rollwave, make_fleet):
    """What its script asks for: commands, the words of an option, and names that only the server knows."""
    fleet = make_fleet(rollwave, "offered")
    fleet.apply()
    fleet.push("1.0")
    id_ = str(rollwave.ok("deploy", "offered", "1.0", "--no-start", "--json").document["id"])

    for shell in SHELLS:
        assert complete(rollwave, shell, "rollwave deploy --kind ro") == ["rollout", "rollback"]
        assert complete(rollwave, shell, "rollwave plan offe") == ["offered"]
        assert complete(rollwave, shell, "rollwave plan offered ") == ["1.0"]
        assert {"offered", id_} <= set(complete(rollwave, shell, "rollwave abort "))
    rollwave.ok("abort", id_)


def test_a_shell_is_told_no_names_where_no_server_answers(tmp_path):
    """Not a word of trouble may stand in the line that somebody types; commands are completed all the same."""
    nobody = Rollwave(tmp_path / "nothing")
    nobody.environment["ROLLWAVE_ENDPOINT"] = f"http://127.0.0.1:{free_ports(1)[0]}"

    for shell in SHELLS:
        assert complete(nobody, shell, "rollwave plan sh") == []
        assert complete(nobody, shell, "rollwave pl") == ["plan"]


def test_the_script_for_bash_completes_in_bash(rollwave, make_fleet):
    """What `completion show` prints, read by the real shell, offers the names of the server."""
    make_fleet(rollwave, "sourced").apply()
    script = (
        f"source <({PROGRAM} completion show bash); COMP_WORDS=(rollwave plan sour); COMP_CWORD=2; "
        f'_rollwave_completion {PROGRAM}; printf "%s\n" "${{COMPREPLY[@]}}"'
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=rollwave.environment, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("sourced\n", "")


def complete(rollwave: Rollwave, shell: str, line: str) -> list[str]:
    """What the program offers at the end of *line*; asked for as the script of each shell does."""
    asked = {"_ROLLWAVE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    if shell == "bash":
        asked |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    if shell == "fish":
        asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [PROGRAM], env=rollwave.environment | asked, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "zsh":
        return re.findall(r'^(?:_arguments .\*: :\(\()?"([^"]*)"', done.stdout, re.MULTILINE)
    return [one.split("\t")[0] for one in done.stdout.splitlines() if one]


def test_a_terminal_without_unicode_gets_other_signs(rollwave):
    """No traceback, no question marks where we have a sign in ASCII; JSON loses nothing."""
    rollwave.environment["PYTHONIOENCODING"] = "ascii"
    try:
        server = "k-1"
        spec = rollwave.data_dir.parent / "ascii.yaml"
        spec.write_text(f"apps:\n  - {{name: ascii, description: 店}}\nservers:\n  - {{name: {server}}}\n", "utf-8")
        rollwave.ok("apply", "-f", spec)
        assert rollwave.ok("get", "app", "ascii", "--json").document["description"] == "店"
        rollwave.ok("server", "offline", server)
        assert f"{ASCII['○']} offline" in rollwave.ok("get", "servers").out
    finally:
        del rollwave.environment["PYTHONIOENCODING"]


def test_a_watch_on_a_terminal_is_a_live_tree_and_ctrl_c_leaves_the_release_alone(rollwave, make_fleet):
    """The tree is drawn in place; after Ctrl-C the release is as it was, and the last words say so."""
    fleet = make_fleet(rollwave, "live")
    fleet.apply()
    fleet.push("1.0")
    rollwave.ok("deploy", "live", "1.0")
    assert rollwave("status", "live", "--timeout", PATIENCE_S).code == 3

    with Terminal([str(PROGRAM), "get", "live", "-w"], rollwave.environment) as terminal:
        terminal.wait_for("verified, out of traffic")
        terminal.press(b"\x03")
        code = terminal.end()

    assert code == 130
    assert "goes on" in terminal.seen
    assert "\x1b[" in terminal.seen
    assert rollwave.ok("get", "live", "--json").document["status"] == "waiting"
    rollwave.ok("abort", "live")


def test_a_watch_outlives_the_server(own_rollwave, make_fleet):
    """The server is killed and started again: the watch goes on, every event once, until the end."""
    (port,) = free_ports(1)
    own_rollwave.serve(port)
    fleet = make_fleet(own_rollwave, "restart")
    fleet.apply()
    fleet.push("1.0")
    own_rollwave.ok("deploy", "restart", "1.0")
    assert own_rollwave("status", "restart", "--timeout", PATIENCE_S).code == 3
    watch = subprocess.Popen(
        [PROGRAM, "get", "restart", "-w", "--json", "--endpoint", f"http://127.0.0.1:{port}"],
        env=own_rollwave.environment | {"ROLLWAVE_TOKEN_FILE": str(own_rollwave.data_dir / "token")},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = watch.stdout.readline()

    own_rollwave.stop(signal.SIGKILL)
    own_rollwave.serve(port)
    own_rollwave.ok("abort", "restart")
    # Not communicate(): it reads past what the pipe's own buffer took in with the first line.
    with watch:
        rest = watch.stdout.readlines()

    seqs = [json.loads(line)["seq"] for line in [first, *rest]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert watch.returncode == 1


def test_the_version_is_there_at_once():
    """Scripts ask for it; nothing heavy is imported for it."""
    code = (
        "import sys\nfrom rollwave.cli.main import main\n"
        "try: main(['--version'])\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())

    assert done.stdout.strip()
    assert not imported & {"typer", "rich", "httpx", "django", "pydantic", "ruamel.yaml"}


def _take_terminal() -> None:
    """Make stdin the controlling terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program on a terminal of 100 columns and 30 lines."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.seen = ""
        self._arguments = arguments
        self._environment = {name: value for name, value in environment.items() if name != "COLUMNS"}

    def __enter__(self):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._process = subprocess.Popen(
            self._arguments,
            env=self._environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # no thread of this process is left in the child
        )
        os.close(theirs)
        return self

    def __exit__(self, *_error):
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._read(1.0), self.seen

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def end(self) -> int:
        while self._read(PATIENCE_S):
            pass
        return self._process.wait(timeout=PATIENCE_S)

    def _read(self, wait_s: float) -> bool:
        """Take what there is; False when the program has closed its terminal."""
        readable, _, _ = select.select([self._ours], [], [], wait_s)
        if not readable:
            return self._process.poll() is None
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            # Linux says EIO where the other side is closed.
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def _until(read, is_there):
    deadline = time.monotonic() + PATIENCE_S
    while not is_there(seen := read()):
        assert time.monotonic() < deadline, seen
        threading.Event().wait(0.2)
    return seen
