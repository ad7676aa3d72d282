"""The spec: what it makes, what it leaves alone, and everything that it refuses, with the place of each mistake."""

from __future__ import annotations

import copy

import pytest


def summary(changes: list[dict]) -> set[tuple[str, str]]:
    return {(one["action"], one["kind"]) for one in changes}


def problems(api, spec, **options) -> dict[str, str]:
    error = api.post("/spec", {"spec": spec, **options}, 422)["error"]
    assert error["code"] == "spec.invalid"
    assert error["field"] == error["facts"]["problems"][0]["path"] or error["field"] is None
    return {one["path"]: one["message"] for one in error["facts"]["problems"]}


def test_a_second_application_changes_nothing(shop):
    """Declarative: the same spec again is unchanged throughout."""
    again = shop.api.post("/spec", {"spec": shop.spec})

    assert {one["action"] for one in again} == {"unchanged"}
    assert len(again) == 1 + 4 + 1 + 4


def test_a_dry_run_tells_the_same_and_does_nothing(api, shop):
    """What a dry run says is what the real run then does."""
    spec = copy.deepcopy(shop.spec)
    spec["groups"][0] |= {"keep_versions": 9, "config": {"batch_pause_s": 3}, "canaries": [shop.servers[1]]}
    spec["servers"].append({"name": f"{shop.name}-new", "address": "10.255.0.1"})
    before = api.get(f"/groups/{shop.name}")

    told = api.post("/spec", {"spec": spec, "dry_run": True})

    assert api.get(f"/groups/{shop.name}") == before
    assert told == api.post("/spec", {"spec": spec})
    (group,) = [one for one in told if one["kind"] == "group"]
    assert group["changes"]["keep_versions"] == {"from": 5, "to": 9}
    after = api.get(f"/groups/{shop.name}")
    assert (after["keep_versions"], after["config"]["batch_pause_s"], after["canaries"]) == (9, 3, [shop.servers[1]])


def test_instances_are_removed_with_prune_alone(api, shop):
    """Without prune an instance that is not listed any more stays, and the answer says so."""
    spec = copy.deepcopy(shop.spec)
    gone = spec["groups"][0]["instances"].pop()

    kept = api.post("/spec", {"spec": spec})
    assert [one["name"] for one in kept if "prune" in str(one["changes"])] == [f"{shop.name}/{gone}:8080"]
    assert len(api.get(f"/groups/{shop.name}")["instances"]) == 4
    pruned = api.post("/spec", {"spec": spec, "prune": True})
    assert ("delete", "instance") in summary(pruned)
    assert [one["server"] for one in api.get(f"/groups/{shop.name}")["instances"]] == shop.servers[:3]


def test_a_group_under_release_keeps_its_instances_and_paths(api, shop):
    """Instances and what hosts were told cannot change under a release; settings of the next one can."""
    deployment = shop.deploy("1.0")["id"]
    shop.until(deployment, "verify_success")
    spec = copy.deepcopy(shop.spec)
    spec["groups"][0]["instances"].pop()
    spec["groups"][0]["start"] = ["/bin/other"]
    spec["servers"][0]["address"] = "10.255.1.1"

    found = problems(api, spec, prune=True)

    assert set(found) == {"groups[0].start", "groups[0].instances", "servers[0].address"}
    assert all(f"deployment {deployment}" in message for message in found.values())
    spec = copy.deepcopy(shop.spec)
    spec["groups"][0]["config"] = {"max_unavailable_percent": 10}
    assert ("update", "group") in summary(api.post("/spec", {"spec": spec}))


def test_every_problem_is_told_at_once_with_its_place(api, shop):
    """Unknown keys with a hint, values out of range, references to nothing: one answer has them all."""
    spec = {
        "apps": [{"name": "Bad Name"}],
        "server": [],
        "servers": [{"name": f"{shop.name}-x", "adress": "10.9.9.9"}],
        "groups": [
            {
                "name": f"{shop.name}-g",
                "app": "nope",
                "deploy_path": "/srv/{sever}",
                "start": [],
                "stop": "systemctl stop x",
                "config": {"max_unavailable_percent": 101, "batch_mode": "fast"},
                "instances": [],
            },
            {
                "name": f"{shop.name}-h",
                "app": f"{shop.name}-nope",
                "deploy_path": "/srv/{server}/h",
                "start": ["x"],
                "stop": ["x"],
                "executor": "loca",
                "balancer": "edgy",
                "canaries": ["s9"],
                "instances": ["no-such-server", {"server": shop.servers[0]}],
            },
        ],
    }

    found = problems(api, spec)

    assert set(found) == {
        "server",
        "apps[0].name",
        "servers[0].adress",
        "groups[0].deploy_path",
        "groups[0].start",
        "groups[0].stop",
        "groups[0].config.max_unavailable_percent",
        "groups[0].config.batch_mode",
        "groups[1].app",
        "groups[1].executor",
        "groups[1].balancer",
        "groups[1].canaries[0]",
        "groups[1].instances[0]",
        "groups[1].instances[1]",
    }
    assert "did you mean 'servers'?" in found["server"]
    assert "did you mean 'address'?" in found["servers[0].adress"]
    assert "did you mean 'local'?" in found["groups[1].executor"]
    assert "did you mean 'edge'?" in found["groups[1].balancer"]
    assert found["groups[0].config.max_unavailable_percent"].endswith("a whole number from 1 to 50")
    assert f"{shop.name}-x" not in [one["name"] for one in api.get("/servers")]


@pytest.mark.parametrize("spec", [None, [], "text", {"groups": {}}, {"groups": [None]}, {"apps": [{}]}])
def test_what_is_no_spec_is_told_so(api, spec):
    assert problems(api, spec)


