"""Which database, in Django's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

SQLITE_OPTIONS: Final = {
    "timeout": 30,
    # Every transaction that may write says so at once: no upgrade from a read lock can fail half-way.
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
}

POSTGRESQL_OPTIONS: Final = {
    # A server that is gone is noticed: at once where its machine says so, in half a minute where nobody answers.
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def database(data_dir: Path, url: str | None) -> dict[str, Any]:
    """Return Django's settings of the database at *url*; without one, of the SQLite file in *data_dir*."""
    if url is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": data_dir / "rollwave.sqlite3",
            "OPTIONS": SQLITE_OPTIONS,
        }
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  # slow to import, and SQLite does without

    known = conninfo_to_dict(url)
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{django: known.pop(libpq) for libpq, django in names.items() if libpq in known},
        "OPTIONS": {**POSTGRESQL_OPTIONS, **known},
        # A request closes its own: its thread is nobody's afterwards, and would keep the connection for ever.
        # The engine's threads hear of no request, and keep theirs.
        "CONN_MAX_AGE": 0,
    }
