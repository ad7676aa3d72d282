"""Releases over HTTP: what every route does when all is well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread

PROGRAM = Path(sys.executable).with_name("rollwave")


def test_a_rollout_stops_for_its_approvals_and_ends_in_success(shop):
    """The canary is verified and waits; `promote` approves whatever waits, until every target runs the version."""
    deployment = shop.deploy("1.0", reason="first release")["id"]

    waiting = shop.until(deployment, "verify_success")
    assert waiting["status"] == "waiting"
    assert "bake" in waiting["available_actions"]
    assert waiting["batches"][0]["counts"]["verified"] == 1
    shop.act(deployment, "promote")
    shop.until(deployment, "bake_success")
    shop.act(deployment, "promote")
    done = shop.until(deployment, "success")

    assert (done["status"], done["goal_version"], done["actor"]) == ("succeeded", "1.0", "admin")
    assert done["counts"]["success"] == done["counts"]["total"] == 4
    assert done["available_actions"] == []
    targets = shop.api.get(f"/deployments/{deployment}/targets")
    assert [(one["status"], one["version"], one["in_traffic"]) for one in targets] == [("SUCCESS", "1.0", True)] * 4
    group = shop.api.get(f"/groups/{shop.name}")
    assert (group["stable_version"], group["in_traffic_count"], group["versions"]) == ("1.0", 4, {"1.0": 4})


def test_a_plan_names_exactly_the_targets_that_then_roll(shop):
    """POST /plans records nothing; the deployment that follows has the same batches."""
    shop.release("1.0")
    server = shop.servers[1]
    shop.api.post(f"/groups/{shop.name}/instances/{server}/hold", {"reason": "disk"})
    body = {"group": shop.name, "version": "1.1", "config": {"batch_pause_s": 7}}

    plan = shop.api.post("/plans", body)

    assert shop.api.get("/deployments", group=shop.name, active=True) == []
    assert plan["excluded"] == [{"instance": f"{shop.name}/{server}:8080", "reasons": ["hold"]}]
    assert (plan["eligible_count"], plan["limit_count"], plan["previous_version"]) == (3, 1, "1.0")
    assert [batch["pause_s"] for batch in plan["batches"]] == [0, 7, 0]
    assert plan["canaries"] == plan["batches"][0]["instances"]
    deployment = shop.api.post("/deployments", {**body, "start": False}, 201)
    targets = shop.api.get(f"/deployments/{deployment['id']}/targets")
    planned = [(batch["number"], one) for batch in plan["batches"] for one in batch["instances"]]
    assert [(one["batch"], one["instance"]) for one in targets] == planned


def test_a_deployment_that_shall_wait_starts_on_request(shop):
    """With start: false it stays pending until the action `start`."""
    deployment = shop.deploy("1.0", start=False)
    assert (deployment["phase"], deployment["status"]) == ("pending", "pending")

    shop.act(deployment["id"], "start")

    assert shop.until(deployment["id"], "verify_success")


def test_manual_batches_go_one_by_one(shop):
    """`next` (or `promote`) lets one batch go; the sentence says that the next one waits."""
    deployment = shop.deploy("1.0", config={"canary_count": 0, "batch_mode": "manual"})["id"]
    path = f"/deployments/{deployment}"
    shop.api.until(path, lambda seen: seen["status"] == "waiting" and "next" in seen["available_actions"])
    assert shop.api.get(path)["counts"]["success"] == 2

    shop.act(deployment, "next")

    assert shop.until(deployment, "success")["counts"]["success"] == 4


def test_failures_brake_and_a_rollback_follows(shop):
    """Failed targets use up the limit, so the release brakes; a rollback of the group ends it and brings 1.0 back."""
    shop.release("1.0")
    bad = shop.deploy("broken", config={"canary_count": 0})["id"]
    braked = shop.api.until(f"/deployments/{bad}", lambda seen: seen["brake"])
    assert braked["brake"]["cause"] == "failures"
    failed = shop.api.get(f"/deployments/{bad}/targets", standing="failed")
    assert failed
    assert {one["failure"]["stage"] for one in failed} == {"verify"}
    assert not any(one["in_traffic"] for one in failed)

    answer = shop.api.post(f"/groups/{shop.name}/rollback", {"reason": "broken"})

    assert answer["id"] == bad
    assert answer["abort"] == {"reason": "broken", "rollback_to": "1.0"}
    ended = shop.api.until(f"/deployments/{bad}", lambda seen: seen["followed_by"])
    assert shop.until(ended["followed_by"], "success", "failure")["phase"] == "success"
    assert shop.api.get(f"/groups/{shop.name}")["versions"] == {"1.0": 4}


def test_a_balancer_that_is_down_stops_a_release_before_anything_is_installed(make_shop, served):
    """What cannot be pulled out is not touched: every way to look says why, and a retry goes on once it is back."""
    shop = make_shop(2, versions=("1.0", "1.1"), config={"max_unavailable_percent": 50}, balancer="edge", pool="lost")
    shop.release("1.0")
    down = served.data_dir / "down" / "lost"
    down.parent.mkdir()
    down.touch()

    deployment = shop.deploy("1.1", config={"canary_count": 0})["id"]
    braked = shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"])

    assert (braked["status"], braked["brake"]["cause"]) == ("braked", "failures")
    (failed,) = shop.api.get(f"/deployments/{deployment}/targets", standing="failed")
    assert (failed["failure"]["code"], failed["failure"]["stage"]) == ("balancer.unknown", "markdown")
    assert "the balancer at 127.0.0.1:2019 does not answer" in failed["failure"]["message"]
    events = shop.api.get(f"/deployments/{deployment}/events")
    assert {one["data"]["stage"] for one in events if one["kind"] == "Transition"} == {"markdown"}
    place = ["--endpoint", served.endpoint, "--token-file", str(served.data_dir / "token")]
    seen = subprocess.run([PROGRAM, "get", str(deployment), *place], capture_output=True, text=True, check=True)
    assert "does not answer: connection refused" in " ".join(seen.stdout.split())
    down.unlink()
    shop.act(deployment, "retry")
    assert shop.until(deployment, "success", "failure")["phase"] == "success"
    assert shop.api.get(f"/groups/{shop.name}")["versions"] == {"1.1": 2}


def test_a_group_at_rest_is_rolled_back_by_a_deployment(shop):
    """Without an active deployment the answer is the rollback itself, to the stable version before."""
    shop.release("1.0")
    shop.release("1.1")

    answer = shop.api.post(f"/groups/{shop.name}/rollback", Idempotency_Key=f"{shop.name}-back")
    again = shop.api.post(f"/groups/{shop.name}/rollback", Idempotency_Key=f"{shop.name}-back")

    assert (answer["kind"], answer["goal_version"], answer["id"]) == ("rollback", "1.0", again["id"])
    assert shop.until(answer["id"], "success", "failure")["phase"] == "success"


def test_the_rest_of_the_actions(shop):
    """brake, resume, raise_limit, retry of named targets and of a cause, abort: each does what it says."""
    shop.release("1.0")
    config = {"canary_count": 0, "max_unavailable_percent": 25, "on_target_failure": "restore"}
    deployment = shop.deploy("broken", config=config)["id"]
    shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"] and not seen["counts"]["in_flight"])
    (failed,) = shop.api.get(f"/deployments/{deployment}/targets", standing="failed")
    assert (failed["restored"], failed["in_traffic"]) == (True, True)

    raised = shop.act(deployment, "raise_limit", {"max_unavailable_percent": 50})
    assert raised["budget"]["limit"] == 2
    refused = shop.act(deployment, "retry", {"cause": "host.disk_full"}, 422)["error"]
    assert refused["field"] == "cause"
    assert failed["failure"]["code"] in refused["message"]
    named = {"targets": [failed["server"]], "cause": failed["failure"]["code"]}
    retried = shop.act(deployment, "retry", {**named, "reason": "once more"})
    assert retried["brake"] is None
    shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"])
    attempts = shop.api.get(f"/deployments/{deployment}/targets")
    assert {one["attempt"] for one in attempts if one["instance"] == failed["instance"]} == {2}
    shop.act(deployment, "abort", {"reason": "enough"})
    assert shop.until(deployment, "aborted")["status"] == "aborted"


def test_an_operator_brakes_and_goes_on(shop):
    """A brake between the phases holds everything; resume goes on from there."""
    deployment = shop.deploy("1.0")["id"]
    shop.until(deployment, "verify_success")

    braked = shop.act(deployment, "brake", {"reason": "lunch"})
    assert (braked["status"], braked["brake"]) == ("braked", {"cause": "operator", "reason": "lunch"})
    assert "bake" not in braked["available_actions"]
    assert shop.act(deployment, "resume")["brake"] is None


def test_a_held_instance_is_out_and_comes_back(shop):
    """hold and unhold answer with the instance; both may be repeated."""
    shop.release("1.0")
    path = f"/groups/{shop.name}/instances/{shop.servers[0]}"

    held = shop.api.post(f"{path}/hold", {"reason": "disk"})
    assert (held["hold"], held["hold_by"], held["hold_reason"]) == (True, "admin", "disk")
    assert (held["in_traffic"], held["out_reasons"]) == (False, ["hold"])
    assert shop.api.post(f"{path}/hold", {"reason": "disk"})["hold"]
    freed = shop.api.post(f"{path}/unhold")
    assert (freed["hold"], freed["hold_by"], freed["in_traffic"]) == (False, "", True)


def test_an_offline_server_leaves_every_plan(shop):
    """Its instances are out of traffic and planned by nobody until it is back."""
    shop.release("1.0")
    server = shop.servers[2]

    down = shop.api.post(f"/servers/{server}/offline", {"reason": "power"})
    assert (down["offline"], [one["out_reasons"] for one in down["instances"]]) == (True, [["offline"]])
    plan = shop.api.post("/plans", {"group": shop.name, "version": "1.1"})
    assert [one["reasons"] for one in plan["excluded"]] == [["offline"]]
    assert shop.api.post(f"/servers/{server}/online")["instances"][0]["in_traffic"]


def test_a_stream_carries_every_event_once_and_ends(shop):
    """What the stream sent, from the first event to `end`, is the log: the same events, in order, without a gap."""
    deployment = shop.deploy("1.0", config={"bake_policy": "auto"})["id"]
    path = f"/deployments/{deployment}/events"
    messages = []

    with shop.api.http.stream("GET", path, headers={"Accept": "text/event-stream"}) as response:
        event = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name in {"id", "event", "data"}:
                event[name] = value
            elif not line and event:
                messages.append(event)
                event = {}

    assert messages.pop()["event"] == "end"
    events = [json.loads(message["data"]) for message in messages]
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert [(str(one["seq"]), one["kind"]) for one in events] == [(one["id"], one["event"]) for one in messages]
    assert events == shop.api.get(path)
    assert all(one["sentence"] for one in events)
    assert events[-1]["data"] == {"phase": "success"}


def test_a_stream_goes_on_after_the_last_event_that_was_seen(shop):
    """Last-Event-ID wins over since, in the stream and in the list."""
    deployment = shop.release("1.0")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "5"}

    text = shop.api.http.get(f"/deployments/{deployment}/events?since=1", headers=headers).text

    assert "\nid: 5\nevent: P" not in text
    assert text.partition("id: ")[2].startswith("6\n")
    assert shop.api.get(f"/deployments/{deployment}/events", since=5, limit=2)[0]["seq"] == 6


def test_a_stream_wakes_up_when_something_happens(shop):
    """A stream that waits hears of a command without asking again."""
    deployment = shop.deploy("1.0")["id"]
    shop.until(deployment, "verify_success")
    last = shop.api.get(f"/deployments/{deployment}")["seq"]
    heard = []

    def listen() -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        with shop.api.http.stream("GET", f"/deployments/{deployment}/events", headers=headers) as response:
            heard.extend(line for line in response.iter_lines() if line.startswith("event: "))

    listener = Thread(target=listen)
    listener.start()
    shop.act(deployment, "abort", {"reason": "no need"})
    listener.join(timeout=20)

    assert not listener.is_alive()
    assert heard[0] == "event: CommandAccepted"
    assert heard[-1] == "event: end"


def test_the_audit_log_is_one_timeline(shop):
    """Specs, packages, holds and commands of deployments, newest first; by subject, by actor, since a time."""
    shop.release("1.0")
    shop.api.post(f"/groups/{shop.name}/instances/{shop.servers[0]}/hold", {"reason": "disk"})
    deployment = shop.deploy("1.1")["id"]
    shop.until(deployment, "verify_success")
    shop.act(deployment, "abort", {"reason": "changed my mind"})

    everything = shop.api.get("/audit", limit=1000)
    times = [one["at"] for one in everything]
    assert times == sorted(times, reverse=True)
    mine = {one["action"] for one in everything if shop.name in (one["group"] or one["subject"])}
    assert {"group.create", "package.pushed", "hold", "deployment.planned", "deployment.abort"} <= mine
    (aborted, planned) = shop.api.get("/audit", subject=f"deployment/{deployment}")
    assert (aborted["action"], aborted["reason"]) == ("deployment.abort", "changed my mind")
    assert planned["group"] == shop.name
    assert shop.api.get("/audit", subject=f"deployment/{deployment}", since=aborted["at"]) == [aborted]
    assert shop.api.get("/audit", actor="nobody") == []
    assert len(shop.api.get("/audit", actor="admin", limit=3)) == 3


def test_lists_and_details_of_the_fleet(shop):
    """Apps, groups, servers: each is in its list, and in detail under its name."""
    assert shop.name in [one["name"] for one in shop.api.get("/apps")]
    assert shop.api.get(f"/apps/{shop.name}")["groups"] == [shop.name]
    assert shop.name in [one["name"] for one in shop.api.get("/groups")]
    group = shop.api.get(f"/groups/{shop.name}")
    assert group["config"]["max_unavailable_percent"] == 50
    assert [one["server"] for one in group["instances"]] == shop.servers
    assert {one["out_reasons"][0] for one in group["instances"]} == {"new"}
    assert shop.servers[0] in [one["name"] for one in shop.api.get("/servers")]
    assert shop.api.get(f"/servers/{shop.servers[0]}")["instances"][0]["group"] == shop.name


def test_deployments_are_listed_newest_first_and_in_pages(shop):
    """`before` and `limit` make pages; `active` chooses."""
    first, second = shop.release("1.0"), shop.release("1.1")
    third = shop.deploy("1.0")["id"]

    assert [one["id"] for one in shop.api.get("/deployments", group=shop.name)] == [third, second, first]
    assert [one["id"] for one in shop.api.get("/deployments", group=shop.name, active=True)] == [third]
    assert [one["id"] for one in shop.api.get("/deployments", group=shop.name, active=False, limit=1)] == [second]
    assert [one["id"] for one in shop.api.get("/deployments", group=shop.name, before=second)] == [first]
