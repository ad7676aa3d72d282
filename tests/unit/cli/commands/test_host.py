"""`host check` and `host import`."""

from __future__ import annotations

import pytest

from rollwave.cli.exits import Exit


@pytest.mark.parametrize(("verdict", "code"), [("ok", Exit.OK), ("note", Exit.OK), ("missing", Exit.FAILED)])
def test_a_check_says_what_is_missing(api, cli, verdict, code):
    """Every finding is told; the exit code is 0 only where nothing is missing, as the API says."""
    findings = [
        {"name": "python", "verdict": "ok", "message": "Python 3.11.2"},
        {"name": "openssl", "verdict": verdict, "message": "openssl 3.0 or newer is needed"},
    ]
    answer = [{"instance": "shop-prod/web-01:80", "ready": verdict != "missing", "findings": findings}]
    api.on("GET", "servers/web-01/check", answer)

    result = cli("host", "check", "web-01", "--group", "shop-prod")

    assert result.code == code
    assert api.requests[-1].url.params["group"] == "shop-prod"
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0][1:] == (["ready"] if code is Exit.OK else ["not", "ready"])
    assert lines[2] == [verdict, "openssl", "openssl", "3.0", "or", "newer", "is", "needed"]
    assert cli("host", "check", "web-01", "--json").document == answer


def test_import_prints_a_spec_and_applies_nothing(cli, tmp_path):
    """stdout is the spec alone; what was left out is told beside it, and no request is sent."""
    path = tmp_path / "hosts"
    path.write_text("[web]\nweb[1:2] ansible_port=22\n[db]\ndb1\nü1\n")

    result = cli("host", "import", "--from", "ansible", "-f", str(path), "--site", "berlin")

    assert result.code == Exit.OK
    assert result.out.splitlines() == [
        "servers:",
        '  - { name: "web1", address: "web1", site: "berlin" }',
        '  - { name: "web2", address: "web2", site: "berlin" }',
        '  - { name: "db1", address: "db1", site: "berlin" }',
    ]
    assert "left out 'ü1'" in result.err

    result = cli("host", "import", "--from", "ansible", "-f", str(path), "--group", "db", "--json")
    assert result.document == {"servers": [{"name": "db1", "address": "db1"}]}

    result = cli("host", "import", "--from", "salt", "-f", str(path))
    assert result.code == Exit.USAGE
    assert "salt-key --out json" in result.err
