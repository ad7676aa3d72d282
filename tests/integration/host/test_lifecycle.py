"""Install, verify, prove and restore, and everything a lifecycle command can do wrong."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import socket
import time
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.host.site import Site


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_a_release_ends_with_the_new_version_serving(site: Site) -> None:
    """Download, install and verify bring the goal version up, and the report names what runs."""
    site.release(site.build("1.0"))
    package = site.build("1.1", files={"lib/data.bin": b"\0" * 70000})
    plan = site.release(package)

    report = site.run("prove", plan)

    assert report["state"] == "succeeded"
    assert (report["running_version"], report["current_version"]) == ("1.1", "1.1")
    assert site.content("1.1") == package.files
    assert (site.deploy_path / "current").readlink().as_posix() == "releases/1.1"


def told(report: dict) -> list[str]:
    """What a report says that was done; what differs from one run to the next is left out."""
    assert 0 < len(report["lines"]) <= 6
    return [re.sub(r"\b\d+\.\d s\b|, asked \d+ times", "", line["text"]) for line in report["lines"]]


def test_every_verb_says_what_it_did(site: Site) -> None:
    """Facts that were measured: what was stopped and started and how, from where to where, who answered what."""
    site.release(site.build("1.0"))
    package = site.build("1.1", files={"lib/data.bin": b"\0" * 3_000_000})
    site.deployment_id += 1
    plan = site.plan(package)
    size, commands = package.fields["size"], {name: shlex.join(plan[name]) for name in ("stop", "start")}
    commands = {
        name: text.replace("'{deploy_path}'", str(site.deploy_path)).replace("'{port}'", str(site.port))
        for name, text in commands.items()
    }
    brought_up = [
        f"stop: ended with 0 after : {commands['stop']}",
        f"port {site.port} was free after ",
        "current: 1.0 -> 1.1",
        f"start: ended with 0 after : {commands['start']}",
    ]
    healthy = f"GET http://127.0.0.1:{site.port}/healthz after : status 200"
    runs = f"runs 1.1, by its process in {site.deploy_path}"

    assert told(site.run("download", plan)) == [
        f"signature of 1.1 holds, by key {site.key_id}",
        f"fetched {size} bytes in ",
        f"sha256 {package.fields['sha256'][:12]} is what was signed",
        "unpacked 3 files, 3.0 MB, in ",
    ]
    installed = told(site.run("install", plan))
    for line, expected in zip(installed, brought_up, strict=True):
        assert line[:100] == expected[:100]
    for verb in ("verify", "prove"):
        answered, running = told(site.run(verb, plan))
        assert answered.startswith(healthy)
        assert running == runs
    restored = told(site.run("restore", plan))
    assert restored[2] == "current: 1.1 -> 1.0"
    assert [line.partition(":")[0] for line in restored[:2]] == ["stop", f"port {site.port} was free after "]
    assert restored[5].startswith("runs 1.0, ")


def test_a_verb_that_failed_says_how_far_it_came(site: Site) -> None:
    """And a repetition, or whoever reads the journal, is told the same."""
    site.release(site.build("1.0"))
    package = site.build("1.1")
    site.deployment_id += 1
    site.run("download", site.plan(package))
    plan = site.plan(package, start=["/no/such/program"])

    report = site.run("install", plan)

    assert told(report)[-1] == "current: 1.0 -> 1.1"
    assert site.run("install", plan)["lines"] == site.run("status", plan, verb="install")["lines"] == report["lines"]


def test_a_version_that_was_not_downloaded_is_not_installed(site: Site) -> None:
    """Install never fetches, and what runs goes on running."""
    site.release(site.build("1.0"))
    site.deployment_id += 1

    report = site.run("install", site.plan(site.build("1.1")))

    assert report["code"] == "host.version_missing"
    assert report["running_version"] == "1.0"


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"stop": sh("echo no such unit >&2; exit 3")}, "lifecycle.stop_failed", "no such unit"),
        ({"stop": sh("exec cat {deploy_path}/never"), "command_timeout_s": 1}, "lifecycle.stop_timeout", "1 s"),
        ({"start": sh("echo bad unit; exit 4")}, "lifecycle.start_failed", "bad unit"),
        ({"start": ["/no/such/program"]}, "lifecycle.start_failed", "/no/such/program"),
        ({"start": sh("exec cat {deploy_path}/never"), "command_timeout_s": 1}, "lifecycle.start_timeout", "1 s"),
    ],
)
def test_a_lifecycle_command_that_fails_is_named(site: Site, change: dict, code: str, word: str) -> None:
    """The code says which command and how, the message what it said last."""
    import os

    package = site.build("1.0")
    os.mkfifo(site.deploy_path / "never")
    site.run("download", site.plan(package))

    report = site.run("install", site.plan(package, **change))

    assert (report["state"], report["code"]) == ("failed", code)
    assert word in report["message"]


def test_what_was_started_in_vain_is_heard(site: Site) -> None:
    """A verify that fails ran no command itself: with it comes the end of what install has started, from the log."""
    package = site.build("1.0")
    plan = site.plan(package, start=sh("echo opening {port}; echo no such database >&2"), startup_timeout_s=1)
    site.run("download", plan)
    assert site.run("install", plan)["state"] == "succeeded"

    report = site.run("verify", plan)

    assert report["code"] == "health.timeout"
    assert report["detail"]["output"].splitlines()[-2:] == [f"opening {site.port}", "no such database"]


def test_a_stop_that_leaves_the_port_taken_is_a_failure(site: Site) -> None:
    """A stop that returns is not enough: nothing is switched while the old process still listens."""
    site.release(site.build("1.0"))
    site.deployment_id += 1
    plan = site.plan(site.build("1.1"), stop=["/bin/true"])
    site.run("download", plan)

    report = site.run("install", plan)

    assert report["code"] == "lifecycle.still_running"
    assert report["detail"]["processes"] == [(site.deploy_path / "shared/app.pid").read_text()]
    assert site.current == "1.0"


def test_a_directory_in_the_place_of_current_is_not_replaced(site: Site) -> None:
    """What an operator made by hand is told, not removed."""
    package = site.build("1.0")
    (site.deploy_path / "current").mkdir()
    site.run("download", site.plan(package))

    assert site.run("install", site.plan(package))["code"] == "host.current_not_link"


def test_lifecycle_commands_get_facts_and_no_shell(site: Site) -> None:
    """Placeholders are replaced by their letters, the environment says the same, the deploy path is where they run."""
    import sys

    package = site.build("1.0")
    script = "import json,os,sys; json.dump([sys.argv[1:], os.getcwd(), dict(os.environ)], open('shared/seen', 'w'))"
    arguments = ["{app}-{version}", "{port}", "$HOME; {instance} {other}", "{deploy_path}"]
    plan = site.plan(package, start=[sys.executable, "-I", "-S", "-c", script, *arguments])
    site.run("download", plan)
    site.run("install", plan)

    argv, cwd, env = json.loads((site.deploy_path / "shared" / "seen").read_text())
    assert argv == ["app-1.0", str(site.port), f"$HOME; {plan['instance']} {{other}}", str(site.deploy_path)]
    assert cwd == str(site.deploy_path)
    assert {name: env["ROLLWAVE_" + name] for name in ("APP", "VERSION", "PORT", "INSTANCE", "DEPLOY_PATH")} == {
        "APP": "app",
        "VERSION": "1.0",
        "PORT": str(site.port),
        "INSTANCE": plan["instance"],
        "DEPLOY_PATH": str(site.deploy_path),
    }


def test_a_sick_app_fails_verify_with_what_it_last_said(site: Site) -> None:
    """health.timeout after the start-up time, with the last status and the beginning of its body."""
    plan = site.plan(site.build("1.0", files={"SICK": b""}), startup_timeout_s=1)
    site.run("download", plan)
    site.run("install", plan)

    report = site.run("verify", plan)

    assert report["code"] == "health.timeout"
    assert "status 503: no database" in report["message"]


def test_an_app_that_is_down_fails_verify(site: Site) -> None:
    """Nothing listens: the message says so."""
    plan = site.plan(site.build("1.0"), startup_timeout_s=1)
    site.run("download", plan)

    report = site.run("verify", plan)

    assert report["code"] == "health.timeout"
    assert "connection refused" in report["message"]


def trickle(connection: socket.socket, *, is_over: Event) -> None:
    """One byte after the other, each soon enough for who waits for a byte; it would take most of a minute."""
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"." * 200:
            connection.sendall(bytes([byte]))
            if is_over.wait(0.2):
                break


def say_nothing(_connection: socket.socket, *, is_over: Event) -> None:
    """Whoever asks is heard, and gets no answer."""
    is_over.wait()


@contextlib.contextmanager
def listening(answer: Callable[..., None]) -> Iterator[int]:
    """Let *answer* have every connection to a port."""
    is_over, threads = Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            with contextlib.ExitStack() as open_ones:
                while not is_over.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection = open_ones.enter_context(server.accept()[0])
                        connection.settimeout(None)
                        threads.append(Thread(target=answer, args=(connection,), kwargs={"is_over": is_over}))
                        threads[-1].start()
                for one in threads:
                    one.join()

        threads_of_server = Thread(target=serve)
        threads_of_server.start()
        yield server.getsockname()[1]
        is_over.set()
        threads_of_server.join()


@pytest.mark.parametrize("answer", [trickle, say_nothing])
def test_no_app_holds_verify_for_longer_than_its_start_up_time(site: Site, answer: Callable[..., None]) -> None:
    """A page that never answers, or never ends, is one that does not answer: start-up time bounds the whole look."""
    with listening(answer) as port:
        site.port = port
        plan = site.plan(site.build("1.0"), startup_timeout_s=1)
        began_at = time.monotonic()
        report = site.run("verify", plan)
        took_s = time.monotonic() - began_at

    assert report["code"] == "health.timeout"
    assert "timed out" in report["message"]
    assert took_s < 10, "one look alone would have taken most of a minute"


def test_one_look_ends_when_its_time_is_up(site: Site) -> None:
    """Prove looks once: its patience is for the whole answer, not for the next byte of it."""
    with listening(trickle) as port:
        site.port = port
        report = site.run("prove", site.plan(site.build("1.0")))

    assert report["code"] == "health.unhealthy"
    assert report["detail"]["answer"] == "timed out"


def test_prove_does_not_wait(site: Site) -> None:
    """It asks once: an app that is down is not proven, however long its start-up may take."""
    plan = site.plan(site.build("1.0"), startup_timeout_s=86400)
    site.run("download", plan)

    assert site.run("prove", plan)["code"] == "health.unhealthy"


@pytest.mark.parametrize("version_path", [None, "/version"])
def test_another_version_than_the_goal_is_wrong(site: Site, version_path: str | None) -> None:
    """By the app's own word or by the process that owns the port: health alone is not enough."""
    site.release(site.build("1.0"))
    site.deployment_id += 1

    report = site.run("verify", site.plan(site.build("1.1"), version_path=version_path))

    assert report["code"] == "health.wrong_version"
    assert report["detail"]["running_versions"] == ["1.0"]


