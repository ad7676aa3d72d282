"""What every process does first: Django, and a schema that fits."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import django

from rollwave.domain.errors import RollwaveError
from rollwave.settings_file import SETTINGS_NAME, read_settings

if TYPE_CHECKING:
    from rollwave.settings_file import SettingsFile
    from rollwave.web.data_dir import DataDir


class SchemaNotCurrentError(RollwaveError):
    """The database cannot be used, or lacks what this version wants of it."""

    code = "database.not_ready"

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(
            f"{what}: {reason}; see that the database answers, then run `rollwave migrate`", what=what, reason=reason
        )


class SetUpInvalidError(RollwaveError):
    """The command belongs to another set-up than the settings describe."""

    code = "settings.other_set_up"

    def __init__(self, *, place: DataDir, key: str, hint: str) -> None:
        super().__init__(f"{place.path / SETTINGS_NAME}: {key}; {hint}", key=key)


def set_up_django(place: DataDir) -> None:
    """Let this process use models, of the database that the settings of *place* name."""
    os.environ["ROLLWAVE_DATA"] = str(place.path)
    os.environ["DJANGO_SETTINGS_MODULE"] = "rollwave.web.settings"
    tempfile.tempdir = str(place.uploads)
    django.setup()


def settings_of(place: DataDir) -> SettingsFile:
    """Return the settings of *place*; raises SettingsInvalidError."""
    return read_settings(place.path / SETTINGS_NAME)


def require_embedded(place: DataDir) -> SettingsFile:
    """
    Return the settings of a set-up that is one process.

    Raises:
        SetUpInvalidError: If others may work on its database.
    """
    settings = settings_of(place)
    for key, url in (("database.url", settings.database.url), ("broker.url", settings.broker.url)):
        if url is not None:
            hint = "`rollwave serve` is the set-up without; run `rollwave web` and `rollwave worker`, or remove it"
            raise SetUpInvalidError(place=place, key=f"{key} is set", hint=hint)
    return settings


def require_distributed(place: DataDir, *, broker: bool) -> SettingsFile:
    """
    Return the settings of a set-up of many processes.

    Args:
        place: Whose.
        broker: Whether a broker is needed as well as a database.

    Raises:
        SetUpInvalidError: If there is none.
    """
    settings = settings_of(place)
    wanted = {"database.url": settings.database.url, **({"broker.url": settings.broker.url} if broker else {})}
    for key, url in wanted.items():
        if url is None:
            variable = f"ROLLWAVE_{key.partition('.')[0].upper()}_URL"
            hint = f"set it there or as {variable}; on one machine `rollwave serve` does without"
            raise SetUpInvalidError(place=place, key=f"{key} is missing", hint=hint)
    return settings


def migrate() -> list[str]:
    """
    Bring the schema to what this version wants; return the migrations that were done.

    Raises:
        SchemaNotCurrentError: If the database does not answer.
    """
    from django.core.management import call_command  # noqa: PLC0415  # needs the settings
    from django.db import OperationalError, connection  # noqa: PLC0415
    from django.db.migrations.recorder import MigrationRecorder  # noqa: PLC0415

    try:
        if connection.vendor == "postgresql":
            # Of several that are started at once, one does it and the others wait; the lock ends with the connection.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(hashtextextended('rollwave migrate', 0))")
        before = set(MigrationRecorder(connection).applied_migrations())
        call_command("migrate", verbosity=0)
        return sorted(name for _, name in set(MigrationRecorder(connection).applied_migrations()) - before)
    except OperationalError as error:
        raise SchemaNotCurrentError(what="database", reason=str(error).strip()) from error
    finally:
        connection.close()


def require_schema() -> None:
    """Raise SchemaNotCurrentError where the database does not answer, or lacks what this version wants."""
    from django.db import connection  # noqa: PLC0415  # needs the settings

    from rollwave.store import health  # noqa: PLC0415

    for what, state in health.check().items():
        if state != health.OK:
            raise SchemaNotCurrentError(what=what, reason=state)
    connection.close()
