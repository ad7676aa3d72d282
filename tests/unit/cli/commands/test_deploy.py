"""`plan` and `deploy`."""

from __future__ import annotations

import pytest

from rollwave.cli.exits import Exit


def test_a_plan_shows_every_instance_once(fleet, cli):
    """Batches, the canary, pauses, who is left out and why."""
    result = cli("plan", "shop-prod", "1.4.2")

    for number in range(1, 5):
        assert result.out.count(f"web-0{number}:8080") == 1
    for wanted in (
        "canary",
        "30s pause",
        "held",
        "max_unavailable_percent=50",
        "at most 1 of 3",
        "about 1m 35s",
        "2 in fra",
    ):
        assert wanted in result.out
    assert [request.method for request in fleet.requests] == ["POST"]


def test_settings_are_sent_by_type(fleet, cli):
    """Numbers as numbers, truth as truth, words as words."""
    cli(
        "deploy",
        "shop-prod",
        "1",
        "--set",
        "canary_count=2",
        "--set",
        "prestage=false",
        "--set",
        "batch_mode=manual",
    )

    assert fleet.sent()["config"] == {"canary_count": 2, "prestage": False, "batch_mode": "manual"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["canary=2"], "did you mean 'canary_count'"),
        (["canary_count"], "has no value"),
        (["canary_count=1", "canary_count=2"], "given twice"),
        (["zzz=1"], "known: bake_min_s"),
    ],
)
def test_a_setting_that_is_none_is_found_before_anything_is_sent(fleet, cli, settings, said):
    """The command line knows the settings of the domain."""
    result = cli("deploy", "shop-prod", "1.4.2", *(word for one in settings for word in ("--set", one)))

    assert result.code == Exit.USAGE
    assert said in result.err
    assert fleet.requests == []
