"""Laws of migrations."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.management import call_command
from django.db import connection

from rollwave.store import audit
from rollwave.store.models import Grant


def test_the_migrations_make_what_the_models_say(django_database):
    """Nobody changes a table without its migration."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_what_was_there_before_accounts_goes_on(django_database):
    """Old entries of the audit log are the beginning of the chain; old tokens may do what they could: everything."""
    call_command("migrate", "store", "0003", verbosity=0)
    with connection.cursor() as cursor:
        for number in (1, 2):
            cursor.execute(
                "INSERT INTO store_auditentry (at, actor, action, subject, reason, data) "
                "VALUES (%s, %s, %s, %s, %s, %s)",
                [f"2030-01-01 12:00:0{number}+00:00", "ann", "hold", f"shop/s{number}:80", "disk", '{"of": [1]}'],
            )
        cursor.execute(
            "INSERT INTO store_token (name, digest, created_at) VALUES ('ci', 'digest', '2030-01-01 12:00:00+00:00')"
        )

    call_command("migrate", verbosity=0)

    verdict = audit.verify()
    assert (verdict.count, verdict.flaws) == (2, ())
    audit.append([audit.Entry(at=datetime(2030, 1, 2, tzinfo=UTC), actor="bob", action="unhold", subject="shop/s1:80")])
    assert audit.verify().flaws == ()
    assert list(Grant.objects.values_list("token__name", "role", "app", "environment")) == [("ci", "admin", "*", "*")]
