"""
Laws of upgrades: a migration only expands, so that processes of the version before go on beside those of the new one.

A migration that has to break this says so by ``contracts``, a sentence for the operator: what has to have gone before.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

from rollwave.domain.model import Phase
from tests.contract.store.worlds import DjangoWorld
from tests.unit.telemetry.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.migrations.operations.base import Operation

NEVER = (
    migrations.RemoveField,
    migrations.RenameField,
    migrations.DeleteModel,
    migrations.RenameModel,
    migrations.AlterModelTable,
    migrations.AlterUniqueTogether,
    migrations.AddConstraint,
    migrations.RunSQL,
)
"""What a process that does not know of it may fail at, or cannot be judged."""


def is_filled(field: models.Field) -> bool:
    """Whether a row may come without the field."""
    return field.null or field.many_to_many or field.db_default is not NOT_PROVIDED


def narrows(before: models.Field, after: models.Field) -> bool:
    """Whether a value that was right may be wrong now."""
    if type(before) is not type(after) or (before.null and not after.null) or (after.unique and not before.unique):
        return True
    is_shorter = before.max_length is None or (after.max_length is not None and after.max_length < before.max_length)
    return (after.max_length is not None and is_shorter) or (is_filled(before) and not is_filled(after))


def breaks(operation: Operation, state: ProjectState, app: str) -> bool:
    """Whether a process that knows only *state* may fail once *operation* is done."""
    if isinstance(operation, migrations.AddField):
        return not is_filled(operation.field)
    if isinstance(operation, migrations.AlterField):
        before = state.models[app, operation.model_name_lower].get_field(operation.name)
        return narrows(before, operation.field)
    return isinstance(operation, NEVER)


def broken_by(migration: Migration, state: ProjectState) -> list[str]:
    """Return what in *migration* is no expansion of *state*."""
    found, made = [], set()
    for operation in migration.operations:
        about = getattr(operation, "model_name_lower", None)
        if isinstance(operation, migrations.CreateModel):
            made.add(operation.name_lower)
        elif about not in made and breaks(operation, state, migration.app_label):
            found.append(operation.describe())
        operation.state_forwards(migration.app_label, state)
    return found


def test_migrations_only_expand():
    """Each after the first one: what it breaks it says."""
    loader = MigrationLoader(None)
    ours = sorted(key for key in loader.graph.nodes if key[0] == "store")

    for before, key in pairwise(ours):
        migration = loader.graph.nodes[key]
        found = broken_by(migration, loader.project_state(before))
        assert bool(found) == bool(getattr(migration, "contracts", "")), (key, found)


TEXT, NUMBER = models.CharField(max_length=63, null=True), models.IntegerField(db_default=0)


@pytest.mark.parametrize(
    ("operation", "is_broken"),
    [
        (migrations.AddField("one", "new", models.CharField(max_length=9)), True),
        (migrations.AddField("one", "new", models.CharField(max_length=9, default="")), True),
        (migrations.AddField("one", "new", models.CharField(max_length=9, db_default="")), False),
        (migrations.AddField("one", "new", models.CharField(max_length=9, null=True)), False),
        (migrations.AlterField("one", "text", models.CharField(max_length=100, null=True)), False),
        (migrations.AlterField("one", "text", models.CharField(max_length=9, null=True)), True),
        (migrations.AlterField("one", "text", models.CharField(max_length=63)), True),
        (migrations.AlterField("one", "text", models.CharField(max_length=63, null=True, unique=True)), True),
        (migrations.AlterField("one", "text", models.TextField(null=True)), True),
        (migrations.AlterField("one", "number", models.IntegerField()), True),
        (migrations.RemoveField("one", "text"), True),
        (migrations.RenameField("one", "text", "words"), True),
        (migrations.DeleteModel("One"), True),
        (migrations.AddConstraint("one", models.UniqueConstraint(fields=["number"], name="n")), True),
        (migrations.CreateModel("Two", [("id", models.BigAutoField(primary_key=True))]), False),
        (migrations.AddIndex("one", models.Index(fields=["number"], name="i")), False),
    ],
    ids=str,
)
def test_what_breaks_is_seen(operation, is_broken):
    """The check itself knows what it looks for."""
    state = ProjectState()
    state.add_model(_model("One", text=TEXT, number=NUMBER))
    migration = Migration("next", "store")
    migration.operations = [operation]

    assert bool(broken_by(migration, state)) is is_broken


def _model(name: str, **fields: models.Field):
    from django.db.migrations.state import ModelState

    return ModelState("store", name, [("id", models.BigAutoField(primary_key=True)), *fields.items()])


@pytest.fixture
def next_version(django_database) -> Iterator[Migration]:
    """What the next version might bring: in every table a new column, which the database fills; and an index."""
    loader = MigrationLoader(connection)
    state = loader.project_state()
    ours = [one for app, one in state.models if app == "store"]
    column = models.CharField(max_length=9, db_default="new")
    migration = Migration("next", "store")
    migration.operations = [
        *(migrations.AddField(one, "later", column) for one in ours),
        migrations.AddIndex("target", models.Index(fields=["later"], name="later_index")),
    ]
    yield migration
    if connection.vendor == "postgresql":
        # The tables of the next test are these.
        with connection.schema_editor() as editor:
            migration.unapply(state, editor)


class Elsewhere:
    """An object whose methods run in one thread, which is waited for: Django gives no connection to an event loop."""

    def __init__(self, inner: object, thread: ThreadPoolExecutor) -> None:
        self._inner = inner
        self._thread = thread

    def __getattr__(self, name: str):
        method = getattr(self._inner, name)
        return lambda *args, **named: self._thread.submit(method, *args, **named).result()


def test_a_release_goes_on_while_the_schema_is_that_of_the_next_version(next_version):
    """
    A worker of this version drives a release; halfway the database is migrated to the next one, and it drives on.

    It knows none of the new columns, reads and writes every table that a release touches, and begins another release.
    """
    state = MigrationLoader(connection).project_state()
    world = DjangoWorld()
    scene, following = Scene(world), world.add_package("3.0")
    assert broken_by(next_version, state.clone()) == []

    def migrate() -> None:
        with connection.schema_editor() as editor:
            next_version.apply(state.clone(), editor)

    connection.close()
    with ThreadPoolExecutor(max_workers=1) as thread:
        world.store = Elsewhere(world.store, thread)
        phases = scene.releases(following, between=lambda: thread.submit(migrate).result())
        # Looked up in there: each thread has a connection of its own.
        thread.submit(lambda: connection.close()).result()  # noqa: PLW0108

    assert phases == [Phase.SUCCESS, Phase.SUCCESS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT later FROM store_deployment")
        assert cursor.fetchall() == [("new",)]
