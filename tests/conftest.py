"""
Fixtures of every suite: a database of its own for each test that wants one.

Django's settings belong to the process, so its default database cannot be named once and for all: each test that asks
for `django_database` gets a fresh file, copied from one that was migrated once per process.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import django
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Until a test names its database there is none: a test that forgets to cannot touch anything.
with mock.patch.dict(os.environ, ROLLWAVE_DATA="/nonexistent"):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rollwave.web.settings")
    django.setup()


def _use(path: Path) -> None:
    """Make *path* the default database, for every connection that is opened from now on."""
    from django.db import connections

    connections["default"].close()
    settings = connections.databases["default"]
    settings["NAME"] = path
    # No test cuts the power, so none needs to wait for the disk.
    settings["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with every table and nothing in it; to be copied, not used."""
    from django.core.management import call_command

    path = tmp_path_factory.mktemp("database") / "migrated.sqlite3"
    _use(path)
    call_command("migrate", verbosity=0)
    _use(Path("/nonexistent"))
    return path


@pytest.fixture
def django_database(tmp_path: Path, migrated_database: Path) -> Iterator[Path]:
    """
    A database of this test's own, empty but for its tables, as Django's default database; the path of its file.

    Threads that a test starts close their connection themselves: ``connection.close()``.
    """
    path = tmp_path / "rollwave.sqlite3"
    shutil.copyfile(migrated_database, path)
    _use(path)
    yield path
    _use(Path("/nonexistent"))