def test_an_empty_spec_changes_nothing(api):
    assert api.post("/spec", {"spec": {}}) == []
    assert api.post("/spec", {"spec": {"groups": None}}) == []


def test_two_instances_share_neither_port_nor_directory(api, make_shop):
    """Ports of one address and directories of one machine have one owner, which the answer names."""
    shop = make_shop(2)
    spec = copy.deepcopy(shop.spec)
    group = spec["groups"][0]
    other = {**group, "name": f"{shop.name}-other"}
    spec["groups"].append(other)
    found = problems(api, spec)
    assert "belongs to" in found["groups[1].instances"]

    other |= {"port": 9090, "deploy_path": "/srv/{server}/x"}
    assert ("create", "group") in summary(api.post("/spec", {"spec": spec}))
    other["deploy_path"] = "/srv/shared"
    assert "deploy path" in problems(api, spec)["groups[1].instances"]
    other["instances"] = [*other["instances"], other["instances"][0]]
    assert problems(api, spec)["groups[1].instances"]


def test_names_are_given_once(api, shop):
    spec = copy.deepcopy(shop.spec)
    spec["servers"].append(spec["servers"][0])
    spec["groups"][0]["instances"] = [shop.servers[0], {"server": shop.servers[0], "port": 8080}]

    found = problems(api, spec)

    assert set(found) == {"servers[4].name", "groups[0].instances"}


def test_a_group_with_history_keeps_its_app(api, shop):
    """Its releases are of the old app; another app is another group."""
    shop.release("1.0")
    spec = copy.deepcopy(shop.spec)
    spec["apps"].append({"name": f"{shop.name}-b"})
    spec["groups"][0]["app"] = f"{shop.name}-b"

    assert set(problems(api, spec)) == {"groups[0].app"}


def test_offline_is_the_operators_unless_the_spec_says_it(api, shop):
    """A spec that does not mention offline leaves a server as the operators put it."""
    server = shop.servers[0]
    api.post(f"/servers/{server}/offline")
    api.post("/spec", {"spec": shop.spec})
    assert api.get(f"/servers/{server}")["offline"]
    spec = copy.deepcopy(shop.spec)
    spec["servers"][0]["offline"] = False
    api.post("/spec", {"spec": spec})
    assert not api.get(f"/servers/{server}")["offline"]


def test_every_change_is_in_the_audit_log(api, make_shop):
    shop = make_shop(2)
    subjects = {one["subject"]: one["action"] for one in api.get("/audit", limit=1000)}
    assert subjects[f"{shop.name}/{shop.servers[0]}:8080"] == "instance.create"
    assert subjects[shop.servers[0]] == "server.create"


def test_ten_thousand_instances(api, make_shop):
    """A large group is applied in one go, planned, and told in one answer of the declared form."""
    shop = make_shop(10_000, versions=("1.0",))
    deployment = shop.deploy("1.0", start=False)["id"]

    assert len(api.get(f"/deployments/{deployment}/targets")) == 10_000
    assert len(api.get(f"/groups/{shop.name}")["instances"]) == 10_000
    shop.act(deployment, "abort")


def test_subscriptions_of_teams_are_a_part_of_a_spec(api, shop):
    """Made, changed and left alone like everything else; what is secret of them is shown by nobody."""
    secret = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    one = {
        "name": f"{shop.name}-hook",
        "channel": "webhook",
        "settings": {"url": "https://hooks.example/s3cr3t", "secret": secret},
        "topics": ["braked"],
        "groups": [shop.name],
    }
    spec = {"subscriptions": [one]}
    dry = api.post("/spec", {"spec": spec, "dry_run": True})
    assert summary(dry) == {("create", "subscription")}
    api.get(f"/subscriptions/{one['name']}", 404)

    made = api.post("/spec", {"spec": spec})
    assert api.get(f"/subscriptions/{one['name']}")["groups"] == [shop.name]
    assert summary(api.post("/spec", {"spec": spec})) == {("unchanged", "subscription")}
    one["settings"]["url"] = "https://hooks.example/other"
    one["topics"] = ["failed"]
    changed = api.post("/spec", {"spec": spec})
    assert changed[0]["changes"] == {
        "settings": {"from": "(as before)", "to": "(changed)"},
        "topics": {"from": ["braked"], "to": ["failed"]},
    }
    del one["settings"]["secret"]  # the one that the receiver knows is kept
    assert summary(api.post("/spec", {"spec": spec})) == {("unchanged", "subscription")}
    for shown in (dry, made, changed, api.http.get(f"/audit?subject=subscription/{one['name']}").json()):
        assert secret not in str(shown)
        assert "s3cr3t" not in str(shown)


def test_what_is_wrong_with_a_subscription_is_told_with_its_place_and_without_its_secret(api, shop):
    spec = {
        "subscriptions": [
            {"name": "a", "channel": "webhook", "settings": {"url": "https://x.example/"}, "topics": ["braked"]},
            {"name": "b", "channel": "slack", "topics": []},
            {"name": "c", "channel": "slack", "settings": {"url": "s3cr3t"}, "topics": ["failed"], "groups": ["none"]},
            {"name": "d", "channel": "pigeon", "topics": ["weather"]},
        ]
    }
    found = problems(api, spec)
    assert set(found) == {
        "subscriptions[0].settings",
        "subscriptions[1].topics",
        "subscriptions[1].settings",
        "subscriptions[2].settings",
        "subscriptions[2].groups[0]",
        "subscriptions[3].channel",
        "subscriptions[3].topics[0]",
    }
    assert "s3cr3t" not in str(found)