def test_the_version_shown_is_the_processs_not_the_links(site: Site) -> None:
    """I17: a link that was switched behind a running process deceives nobody."""
    site.release(site.build("1.0"))
    package = site.build("1.1")
    site.deployment_id += 1
    site.run("download", site.plan(package))
    (site.deploy_path / "current").unlink()
    (site.deploy_path / "current").symlink_to("releases/1.1")

    report = site.run("status", site.plan(package), verb="install")

    assert (report["running_version"], report["current_version"]) == ("1.0", "1.1")


def test_a_stranger_on_the_port_proves_nothing(site: Site) -> None:
    """A process from outside the deploy path answers: healthy, but of unknown version."""
    from tests.integration.host.web import PackageServer

    server = PackageServer(b"well")
    with server.serving():
        site.port = server.server_port
        report = site.run("verify", site.plan(site.build("1.0"), startup_timeout_s=1))

    assert report["code"] == "health.unknown_version"


def test_ignored_verify_still_says_what_it_saw(site: Site) -> None:
    """ignore_verify lets verify pass; prove is never lenient."""
    plan = site.plan(site.build("1.0"), startup_timeout_s=1, ignore_verify=True)

    verified, proven = site.run("verify", plan), site.run("prove", plan)

    assert verified["state"] == "succeeded"
    assert verified["detail"]["ignored"]["code"] == "health.timeout"
    assert proven["state"] == "failed"


