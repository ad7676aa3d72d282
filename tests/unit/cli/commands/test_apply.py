"""`apply` and `export`."""

from __future__ import annotations

import pytest

from rollwave.cli.exits import Exit


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text("apps:\n  - name: shop\ngroups:\n  - name: shop-prod\n    config:\n      canary_count: 900\n")
    return path


def test_applying_says_what_changed(fleet, cli, spec_file):
    """New things, changed fields with before and after, and how many there are of each."""
    result = cli("apply", "-f", spec_file)

    assert fleet.sent() == {
        "spec": {
            "apps": [{"name": "shop"}],
            "groups": [{"name": "shop-prod", "config": {"canary_count": 900}}],
        },
        "dry_run": False,
        "prune": False,
    }
    assert result.out.splitlines() == [
        "+ app shop",
        "~ group shop-prod",
        "    config.canary_count: 1 → 2",
        "1 created, 1 changed, 1 as it was",
    ]


def test_a_dry_run_says_that_nothing_was_changed(fleet, cli, spec_file):
    """Nobody takes a rehearsal for the thing."""
    result = cli("apply", "-f", spec_file, "--dry-run", "--prune")

    assert (fleet.sent()["dry_run"], fleet.sent()["prune"]) == (True, True)
    assert "nothing was changed" in result.out


def test_a_problem_of_the_server_is_shown_in_the_file(fleet, cli, spec_file):
    """Path to line: the file, the line, the column, the text, and a caret under it."""
    problems = [
        {"path": "groups[0].config.canary_count", "value": 900, "message": "canary_count is 900; expected at most 50"},
        {"path": "groups[0].deploy_path", "value": None, "message": "groups[0].deploy_path is missing"},
    ]
    fleet.refuse("POST", "spec", "spec.invalid", "2 problems", status=422, problems=problems)

    result = cli("apply", "-f", spec_file)

    assert result.code == Exit.USAGE
    assert f"{spec_file}:6:7  canary_count is 900; expected at most 50" in result.err
    assert "  6 │       canary_count: 900\n    │       ^^^^^^^^^^^^^^^^^\n" in result.err
    assert f"{spec_file}:4:5  groups[0].deploy_path is missing" in result.err
    assert result.err.splitlines()[-1] == f"error: {spec_file} has 2 mistakes; nothing was changed"


def test_a_spec_that_is_no_yaml_is_never_sent(fleet, cli, spec_file):
    """What cannot be read is refused here, in the same form, also as JSON."""
    spec_file.write_text("apps:\n  - name: a\n    name: b\n")

    result = cli("apply", "-f", spec_file, "--json")

    assert fleet.requests == []
    assert result.code == Exit.USAGE
    (problem,) = result.document["error"]["facts"]["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (3, 5, "apps[0].name")


def test_the_fleet_is_written_as_a_file(fleet, cli, tmp_path):
    document = {"spec": {"apps": [{"name": "shop"}]}, "text": "apps:\n  - { name: shop }\n"}
    fleet.on("GET", "spec", document)

    assert cli("export", "--app", "shop").out == document["text"]
    assert fleet.requests[-1].url.params["app"] == "shop"
    cli("export", "-o", tmp_path / "fleet.yaml")
    assert (tmp_path / "fleet.yaml").read_text() == document["text"]
