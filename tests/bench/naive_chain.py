"""
What `distributed` compares with: releases as a chain of Celery tasks, one for each stage of each target.

Written as its documentation teaches, with nothing switched off: a task records that its stage begins, does it, and
records that it has ended. Started by ``celery --app tests.bench.naive_chain worker``.
"""

from __future__ import annotations

import os

import psycopg
from celery import Celery, chain

STAGES = ("markdown", "download", "install", "verify", "markup")

TABLES = """
CREATE TABLE naive_target (id bigint PRIMARY KEY, stage text, progress text);
CREATE TABLE naive_event (id bigserial PRIMARY KEY, target_id bigint, stage text, progress text, at timestamptz);
"""

app = Celery("naive", broker=os.environ["ROLLWAVE_BROKER_URL"])
app.conf.task_ignore_result = True
app.conf.task_default_queue = "naive"

_connections: list[psycopg.Connection] = []


def connect() -> psycopg.Connection:
    """Return this process's connection."""
    if not _connections:
        _connections.append(psycopg.connect(os.environ["ROLLWAVE_DATABASE_URL"]))
    return _connections[0]


def record(target_id: int, stage: str, progress: str) -> None:
    """Write one transition, durably."""
    connection = connect()
    connection.execute("UPDATE naive_target SET stage = %s, progress = %s WHERE id = %s", [stage, progress, target_id])
    connection.execute(
        "INSERT INTO naive_event (target_id, stage, progress, at) VALUES (%s, %s, %s, now())",
        [target_id, stage, progress],
    )
    connection.commit()


@app.task
def perform(target_id: int, stage: str) -> None:
    """Do one stage, which takes no time."""
    record(target_id, stage, "running")
    record(target_id, stage, "success")


def begin(target_id: int) -> None:
    """Send one target on its way."""
    chain(*(perform.si(target_id, stage) for stage in STAGES)).apply_async()
