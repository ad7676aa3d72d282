"""
The lifecycle command of a host: ``control.py FILE start|stop``, with the standard library alone.

What each HAProxy does with the host goes on record before anything is done to it: a member that is stopped in traffic
is found by this, whatever Rollwave believes.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import sys
import time
from pathlib import Path

SEEN_S = 1.0
"""How long an HAProxy is waited for that does not say what it does, in seconds."""


def seen(path: str, *, pool: str, server: str) -> tuple[str, int] | None:
    """Return the status of *server* and its requests in flight; None where HAProxy does not answer, to the end."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SEEN_S)
            connection.connect(path)
            connection.sendall(f"show stat {pool} 4 -1\n".encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
    except OSError:
        return None
    if not answer.endswith("\n\n"):
        return None  # it died while it answered
    for row in csv.DictReader(answer.removeprefix("# ").splitlines()):
        if row["svname"] == server:
            return row["status"], int(row["scur"] or 0) + int(row["qcur"] or 0)
    return None


def main() -> None:
    """Write the record, then become ``supervisorctl``."""
    options, action = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2]
    edges = {name: seen(path, pool=options["pool"], server=options["host"]) for name, path in options["edges"].items()}
    # The driver lends us the log of the verb that it does: it is named after that.
    verb = Path("/proc/self/fd/1").readlink().stem
    with Path(options["record"]).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"at": time.time(), "action": action, "verb": verb, "edges": edges}) + "\n")
    os.execv(options["supervisor"][0], [*options["supervisor"], action, options["app"]])  # no shell


if __name__ == "__main__":
    main()
