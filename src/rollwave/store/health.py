"""Whether the store can be worked with: the database answers, and has the tables that this version wants."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping

OK: Final = "ok"


def check() -> Mapping[str, str]:
    """Return how the database and its schema are: `OK`, or what is wrong with them."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        missing = _wanted() - set(MigrationRecorder(connection).applied_migrations())
    except DatabaseError as error:
        return {"database": str(error).strip(), "schema": "not known"}
    # A newer version may have migrated already: it leaves what this one needs, until nobody runs this one any more.
    named = ", ".join(sorted(name for _, name in missing))
    return {"database": OK, "schema": f"to be migrated: {named}" if missing else OK}


@functools.cache
def _wanted() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations or ())
