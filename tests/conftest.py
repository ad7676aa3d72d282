"""
Fixtures of every suite: a database of its own for each test that wants one.

Django's settings belong to the process, so its default database cannot be named once and for all: each test that asks
for `django_database` gets a fresh file, copied from one that was migrated once per process. Where
``ROLLWAVE_DATABASE_URL`` names a PostgreSQL server, it gets a database there that is empty again.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import django
import pytest
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Who runs in the background of a shell ignores Ctrl-C, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Until a test names its database there is none: a test that forgets to cannot touch anything.
with mock.patch.dict(os.environ, ROLLWAVE_DATA="/nonexistent/rollwave"):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rollwave.web.settings")
    django.setup()
    # Static files have to be somewhere: gathered once for all tests, by their content.
    settings.STATIC_ROOT = Path(tempfile.gettempdir()) / "rollwave-tests" / Path(settings.STATIC_ROOT).name


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed: of a run that is interrupted, nothing else would."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext[-3000:]}\n")


def _use(path: Path) -> None:
    """Make *path* the default database, for every connection that is opened from now on."""
    from django.db import connections

    connections["default"].close()
    settings = connections.databases["default"]
    settings["NAME"] = path
    # No test cuts the power, so none needs to wait for the disk.
    settings["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"


def _use_database(name: str) -> None:
    """Make *name* the default database, on the PostgreSQL server that the environment names."""
    from django.db import connections

    connections["default"].close()
    connections["default"].settings_dict["NAME"] = connections.databases["default"]["NAME"] = name


def _is_postgresql() -> bool:
    from django.db import connection

    return connection.vendor == "postgresql"


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with every table and nothing in it; to be copied, not used."""
    from django.core.management import call_command

    if _is_postgresql():
        name = f"rollwave_{os.getpid()}"
        _psql(f"CREATE DATABASE {name}")
        _use_database(name)
        call_command("migrate", verbosity=0)
        return Path(name)
    path = tmp_path_factory.mktemp("database") / "migrated.sqlite3"
    _use(path)
    call_command("migrate", verbosity=0)
    _use(Path("/nonexistent/rollwave/none.sqlite3"))
    return path


@pytest.fixture
def django_database(tmp_path: Path, migrated_database: Path) -> Iterator[Path]:
    """
    A database of this test's own, empty but for its tables, as Django's default database; the path of its file.

    Threads that a test starts close their connection themselves: ``connection.close()``.
    """
    if _is_postgresql():
        _use_database(str(migrated_database))
        yield migrated_database
        _empty()
        return
    path = tmp_path / "rollwave.sqlite3"
    shutil.copyfile(migrated_database, path)
    _use(path)
    yield path
    _use(Path("/nonexistent/rollwave/none.sqlite3"))


@pytest.fixture
def memory_broker() -> Iterator[str]:
    """The address of a broker inside this process, with nothing in it; else all of its tests would share it."""
    from kombu.transport.memory import Channel

    Channel.queues.clear()
    yield "memory://"
    Channel.queues.clear()


def _psql(statement: str) -> None:
    """Run *statement* outside of any transaction, at the server that the environment names."""
    import psycopg

    with psycopg.connect(os.environ["ROLLWAVE_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(statement)


def _empty() -> None:
    """Leave the tables, and nothing in them; identities begin anew."""
    from django.apps import apps
    from django.db import connection

    # What migrations fill themselves stays.
    models = [
        one for one in apps.get_models() if one._meta.label not in ("auth.Permission", "contenttypes.ContentType")
    ]
    tables = ", ".join(one._meta.db_table for one in models)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    connection.close()
