"""`audit`."""

from __future__ import annotations

import httpx

from rollwave.cli.exits import Exit


def test_a_damaged_audit_log_fails_and_says_where(api, cli):
    """A script that looks every night has to notice."""
    flaws = [{"seq": 3, "what": "entry 3 is missing"}]
    api.on("GET", "audit/verify", {"intact": False, "count": 9, "head": "9:ab", "flaws": flaws})

    result = cli("audit", "verify", "--head", "8:cd")

    assert result.code == Exit.FAILED
    assert "entry 3: entry 3 is missing" in result.out
    assert "tampered" in result.err
    assert api.requests[-1].url.params["head"] == "8:cd"


def test_the_audit_log_is_exported_as_it_comes(api, cli, tmp_path):
    """Byte for byte, into the file that was named."""
    api.on("GET", "audit/export", lambda _request: httpx.Response(200, content=b'{"seq":1}\n{"seq":2}\n'))

    result = cli("audit", "export", "-o", str(tmp_path / "audit.jsonl"))

    assert result.code == Exit.OK
    assert (tmp_path / "audit.jsonl").read_bytes() == b'{"seq":1}\n{"seq":2}\n'


def test_an_export_of_the_audit_log_is_filtered_as_the_page_is(fleet, cli):
    fleet.on("GET", "audit/export", lambda _: httpx.Response(200, content=b""))

    cli("audit", "export", "--subject", "shop-prod", "--actor", "maria", "--since", "2026-01-31T08:00Z")

    sent = fleet.requests[-1].url.params
    assert (sent["subject"], sent["actor"], sent["since"]) == ("shop-prod", "maria", "2026-01-31T08:00Z")
