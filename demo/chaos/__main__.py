"""``./dev chaos``: releases by real processes that are killed, stopped and cut off meanwhile. As root, on Linux."""

from __future__ import annotations

import argparse
import fcntl
import json
import secrets
import signal
import statistics
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demo.chaos.lab import ChaosLab
from demo.chaos.leftovers import remove_leftovers, sweep
from demo.chaos.network import require_tools
from demo.chaos.run import Findings, Run
from demo.installation import BROKERS
from demo.processes import LabError, until_interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: Final = Path("/run/rollwave-chaos.lock")
FOLDER: Final = "rw-chaos-"


def main() -> int:
    """Carry out the run; return the exit code: 0 only where every law held."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--releases", type=int, default=24, metavar="N")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="picks the faults; any by default")
    parser.add_argument("--broker", choices=BROKERS, default="rabbitmq")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    # A SIGTERM at any moment ends everything that was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    findings, trouble, code = Findings(), [], 0
    try:
        require_tools()
        with alone(), tempfile.TemporaryDirectory(prefix=FOLDER, ignore_cleanup_errors=True) as folder:
            remove_leftovers(FOLDER, but=Path(folder))
            lab = ChaosLab(Path(folder), broker=options.broker)
            try:
                print(
                    f"{options.releases} releases on {options.broker}, seed {seed}; all of it is in {folder}",
                    flush=True,
                )
                play(lab, findings, seed=seed, releases=options.releases)
                if options.keep:
                    keep(lab)
            finally:
                # From here on nobody interrupts; and what an interrupt kept us from writing down is swept up.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                lab.stop()
                sweep(Path(folder))
    except KeyboardInterrupt:
        trouble, code = ["interrupted"], 130
        print("Interrupted; everything is gone.")
    except LabError as error:
        trouble, code = [str(error)], 1
        print(f"The run did not work: {error}", file=sys.stderr)
    wrong = [*findings.violations, *trouble]
    # Whatever happened: the last line is the one object.
    print(json.dumps({"ok": not wrong, "wrong": wrong, **summary(findings), "seed": seed, "broker": options.broker}))
    return code or int(bool(wrong))


def play(lab: ChaosLab, findings: Findings, *, seed: int, releases: int) -> None:
    """Carry out the releases; where the run itself breaks, say what was seen until then."""
    lab.start()
    run = Run(lab, seed=seed, say=lambda line: print(line, flush=True), findings=findings)
    try:
        run.play(releases)
    finally:
        show(findings)


def show(findings: Findings) -> None:
    """Print the summary for a person."""
    requests = findings.requests
    print(f"\n{findings.releases} releases, {findings.faults.total()} faults of {len(findings.faults)} kinds")
    if findings.too_late:
        print(f"not counted, because nothing was left to disturb: {', '.join(findings.too_late.elements())}")
    print(
        f"{requests.sent:,} requests, {requests.failed} failed, "
        f"{requests.moved} taken to the other HAProxy when the first one was dead"
    )
    stops = findings.stops
    print(
        f"asked when an application was stopped or started, HAProxys had it out and drained {stops.seen} times, "
        f"were silent {stops.silent} times, and had just come back {stops.forgotten} times"
    )
    print(f"in {findings.looks:,} looks an HAProxy kept at most {findings.most_out} hosts out")
    for what, seconds in (
        ("after a worker's death the next event of the release came", findings.recovery_s),
        ("after a worker's death another worker had the work of the dead", findings.takeover_s),
        ("after its return an HAProxy knew who is out of traffic", findings.remembered_s),
    ):
        if seconds:
            print(f"{what} in {_median(seconds)} s, at most {_most(seconds)} s")
    for violation in findings.violations:
        print(f"VIOLATION: {violation}")
    if not findings.violations:
        print("No law was broken.")


def summary(findings: Findings) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "releases": findings.releases,
        "faults": dict(sorted(findings.faults.items())),
        "too_late": dict(sorted(findings.too_late.items())),
        "requests_sent": findings.requests.sent,
        "requests_failed": findings.requests.failed,
        "requests_moved": findings.requests.moved,
        "violations": len(findings.violations),
        "recovery_s_p50": _median(findings.recovery_s),
        "recovery_s_max": _most(findings.recovery_s),
        "takeover_s_p50": _median(findings.takeover_s),
        "takeover_s_max": _most(findings.takeover_s),
        "remembered_s_max": _most(findings.remembered_s),
        "stops_seen": findings.stops.seen,
        "stops_silent": findings.stops.silent,
        "stops_forgotten": findings.stops.forgotten,
        "looks": findings.looks,
        "most_out": findings.most_out,
    }


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 2) if seconds else None


def _most(seconds: list[float]) -> float | None:
    return round(max(seconds), 2) if seconds else None


def keep(lab: ChaosLab) -> None:
    """Leave the lab as it is until Ctrl-C."""
    print(f"\nStill serving on {lab.url}. Try: {lab.rollwave.line('get', 'groups')}    Stop with Ctrl-C.", flush=True)
    until_interrupted()


@contextmanager
def alone() -> Iterator[None]:
    """Hold the network's names inside the block: two runs at a time would tear down each other's."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another ./dev chaos is running on this machine") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
