"""`settings`."""

from __future__ import annotations


def test_settings_are_shown_as_they_stand_in_the_file(api, cli):
    """Table by table; what is not set is a dash."""
    tables = {"engine": {"lease_s": 10.0, "parallel": None}, "database": {"url": "postgresql://rw:(hidden)@db/rw"}}
    api.on("GET", "settings", {"version": "0.1.0", "data_dir": "/srv/rollwave", "tables": tables})

    result = cli("settings")
    said = result.out
    assert not result.code, result.err

    assert "[engine]\nlease_s = 10.0\nparallel = -" in said
    assert "url = 'postgresql://rw:(hidden)@db/rw'" in said
