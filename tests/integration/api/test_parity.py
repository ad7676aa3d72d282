"""What pages say, the API says: time and sites of a plan, gate and pace, consequences, comparison, search, flags."""

from __future__ import annotations

import re


def test_a_plan_says_where_it_goes_and_how_long_it_takes(shop):
    """Sites of each batch and of all; the time by the last good release, null before there was one."""
    wish = {"group": shop.name, "version": "1.0"}
    first = shop.api.post("/plans", wish)
    assert first["eta_s"] is None
    assert first["sites"] == {"a": 2, "b": 2}
    assert sum(sum(batch["sites"].values()) for batch in first["batches"]) == 4

    shop.release("1.0")

    assert shop.api.post("/plans", {**wish, "version": "1.1", "config": {"batch_pause_s": 60}})["eta_s"] > 60


def test_a_release_says_its_gate_and_what_an_action_would_do(shop):
    """In the language that is asked for, as the page does; nothing is done by asking."""
    deployment = shop.deploy("1.0")["id"]
    seen = shop.until(deployment, "verify_success")
    assert seen["gate"]["word"] == "Verified"
    chinese = shop.api.http.get(f"/deployments/{deployment}", headers={"Accept-Language": "zh"}).json()
    assert chinese["gate"]["word"] != "Verified"

    told = shop.api.get(f"/deployments/{deployment}/consequences/promote")

    assert (told["action"], told["closed"], told["dangerous"]) == ("bake", None, False)
    assert "1 target with 1.0" in told["sentences"][0]
    assert shop.api.get(f"/deployments/{deployment}/consequences/abort")["dangerous"] is True
    assert shop.api.get(f"/deployments/{deployment}/consequences/next")["closed"]
    chinese = shop.api.http.get(
        f"/deployments/{deployment}/consequences/next", headers={"Accept-Language": "zh"}
    ).json()
    assert not re.search("[a-z]{3}", chinese["closed"].replace("shop", "")), chinese
    shop.api.get(f"/deployments/{deployment}/consequences/rollback", 404, version="9")
    shop.api.get(f"/deployments/{deployment}/consequences/dance", 404)
    assert shop.api.get(f"/deployments/{deployment}")["phase"] == "verify_success"


def test_what_an_action_refuses_is_refused_before_it_is_done(make_shop):
    """By the same code: another version than was asked for, or fewer targets, is never what is told of."""
    config = {"max_unavailable_percent": 30, "startup_timeout_s": 1}
    shop = make_shop(4, versions=("1.0", "1.1", "2.0", "broken"), config=config)
    for version in ("1.0", "1.1"):
        shop.release(version)
    deployment = shop.deploy("broken", config={"canary_count": 0})["id"]
    seen = shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"] and not seen["counts"]["in_flight"])
    assert seen["counts"]["failed"]
    failed = next(
        one["server"] for one in shop.api.get(f"/deployments/{deployment}/targets") if one["standing"] == "failed"
    )

    for verb, query, body in (
        ("rollback", {"version": "2.0"}, {"version": "2.0"}),
        ("rollback", {"version": "9"}, {"version": "9"}),
        ("retry", {"target": [failed, "nobody"]}, {"targets": [failed, "nobody"]}),
        ("retry", {"cause": "no.such"}, {"cause": "no.such"}),
        ("raise_limit", {"max_unavailable_percent": 30}, {"max_unavailable_percent": 30}),
    ):
        asked = shop.api.http.get(f"/deployments/{deployment}/consequences/{verb}", params=query)
        done = shop.api.http.post(f"/deployments/{deployment}/actions/{verb}", json=body)
        assert asked.status_code == done.status_code >= 400, (asked.text, done.text)
        assert asked.json()["error"] == done.json()["error"]

    def told(verb: str, **query: object):
        return shop.api.get(f"/deployments/{deployment}/consequences/{verb}", **query)

    assert told("rollback", version="1.0")["title"] == "Roll back to 1.0?"
    assert told("rollback")["title"] == "Roll back to 1.1?"
    assert told("retry", target=[failed])["title"] == "Retry 1 target?"
    assert "Then 50 %: 2 of 4." in told("raise_limit", max_unavailable_percent=50)["sentences"]
    shop.act(deployment, "abort", {})


def test_two_deployments_are_compared(shop, api, make_shop):
    """What differs is marked; who may not see one of them is refused."""
    one, other = shop.release("1.0"), shop.release("1.1")

    rows = {row["field"]: row for row in api.get("/deployments/compare", a=one, b=other)["fields"]}

    assert (rows["goal_version"]["a"], rows["goal_version"]["b"], rows["goal_version"]["differs"]) == (
        "1.0",
        "1.1",
        True,
    )
    assert not rows["group"]["differs"]
    assert rows["failures"]["a"] == {}
    api.get("/deployments/compare", 404, a=one, b=999_999)
    token = api.post("/tokens", {"name": f"c-{shop.name}", "roles": ["viewer:another"]}, 201)["token"]
    answer = api.http.get(
        "/deployments/compare", params={"a": one, "b": other}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 403


def test_a_search_finds_what_a_text_is_a_part_of(shop, api):
    deployment = shop.release("1.0")

    found = api.get("/search", q=shop.name)
    assert [one["name"] for one in found["groups"]] == [shop.name]
    assert {one["name"] for one in found["servers"]} == set(shop.servers)
    assert [one["id"] for one in api.get("/search", q=f"#{deployment}")["deployments"]] == [deployment]
    api.get("/search", 422, q="")


def test_every_flag_says_who_raised_it(shop, api):
    """A person with a reason, or the release that left it out."""
    api.post(f"/groups/{shop.name}/instances/{shop.servers[0]}/hold", {"reason": "disk"})
    api.post(f"/servers/{shop.servers[1]}/offline", {"reason": "power"})
    deployment = shop.deploy("broken", config={"canary_count": 0})["id"]
    api.until(f"/deployments/{deployment}", lambda seen: seen["counts"]["failed"])

    by_server = {one["server"]: one["raised"] for one in api.get(f"/groups/{shop.name}")["instances"]}

    (held,) = by_server[shop.servers[0]]
    assert (held["flag"], held["actor"], held["reason"]) == ("hold", "admin", "disk")
    (down,) = by_server[shop.servers[1]]
    assert (down["flag"], down["reason"]) == ("offline", "power")
    raised = [one for server in shop.servers[2:] for one in by_server[server]]
    assert deployment in [one["deployment"] for one in raised if one["flag"] == "failed"]
    assert api.get(f"/servers/{shop.servers[1]}")["instances"][0]["raised"] == [down]
