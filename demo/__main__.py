"""``./dev demo [--distributed]``: set up a fleet, release to it under load, show what happened. See `demo.story`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
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
        try:
            lab.start()
            story = Story(lab, say=say, shows_tree=not options.json)
            story.play()
            lab.stop_load()
            result = {**summary(story.findings, lab.load_report()), "broker": rollwave.broker}
            if options.json:
                print(json.dumps(result))
            else:
                show(console, result)
            if options.keep:
                keep(console, lab)
        except KeyboardInterrupt:
            console.print("Stopped before its end.")
            return 1
        except LabError as error:
            console.print(f"[bold]The demo did not work:[/bold] {error}", style="red")
            return 1
        finally:
            lab.stop()
    return 0 if result["ok"] else 1


def summary(findings: Findings, load: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was found, for machines."""
    return {
        "ok": not findings.wrong and load["failed"] == 0 and load["sent"] > 0,
        "requests_sent": load["sent"],
        "requests_failed": load["failed"],
        "request_failures": load["causes"],
        "slowest_request_s": round(load["slowest_s"], 3),
        "answers_by_version": load["versions"],
        "recovery_s": round(findings.recovery_s, 2),
        "rollback_s": round(findings.rollback_s, 2),
        "out_of_traffic_s_p50": round(median(findings.out_of_traffic_s), 2),
        "releases": findings.releases,
        "wrong": findings.wrong,
    }


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
