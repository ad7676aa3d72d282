"""``driver.py check``, asked as it is on a server that has nothing of ours: the driver comes on stdin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from rollwave.host import DRIVER_PATH

if TYPE_CHECKING:
    from pathlib import Path


def a_question(server: Path, **changes: object) -> dict[str, Any]:
    """Return a question about an instance below *server*, to which nothing was released."""
    return {
        "deploy_path": str(server / "shop"),
        "start": ["sh", "-c", "true"],
        "stop": ["/bin/sh", "-c", "true"],
        "health_path": "/healthz",
        "port": 1,
        "free_bytes": 1,
        "app": "shop",
        "instance": "shop/web-1:80",
        "server": "web-1",
    } | changes


def ask(
    question: object, *, python: str = sys.executable, user: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    with DRIVER_PATH.open() as driver:
        return subprocess.run(
            [python, "-I", "-", "check", json.dumps(question)],
            stdin=driver,
            capture_output=True,
            text=True,
            cwd="/",
            env={**os.environ, **variables},
            user=user,
            check=False,
        )


def findings(question: dict[str, Any], **how: Any) -> dict[str, dict[str, str]]:
    """Return what was found, by name."""
    done = ask(question, **how)
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["findings"]}
