"""Actions on a deployment."""

from __future__ import annotations

import httpx

from rollwave.cli.exits import Exit
from tests.unit.cli.commands.answers import PLAN
from tests.unit.cli.fake_api import deployment


def test_actions_say_what_they_mean(fleet, cli):
    """Verb, reason, targets and percentage arrive where the API expects them; what was not said is not sent."""
    cli("retry", "12", "--target", "web-01", "--target", "web-02:8080", "--reason", "fixed")
    assert fleet.sent() == {"reason": "fixed", "targets": ["web-01", "web-02:8080"]}

    cli("raise-limit", "12", "40")
    assert fleet.sent() == {"max_unavailable_percent": 40}

    cli("brake", "12")
    assert fleet.sent() == {}


def test_a_brake_says_what_it_did_and_what_is_open(fleet, cli):
    """One sentence, then the commands that are possible next."""
    result = cli("brake", "shop-prod")

    assert "shop-prod (deployment 12): braked, nothing new starts." in result.out
    assert "open now: brake, raise-limit, abort, rollback" in result.out


def test_a_rollback_of_a_release_under_way_says_what_follows(fleet, cli):
    """It is given up first; the version that comes back is named."""
    result = cli("rollback", "12")

    assert "the rollback to 1.4.1 follows" in result.out


def test_a_group_means_its_active_deployment_else_its_latest(fleet, cli):
    """The active one first; where none is, the newest."""
    fleet.on("GET", "deployments", lambda request: httpx.Response(200, json=_listed(request)))
    fleet.on("POST", "deployments/9/actions/abort", deployment(id=9))

    assert cli("abort", "shop-prod").code == Exit.OK
    assert fleet.requests[-1].url.path.endswith("/deployments/9/actions/abort")


def _listed(request):
    return [] if "active" in request.url.params else [deployment(id=9), deployment(id=4)]


def test_what_an_action_would_do_is_asked_and_nothing_is_done(fleet, cli):
    """The same figures as in the portal's dialog; a dry run sends nothing but a question."""
    told = {
        "action": "rollback",
        "closed": "the deployment is over (success)",
        "dangerous": True,
        "title": "Roll back to 1.4.0?",
        "sentences": ["3 targets leave 1.4.1."],
    }
    fleet.on("GET", "deployments/12/consequences/rollback", told)

    result = cli("rollback", "12", "--to", "1.4.0", "--dry-run")

    assert result.out.splitlines() == [told["title"], *told["sentences"], f"not open now: {told['closed']}"]
    assert [request.method for request in fleet.requests] == ["GET"]
    assert fleet.requests[0].url.params["version"] == "1.4.0"


def test_a_dry_rollback_of_a_group_at_rest_is_the_plan_of_one(fleet, cli):
    """The command starts a rollback there, so this is what is shown, as by `plan`; the last release is over anyway."""
    fleet.on("GET", "deployments", lambda request: httpx.Response(200, json=[]))
    fleet.on("POST", "plans", {**PLAN, "kind": "rollback"})

    result = cli("rollback", "shop-prod", "--to", "1.4.0", "--dry-run")

    assert not result.code, result.err
    assert "plan of a rollback" in result.out
    assert fleet.sent() == {"group": "shop-prod", "version": "1.4.0", "kind": "rollback"}
    assert [one.url.path.rpartition("/")[2] for one in fleet.requests] == ["deployments", "plans"]
    assert cli("rollback", "shop-prod", "--dry-run", "--json").document["kind"] == "rollback"


def test_a_dry_rollback_of_a_group_that_moves_is_asked_of_what_moves(fleet, cli):
    told = {"closed": None, "title": "Roll back to 1.4.1?", "sentences": ["This release is given up."]}
    fleet.on("GET", "deployments/12/consequences/rollback", told)

    assert cli("rollback", "shop-prod", "--dry-run").out.splitlines() == [told["title"], *told["sentences"]]
    assert {request.method for request in fleet.requests} == {"GET"}


def test_a_dry_raise_of_the_limit_asks_about_the_percent(fleet, cli):
    told = {"closed": None, "title": "Raise the limit?", "sentences": ["Then 40 %: 4 of 10."]}
    fleet.on("GET", "deployments/12/consequences/raise_limit", told)

    assert told["sentences"][0] in cli("raise-limit", "12", "40", "--dry-run").out
    assert fleet.requests[-1].url.params["max_unavailable_percent"] == "40"
