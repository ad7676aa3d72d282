"""What stands in for a supervisor: starts the app detached, and stops it by its process id."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path


def start(deploy_path, port):
    app = subprocess.Popen(
        [sys.executable, "-I", "-S", "app.py", port],
        cwd=Path(deploy_path, "current"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    Path(deploy_path, "shared", "app.pid").write_text(str(app.pid))


def stop(deploy_path, _port):
    try:
        process = os.pidfd_open(int(Path(deploy_path, "shared", "app.pid").read_text()))
    except (FileNotFoundError, ProcessLookupError):
        return
    signal.pidfd_send_signal(process, signal.SIGKILL)
    select.select([process], [], [], 20)


{"start": start, "stop": stop}[sys.argv[1]](sys.argv[2], sys.argv[3])
