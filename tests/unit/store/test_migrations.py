"""Law of migrations."""

from __future__ import annotations

from django.core.management import call_command


def test_the_migrations_make_what_the_models_say(django_database):
    """Nobody changes a table without its migration."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
