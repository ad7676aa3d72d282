"""``./dev demo [--distributed]``: set up a fleet, release to it under load, show what happened. See `demo.story`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.installation import BROKERS, Distributed, Embedded
from demo.lab import Lab
from demo.processes import LabError, until_interrupted
from demo.story import Findings, Story, median


def main() -> int:
    """Play the demo; return the exit code: 0 only where no request failed and every instance is where it should be."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, on stdout")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    parser.add_argument("--distributed", action="store_true", help="on PostgreSQL, a broker, two workers and two webs")
    parser.add_argument("--broker", choices=BROKERS, default="rabbitmq", help="the broker of --distributed")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    # A SIGTERM at any moment ends everything that was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(text: str) -> None:
        console.print(f"\n[bold]▸ {text}[/bold]")

    with tempfile.TemporaryDirectory(prefix="rw-demo-") as folder:
        root = Path(folder)
        rollwave = Distributed(root, broker=options.broker) if options.distributed else Embedded(root)
        lab = Lab(root, rollwave=rollwave)
        story = Story(lab, say=say, shows_tree=not options.json)
        try:
            is_over = play(lab, story, console)
            result = {**summary(story.findings, lab.load_report()), "broker": rollwave.broker}
            if options.json:
                # Whatever happened: who called a machine's command line reads the one object.
                print(json.dumps(result), flush=True)
            elif is_over:
                show(console, result)
            if options.keep and is_over:
                keep(console, lab)
        finally:
            lab.stop()
    return 0 if result["ok"] else 1


def play(lab: Lab, story: Story, console: Console) -> bool:
    """Play the story and stop the clients; return whether it came to its end. What kept it from that is a finding."""
    try:
        lab.start()
        story.play()
    except KeyboardInterrupt:
        story.findings.wrong.append("stopped before its end")
        console.print("Stopped before its end.")
        return False
    except (LabError, httpx.HTTPError) as error:
        story.findings.wrong.append(str(error))
        console.print(f"[bold]The demo did not work:[/bold] {escape(str(error))}", style="red")
        return False
    finally:
        lab.stop_load()
    return True


def summary(findings: Findings, load: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was found, for machines; null is what the story did not come to."""
    return {
        "ok": not findings.wrong and load["failed"] == 0 and load["sent"] > 0,
        "requests_sent": load["sent"],
        "requests_failed": load["failed"],
        "request_failures": load["causes"],
        "slowest_request_s": round(load["slowest_s"], 3),
        "answers_by_version": load["versions"],
        "recovery_s": rounded(findings.recovery_s),
        "rollback_s": rounded(findings.rollback_s),
        "out_of_traffic_s_p50": rounded(median(findings.out_of_traffic_s)),
        "releases": findings.releases,
        "wrong": findings.wrong,
    }


def rounded(seconds: float | None) -> float | None:
    """Return *seconds* to the hundredth, None where there are none."""
    return None if seconds is None else round(seconds, 2)


def show(console: Console, result: dict[str, Any]) -> None:
    """Print the summary for a person."""
    releases = Table(title="Releases", title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("", "kind", "version", "ended as", "batches", "seconds"):
        releases.add_column(column)
    for one in result["releases"]:
        batches = "+".join(map(str, one["batches"]))
        releases.add_row(
            str(one["id"]), one["kind"], one["version"], one["phase"], batches, f"{one['seconds'] or 0:.1f}"
        )
    figures = Table(title="Figures", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    figures.add_row("client requests sent", f"{result['requests_sent']:,}")
    figures.add_row("client requests failed", str(result["requests_failed"]))
    figures.add_row("slowest request", f"{result['slowest_request_s']} s")
    figures.add_row("time out of traffic per target, median", f"{result['out_of_traffic_s_p50']} s")
    figures.add_row("rollback of the whole group", f"{result['rollback_s']} s")
    figures.add_row("from kill -9 until the release went on", f"{result['recovery_s']} s")
    console.print()
    console.print(releases)
    console.print()
    console.print(figures)
    for problem in (*result["wrong"], *result["request_failures"]):
        console.print(f"[red]✗ {problem}[/red]")
    if result["ok"]:
        console.print("\n[green]✓[/green] No request failed, and every instance runs what it should.")


def keep(console: Console, lab: Lab) -> None:
    """Leave the lab serving until Ctrl-C."""
    console.print(f"\nStill serving on {lab.url}; Rollwave's API is at {lab.rollwave.endpoint}.")
    console.print(f"Try: {lab.rollwave.line('get', 'groups')}    Stop with Ctrl-C.")
    until_interrupted()
    console.print("Stopping.")


if __name__ == "__main__":
    sys.exit(main())
