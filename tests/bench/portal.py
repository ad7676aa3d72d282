"""
What it costs to watch: ``./dev bench portal [--targets N] [--updates N] [--viewers N] [--seconds N]``.

A release of 10,000 targets of which 500 change their state every second, on SQLite: a process of its own writes what
workers would, into the same log; a real server reads it, and headless Chromium shows the real page. First one browser
is watched: what the main thread works, and then frames drawn of those that were possible. Then 200 viewers follow the
same release, and the server's processor time is what they cost, beside what it takes with none. Last line: one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import django
import httpx

from demo.processes import Program, free_ports, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
GROUP = "bench"
PACE_S = 0.05
"""Between two writes."""

PAUSE_S = 3.0
"""Let pass before anything is measured: caches fill, code is compiled."""

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

COUNT_FRAMES = """() => {
    window.measured = { frames: 0, possible: 0, slowest: 0, updates: 0 };
    document.querySelector("release-page").live.addEventListener("cells", (event) => {
        window.measured.updates += event.detail.length;
    });
    const grid = document.querySelector("target-grid");
    let last = performance.now(), drawn = grid.frames;
    const tick = (now) => {
        const passed = now - last;
        window.measured.possible += Math.max(1, Math.round(passed / (1000 / 60)));
        window.measured.frames += 1;
        window.measured.slowest = Math.max(window.measured.slowest, passed);
        window.measured.drawn = grid.frames - drawn;
        last = now;
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
}"""


def set_up(folder: Path) -> None:
    """Use *folder* as the data directory of this process."""
    os.environ["ROLLWAVE_DATA"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "rollwave.web.settings"
    django.setup()


def prepare(folder: Path, targets: int) -> None:
    """Make a release that has begun to roll out, and somebody who may watch; say which, and his session."""
    set_up(folder)
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    from rollwave.store.models import Grant
    from tests.stage import make_group

    call_command("migrate", verbosity=0)
    make_group(GROUP, targets)
    user = get_user_model().objects.create_user("viewer")
    Grant.objects.create(user=user, role="viewer")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    sys.stdout.write(f"{session.session_key}\n")


def write(folder: Path, updates: int) -> None:
    """Play a release, *updates* changes of a cell a second, until stopped; begin another one when it is over."""
    set_up(folder)
    from rollwave.domain import commands as cmd
    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.model import PackageRef
    from rollwave.store.models import Package
    from tests.stage import Play

    package = Package.objects.get(version="4.18.0")
    play = Play(
        GROUP,
        PackageRef(id=package.pk, version=package.version),
        config=DeploymentConfig(prestage=False, max_unavailable_percent=10, canary_count=16),
    )
    play.finish()
    play.act(cmd.Bake)
    play.finish()
    play.act(cmd.RollOut)
    sys.stdout.write(f"ready {play.id}\n")
    sys.stdout.flush()
    due, owed = time.monotonic(), 0.0
    while True:
        # A target that begins, and a step of one in flight, are one change of a cell each.
        owed += updates * PACE_S
        before = play.begun
        owed -= play.step(max(0, round(owed))) + play.begun - before
        due += PACE_S
        time.sleep(max(0.0, due - time.monotonic()))


def serve(folder: Path, port: int) -> None:
    """Serve, without an engine: what is measured is what watching costs."""
    from rollwave.web.server import serve as serve_all

    def wire(data_dir: Path) -> Any:
        from rollwave.bootstrap import build

        return build(data_dir, executors={"local": cast("Any", None)}, balancers={}, runs_engine=False)

    serve_all(folder, port=port, wire=wire)


async def follow(url: str, session: str, viewers: int, seconds: float, seen: asyncio.Event) -> int:
    """Let *viewers* follow the stream at *url* for so long; return how many bytes they were sent."""
    received = 0
    joined = 0

    async def one() -> None:
        nonlocal received, joined
        host, port = url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = "/" + url.split("/", 3)[3]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: rollwave_session={session}\r\n\r\n".encode())
        try:
            first = True
            while text := await reader.read(65_536):
                if first:
                    assert b" 200 " in text.split(b"\r\n", 1)[0], text
                    first = False
                    joined += 1
                    if joined == viewers:
                        seen.set()
                received += len(text)
        finally:
            writer.close()

    watching = [asyncio.create_task(one()) for _ in range(viewers)]
    done = asyncio.gather(*watching)
    await asyncio.wait((asyncio.create_task(seen.wait()), done), timeout=60, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(seconds)
    done.cancel()
    await asyncio.gather(done, return_exceptions=True)
    return received


def cost_of_viewers(pid: int, url: str, session: str, viewers: int, seconds: float) -> dict[str, float]:
    """Return what the server's processor does, in percent of one, while *viewers* follow the release at *url*."""
    cookies = {"rollwave_session": session}
    # As a page does: from a snapshot on. Whoever came without one would have the whole log read for him.
    seq = httpx.get(f"{url}/snapshot", cookies=cookies, timeout=30).json()["seq"]

    async def run() -> dict[str, float]:
        seen = asyncio.Event()
        following = asyncio.create_task(follow(f"{url}/events?since={seq}", session, viewers, PAUSE_S + seconds, seen))
        await seen.wait()
        await asyncio.sleep(PAUSE_S)
        began, before = time.monotonic(), cpu_s(pid)
        await asyncio.sleep(seconds - 1)
        percent = 100 * (cpu_s(pid) - before) / (time.monotonic() - began)
        received = await following
        return {"percent": percent, "kilobytes_per_viewer_s": received / viewers / (seconds + PAUSE_S) / 1000}

    return asyncio.run(run())


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watched(url: str, session: str, seconds: float) -> dict[str, float]:
    """Show the page to a browser; return frames, those that were possible, and the work of its main thread."""
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))) as browser,
    ):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        base = "/".join(url.split("/")[:3])
        context.add_cookies([{"name": "rollwave_session", "value": session, "url": base}])
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector('#live[data-state="live"]')
        page.wait_for_timeout(PAUSE_S * 1000)
        renderers = _renderers(browser)
        # First nothing but the page: to count frames wakes the main thread sixty times a second.
        before, began = sum(map(_main_thread_s, renderers)), time.monotonic()
        page.wait_for_timeout(seconds * 1000)
        worked, passed = sum(map(_main_thread_s, renderers)) - before, time.monotonic() - began
        began = time.monotonic()
        page.evaluate(COUNT_FRAMES)
        page.wait_for_timeout(seconds * 1000)
        measured = page.evaluate("() => window.measured")
        return {**measured, "main_thread_ms_per_s": 1000 * worked / passed, "seconds": time.monotonic() - began}


