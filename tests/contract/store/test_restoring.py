"""Laws of a database that was restored from a backup: nothing that it gives is taken for what it gave and lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from rollwave.domain import commands as cmd
from rollwave.store.instants import unix_us
from tests.contract.store.crew import LEASE, Crew, planned
from tests.contract.store.worlds import NOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from tests.contract.store.worlds import DjangoWorld


def back_up(database: Path, copy: Path) -> Callable[[], None]:
    """Make a backup as the production guide says; return what restores it."""
    if connection.vendor == "postgresql":
        url = make_conninfo(os.environ["ROLLWAVE_DATABASE_URL"], dbname=str(database))
        subprocess.run(["pg_dump", "--format=custom", f"--file={copy}", url], check=True)
        restore = ["pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={url}", str(copy)]
        return lambda: _alone(lambda: subprocess.run(restore, check=True))
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

    def restore_file() -> None:
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(database)) as target:
            source.backup(target)

    return lambda: _alone(restore_file)


def _alone(restore: Callable[[], object]) -> None:
    # All processes are stopped for it.
    connection.close()
    restore()


@pytest.fixture
def shop(django_world: DjangoWorld) -> DjangoWorld:
    django_world.add_group("shop")
    django_world.add_instance("shop", "s1")
    return django_world


def release(world: DjangoWorld, *, at: datetime, claims: int) -> tuple[int, list[int], int]:
    """Release 2.0, and let one worker after another claim its slice; return its id, the epochs, and its own time."""
    goal = world.add_package("2.0")
    crew = Crew(world, world.store.create(planned(world, "shop", goal), at=at))
    crew.now = at
    crew.act(cmd.Start(actor="ann"))
    held = [crew.claim(1, now=at + turn * LEASE) for turn in range(claims)]
    (job,) = crew.jobs(held[-1])
    return crew.id, [one.epoch for one in held], job.plan.created_us


def test_nothing_is_given_twice(shop, django_database, tmp_path):
    """A release with the id of a lost one was created later, and every epoch is above all that were lost."""
    restore = back_up(django_database, tmp_path / "backup")
    lost_id, lost_epochs, lost_created_us = release(shop, at=NOON, claims=5)

    restore()
    # No backup is restored within the life of a lease.
    new_id, (epoch,), created_us = release(shop, at=NOON + 10 * LEASE, claims=1)

    assert new_id == lost_id
    assert created_us > lost_created_us
    assert epoch > max(lost_epochs)


def test_deployments_of_a_group_are_created_in_order(world):
    """Whatever the clocks of those who plan say: a host goes by it."""
    world.add_group("shop")
    world.add_instance("shop", "s1")
    goal = world.add_package("2.0")
    times = []
    for at in (NOON, NOON, NOON - LEASE):
        crew = Crew(world, world.store.create(planned(world, "shop", goal), at=at))
        crew.act(cmd.Start(actor="ann"))
        claim = crew.claim(1)
        (job,) = crew.jobs(claim)
        times.append(job.plan.created_us)
        crew.finish(claim)

    assert times == [unix_us(NOON), unix_us(NOON) + 1, unix_us(NOON) + 2]
