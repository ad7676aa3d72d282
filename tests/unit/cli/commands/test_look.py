"""`compare` and `search`."""

from __future__ import annotations


def test_two_releases_are_compared_and_what_is_the_same_is_left_out(fleet, cli):
    rows = [
        {"field": "group", "a": "shop-prod", "b": "shop-prod", "differs": False},
        {"field": "failures", "a": {}, "b": {"health.timeout": 2}, "differs": True},
    ]
    fleet.on("GET", "deployments/compare", {"a": 11, "b": 12, "fields": rows})

    result = cli("compare", "11", "12")

    assert "2 health.timeout" in result.out
    assert "group" not in result.out
    assert "group" in cli("compare", "11", "12", "--all").out


def test_a_search_names_what_it_finds(fleet, cli):
    found = {
        "deployments": [{"id": 12, "group": "shop-prod", "goal_version": "1.4.2"}],
        "groups": [],
        "servers": [{"name": "web-01", "address": "10.0.0.1", "site": "fra"}],
        "packages": [],
    }
    fleet.on("GET", "search", found)

    assert cli("search", "12").out.splitlines() == ["deployment 12  shop-prod 1.4.2", "server web-01  10.0.0.1 fra"]
