"""
``python -m rollwave.testing.simulate --seeds N --from S``: run worlds, and say whether every law held in all of them.

Progress goes to stderr. The last line of stdout is one JSON object; the exit code is 1 where a law was broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import structlog

from rollwave.testing.simulation.scenario import scenario_of
from rollwave.testing.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rollwave.testing.simulation.world import Result


def simulate(seed: int, *, verbose: bool = False) -> Result:
    """Run the world of one seed to its end."""
    return World(scenario_of(seed), show=_say if verbose else None).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as told by the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    _be_quiet()
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    else:
        seeds = range(options.first, options.first + options.seeds * options.step, options.step)
    began = time.perf_counter()
    digest = hashlib.blake2b(digest_size=16)
    releases = violations = 0
    for done, result in enumerate(_results(seeds, verbose=options.verbose, jobs=options.jobs), start=1):
        digest.update(result.digest.encode())
        releases += result.release_count
        if result.violation is not None:
            violations += 1
            _say_violation(result)
        if done % 100 == 0:
            _say(f"{done} of {len(seeds)} worlds, {releases} releases, {violations} violations")
    hours = (time.perf_counter() - began) / 3600
    answer = {
        "seeds": len(seeds),
        "violations": violations,
        "releases": releases,
        "releases_per_hour": round(releases / hours),
        "hash": digest.hexdigest(),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if violations else 0


def _results(seeds: Sequence[int], *, verbose: bool, jobs: int) -> Iterator[Result]:
    """Yield what became of each world, in order; in so many processes at a time."""
    one = partial(simulate, verbose=verbose)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_be_quiet) as processes:
        yield from processes.map(one, seeds, chunksize=5)


def _be_quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulate", description="Run the engine in simulated worlds.")
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--step", type=int, default=1, help="from one seed to the next: 32 for worlds of one kind")
    parser.add_argument("--seed", type=int, help="replay this one world")
    parser.add_argument("--jobs", type=int, default=1, help="in how many processes; the hash is the same")
    parser.add_argument("--verbose", action="store_true", help="print every event")
    return parser


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _say_violation(result: Result) -> None:
    _say(f"seed {result.seed}: {result.violation}")
    for line in result.last:
        _say(f"  {line}")
    if result.cause:
        _say(result.cause)
    _say(f"replay: python -m rollwave.testing.simulate --seed {result.seed} --verbose")


if __name__ == "__main__":
    # Whoever ends us means the processes that we have started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