def test_restore_brings_the_previous_version_back_without_a_download(site: Site) -> None:
    """The package source may be gone: what is needed is on the server."""
    old, new = site.build("1.0"), site.build("1.1")
    site.release(old)
    plan = site.release(new)
    old.archive.unlink()
    new.archive.unlink()

    report = site.run("restore", plan)

    assert report["state"] == "succeeded", report
    assert (report["running_version"], report["current_version"]) == ("1.0", "1.0")


def test_restore_needs_a_previous_version(site: Site) -> None:
    """None planned, or gone from the server: the app is not touched."""
    plan = site.release(site.build("1.0"))
    none_planned = site.run("restore", plan)
    gone = site.run("restore", {**plan, "previous_version": "0.9"}, attempt=2)

    assert {none_planned["code"], gone["code"]} == {"host.no_previous_version"}
    assert gone["running_version"] == "1.0"


def test_old_versions_are_removed_but_never_one_that_is_needed(site: Site) -> None:
    """I16 on a real host: beyond keep_versions the oldest go; current, previous and what a process uses stay."""
    for version in ("1.0", "1.1", "1.2", "1.3"):
        assert (
            site.run("download", site.plan(site.build(version)), attempt=int(version[-1]) + 1)["state"] == "succeeded"
        )
        site.deployment_id += 1
    with (site.deploy_path / "releases/1.1/VERSION").open():
        plan = site.release(site.build("1.4"), previous_version="1.0", keep_versions=2)

    assert site.releases == {"1.0", "1.1", "1.4"}
    report = site.run("install", plan, attempt=2)
    assert site.releases == {"1.0", "1.4"}
    assert report["detail"]["retention"] == {"removed": ["1.1"]}


