"""
What a distributed set-up needs: ``./dev bench sizing [--broker NAME] [--targets N]``.

The memory and the connections to PostgreSQL of each process, after its start and after a release, the memory of the
broker, and what a release leaves in the database. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import psycopg

from demo.installation import BROKERS, Distributed
from demo.services import SERVICES, Postgres
from tests.bench.distributed import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.processes import Program

REQUESTS: Final = 200
"""So many times a web process is asked before its memory is read: at its start it has not loaded everything."""

PAGES: Final = ("/api/v1/groups", "/api/v1/deployments", "/api/v1/servers")

TABLES: Final = """
SELECT relname, pg_total_relation_size(relid), n_live_tup FROM pg_stat_user_tables WHERE relname LIKE 'store_%'
"""


def rss_mb(pids: Iterable[int]) -> float:
    """Return the memory that processes have resident, in MB."""
    pages = (Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1] for pid in pids)
    return round(sum(int(count) for count in pages) * 4096 / 1e6, 1)


def connections(url: str, program: Program) -> int:
    """Return how many connections to PostgreSQL a process has open."""
    told = subprocess.run(["ss", "-Htnp", "state", "established"], capture_output=True, text=True, check=True).stdout
    server = psycopg.conninfo.conninfo_to_dict(url)["port"]
    pids = {f"pid={pid}," for pid in program.processes()}
    return sum(
        line.split()[3].endswith(f":{server}") and any(pid in line for pid in pids) for line in told.splitlines()
    )


def at_rest(folder: Path, broker: str) -> dict[str, Any]:
    """Return what a set-up takes that nobody releases on."""
    rollwave = Distributed(folder, broker=broker)
    with ExitStack() as stack:
        stack.callback(rollwave.stop)
        rollwave.start()
        url = rollwave.services["postgres"].url
        headers = {"Authorization": f"Bearer {rollwave.token}"}
        for endpoint in rollwave.endpoints:
            with httpx.Client(base_url=endpoint, headers=headers) as client:
                for number in range(REQUESTS):
                    client.get(PAGES[number % len(PAGES)]).raise_for_status()
        return {
            "worker_rss_mb": [rss_mb(one.processes()) for one in rollwave.workers],
            "web_rss_mb": [rss_mb(one.processes()) for one in rollwave.webs],
            "worker_connections": [connections(url, one) for one in rollwave.workers],
            "web_connections": [connections(url, one) for one in rollwave.webs],
            "broker_rss_mb": rss_mb(_all_of(rollwave.services[broker].programs)),
        }


def _all_of(programs: Iterable[Program]) -> Iterable[int]:
    return [pid for program in programs for pid in program.processes()]


def after_a_release(folder: Path, broker_name: str, targets: int) -> dict[str, Any]:
    """Return what a release to hosts that answer at once takes and leaves."""
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        broker = stack.enter_context(SERVICES[broker_name](folder / broker_name))
        setting = Setting(folder / "release", postgres, broker, "release")
        setting.part("prepare", "1", str(targets))
        before = _tables(setting.url)
        part = ["tests.bench.distributed", "--part", "worker", str(setting.folder / "{number}.json")]
        with setting.workers(*part) as workers:
            setting.part("release", "1")
            found = {
                "worker_connections": [connections(setting.url, one) for one in workers],
                "broker_rss_mb": rss_mb(_all_of(broker.programs)),
            }
        after = _tables(setting.url)
        grown = {name: (size - before[name][0], rows - before[name][1]) for name, (size, rows) in after.items()}
        return {
            "targets": targets,
            "worker_peak_rss_mb": [one["peak_rss_mb"] for one in setting.told()],
            **found,
            "log_rows_per_target": round(grown["store_event"][1] / targets, 1),
            "log_kb_per_target": round(grown["store_event"][0] / targets / 1e3, 2),
            "database_kb_per_target": round(sum(size for size, _ in grown.values()) / targets / 1e3, 2),
        }


def _tables(url: str) -> dict[str, tuple[int, int]]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        return {name: (size, rows) for name, size, rows in connection.execute(TABLES)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench sizing", description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000, help="of the release that is measured")
    parser.add_argument("--broker", choices=BROKERS, help="this broker alone")
    options = parser.parse_args()
    found = {}
    for broker in [options.broker] if options.broker else BROKERS:
        with tempfile.TemporaryDirectory(prefix="rw-bench-") as name:
            folder = Path(name)
            rest = at_rest(folder / "rest", broker)
            found[broker] = {"at_rest": rest, "after_a_release": after_a_release(folder, broker, options.targets)}
        sys.stderr.write(f"{broker:>8} {json.dumps(found[broker])}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
