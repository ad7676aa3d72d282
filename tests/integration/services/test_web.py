"""A web process on a real PostgreSQL."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx
import psycopg

from demo.installation import BIN, answers
from demo.processes import Program, free_ports, until
from demo.services import Postgres
from tests.needs import needs

REQUESTS = 40


def test_a_web_process_keeps_no_connection_per_request() -> None:
    """However many requests came, PostgreSQL has a handful of connections afterwards: it takes some hundred at most."""
    needs(Postgres)
    with tempfile.TemporaryDirectory(prefix="rw-") as name, Postgres(Path(name) / "postgres") as postgres:
        data, log = Path(name) / "rollwave", Path(name) / "log"
        (port,) = free_ports(1)
        environment = {"ROLLWAVE_DATABASE_URL": postgres.url}
        migrate = Program([BIN / "rollwave", "migrate", "--data", data], log=log, environment=environment)
        migrate.start()
        assert migrate.wait() == 0, log.read_text()
        web = Program([BIN / "rollwave", "web", "--data", data, "--port", str(port)], log=log, environment=environment)
        web.start()
        try:
            endpoint = f"http://127.0.0.1:{port}"
            until(lambda: answers(f"{endpoint}/health/ready"), what="the start of the web process")
            token = (data / "token").read_text().strip()
            with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
                for _ in range(REQUESTS):
                    client.get(f"{endpoint}/api/v1/groups").raise_for_status()
            with psycopg.connect(postgres.url) as connection:
                (count,) = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ).fetchone()
        finally:
            web.stop()
    assert count < REQUESTS / 4
