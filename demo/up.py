"""``./dev up``: a whole distributed set-up on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.installation import BROKERS, Distributed
from demo.processes import LabError, until_interrupted


def main() -> int:
    """Start it, say where everything is, and stop it again; return the exit code."""
    parser = argparse.ArgumentParser(prog="./dev up", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, default="rabbitmq")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--webs", type=int, default=2, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keeps all data there; a temporary one otherwise")
    options = parser.parse_args()
    console = Console(highlight=False)
    # A SIGTERM at any moment ends everything that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rw-up-")))
            rollwave = Distributed(folder, broker=options.broker, workers=options.workers, webs=options.webs)
            stack.callback(rollwave.stop)
            console.print(
                f"Starting PostgreSQL, {options.broker}, {options.workers} workers, {options.webs} web processes"
            )
            rollwave.start()
            show(console, rollwave)
            until_interrupted()
            console.print("Stopping.")
    except KeyboardInterrupt:
        console.print("Stopped before it was up.")
    except LabError as error:
        console.print(f"[bold]It did not come up:[/bold] {error}", style="red")
        return 1
    return 0


def show(console: Console, rollwave: Distributed) -> None:
    """Print where everything is, and how to talk to it."""
    places = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, service in rollwave.services.items():
        places.add_row(name, service.url)
    for endpoint in rollwave.endpoints:
        places.add_row("API", endpoint)
    places.add_row("workers", ", ".join(f"process {worker.pid}" for worker in rollwave.workers))
    places.add_row("data", str(rollwave.data))
    places.add_row("logs", str(rollwave.root / "logs"))
    console.print(places)
    # Plain lines: what is to be copied is not wrapped.
    print(f"\nTalk to it:\n  {rollwave.line('get', 'groups')}")
    print("One more worker:\n  " + " ".join(f"{name}={value}" for name, value in rollwave.environment.items()), end=" ")
    print(f"./dev rollwave worker --data {rollwave.data}")
    print("\nStop with Ctrl-C.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