def test_the_app_inherits_none_of_the_drivers_locks(site: Site) -> None:
    """A started app lives on; the next command must not wait for it."""
    site.release(site.build("1.0"))
    pid = (site.deploy_path / "shared/app.pid").read_text()
    from pathlib import Path

    held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]

    assert not [path for path in held if ".rollwave" in path]


def test_drain_and_undrain_are_a_file(site: Site) -> None:
    """A health page may watch it; status tells it; a stale controller cannot touch it."""
    plan = site.plan(site.build("1.0"))
    drain = site.deploy_path / "shared" / "drain"

    assert site.run("drain", plan, fence=5)["state"] == "succeeded"
    assert drain.exists()
    assert site.run("status", plan, verb="install", fence=5)["detail"]["draining"] is True
    assert site.run("undrain", plan, fence=4)["code"] == "host.fenced"
    assert drain.exists()
    assert site.run("undrain", plan, fence=5)["state"] == "succeeded"
    assert not drain.exists()


def test_a_missing_release_behind_current_is_never_made(site: Site) -> None:
    """A release removed by hand is missing, not broken: install refuses before it stops anything."""
    plan = site.release(site.build("1.0"))
    shutil.rmtree(site.deploy_path / "releases/1.0")

    assert site.run("install", plan, attempt=2)["code"] == "host.version_missing"
    with socket.create_connection(("127.0.0.1", site.port), timeout=5):
        pass