def _renderers(browser: Any) -> list[int]:
    devtools = browser.new_browser_cdp_session()
    found = devtools.send("SystemInfo.getProcessInfo")["processInfo"]
    return [int(one["id"]) for one in found if one["type"] == "renderer"]


def _main_thread_s(pid: int) -> float:
    """Return what the main thread of a process has had of a processor; what it waited for one does not count."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def part(folder: Path, *arguments: str) -> list[str]:
    """Return how a part of this module is run in a process of its own."""
    return [sys.executable, "-m", "tests.bench.portal", "--part", *arguments, str(folder)]


def measure(targets: int, updates: int, viewers: int, seconds: float) -> Iterator[tuple[str, Any]]:
    """Yield what is measured, by name."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        folder.mkdir()
        (port,) = free_ports(1)
        done = subprocess.run(
            [*part(folder, "prepare"), str(targets)], stdout=subprocess.PIPE, check=True, cwd=ROOT, text=True
        )
        session = done.stdout.split()[-1]
        writer = Program([*part(folder, "write"), str(updates)], log=Path(temporary) / "writer.log", cwd=ROOT)
        server = Program([*part(folder, "serve"), str(port)], log=Path(temporary) / "server.log", cwd=ROOT)
        writer.start()
        try:
            until(lambda: b"ready" in writer.log.read_bytes(), what="the release", timeout_s=120)
            server.start()
            until(lambda: b"ready" in server.log.read_bytes(), what="the server", timeout_s=60)
            number = writer.log.read_text().split()[1]
            url = f"http://127.0.0.1:{port}/deployments/{number}"
            seen = watched(url, session, seconds)
            yield "frames", seen["frames"]
            yield "frames_possible", seen["possible"]
            yield "frames_drawn", seen["drawn"]
            yield "slowest_frame_ms", round(seen["slowest"])
            yield "updates_per_s", round(seen["updates"] / seen["seconds"])
            yield "main_thread_ms_per_s", round(seen["main_thread_ms_per_s"], 1)
            alone = cost_of_viewers(server.pid, url, session, 1, seconds)
            crowd = cost_of_viewers(server.pid, url, session, viewers, seconds)
            yield "server_cpu_percent_1_viewer", round(alone["percent"], 1)
            yield f"server_cpu_percent_{viewers}_viewers", round(crowd["percent"], 1)
            yield "kilobytes_per_viewer_s", round(crowd["kilobytes_per_viewer_s"], 1)
        finally:
            server.stop()
            writer.stop()


def main() -> None:
    """Run the bench, or a part of it."""
    parser = argparse.ArgumentParser(prog="./dev bench portal", description="What it costs to watch a release.")
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--updates", type=int, default=500, help="changes of a cell a second")
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        folder, number = given.rest
        {"prepare": prepare, "write": write, "serve": serve}[given.part](Path(folder), int(number))
        return
    found = {}
    for name, value in measure(given.targets, given.updates, given.viewers, given.seconds):
        found[name] = value
        sys.stdout.write(f"{name:32} {value}\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
