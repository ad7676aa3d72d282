"""
Tests of the store on PostgreSQL instead of SQLite: ``python -m tests.postgresql [PYTEST ARGUMENT]``.

The database is chosen once for a process, so these run in one of their own, on a server that comes and goes with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.services import Postgres

SUITES = ("tests/contract/store", "tests/unit/store", "tests/unit/web/live")


def main() -> int:
    """Run the suites; return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="rw-test-") as folder, Postgres(Path(folder), fsync=False) as postgres:
        argv = [sys.executable, "-m", "pytest", "-q", *(sys.argv[1:] or SUITES)]
        return subprocess.run(argv, env={**os.environ, "ROLLWAVE_DATABASE_URL": postgres.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
