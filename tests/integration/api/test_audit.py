"""The audit log over HTTP: who, from where, why, before and after; whole, and as a file."""

from __future__ import annotations

import csv
import json
import sqlite3
from io import StringIO

import httpx


def test_a_command_is_told_with_all_that_belongs_to_it(api, shop):
    """Who, by which token, from where, by which request, why; what was before and after."""
    deployment = shop.deploy("1.0", reason="ticket 7")["id"]
    shop.act(deployment, "brake", {"reason": "odd"})

    entry = next(one for one in api.get("/audit", subject=shop.name) if one["action"] == "deployment.brake")

    assert (entry["actor"], entry["token"], entry["address"]) == ("admin", "admin", "127.0.0.1")
    assert entry["agent"].startswith("python-httpx")
    assert entry["request_id"]
    assert (entry["app"], entry["environment"], entry["group"]) == (shop.name, "production", shop.name)
    assert entry["reason"] == "odd"
    assert entry["sentence"] == "admin asked for brake: odd"
    assert entry["data"]["before"]["brake"] is None
    assert entry["data"]["after"]["brake"]["reason"] == "odd"
    planned = next(one for one in api.get("/audit", subject=shop.name) if one["action"] == "deployment.planned")
    assert "4 targets" in planned["sentence"]


def test_what_the_engine_decides_is_there_too(api, shop):
    """By its own name, and from nowhere else."""
    shop.release("1.0")
    deployment = shop.deploy("broken", config={"canary_count": 0})["id"]
    shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"])

    braked = next(one for one in api.get("/audit", subject=shop.name) if one["action"] == "deployment.braked")

    assert (braked["actor"], braked["token"]) == ("engine", "")


def test_an_export_is_every_field_of_every_entry_oldest_first(api, shop):
    """As JSON lines and as CSV, in which nothing is a formula."""
    api.http.post("/tokens", json={"name": f"t-{shop.name}", "roles": ["viewer"]})
    lines = [json.loads(line) for line in api.http.get("/audit/export").text.splitlines()]
    rows = list(csv.DictReader(StringIO(api.http.get("/audit/export", params={"form": "csv"}).text)))

    assert [one["seq"] for one in lines] == list(range(1, len(lines) + 1))
    assert [int(one["seq"]) for one in rows][: len(lines)] == [one["seq"] for one in lines]
    assert lines[-1]["subject"] == rows[len(lines) - 1]["subject"] == f"token/t-{shop.name}"
    assert set(rows[0]) == set(lines[0])
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_what_is_changed_in_the_database_is_found(served_anew):
    """Whoever can write there has no key; a head that was kept finds even what was put back as a whole."""
    served = served_anew()
    headers = {"Authorization": f"Bearer {served.token}"}

    def verify(status: int = 200, **query: str):
        answer = httpx.get(f"{served.endpoint}/api/v1/audit/verify", params=query, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    for name in ("a", "b", "c"):
        httpx.post(f"{served.endpoint}/api/v1/tokens", json={"name": name, "roles": ["viewer"]}, headers=headers)
    good = verify()
    assert (good["intact"], good["count"], good["flaws"]) == (True, 4, [])
    database = sqlite3.connect(served.data_dir / "rollwave.sqlite3", isolation_level=None)

    database.execute("UPDATE store_auditentry SET actor = 'nobody' WHERE seq = 3")
    assert [one["seq"] for one in verify()["flaws"]] == [3]
    database.execute("UPDATE store_auditentry SET actor = 'admin' WHERE seq = 3")
    assert verify(head=good["head"])["intact"]
    database.execute("DELETE FROM store_auditentry WHERE seq = 4")
    assert "missing" in verify(head=good["head"])["flaws"][0]["what"]
    database.close()
    assert verify(422, head="nonsense")["error"]["field"] == "head"


def test_the_page_shows_all_that_an_entry_knows(api, shop, signed_in):
    """What was before and after, the client, the request and the code: as the API tells them."""
    change = {
        **shop.spec["groups"][0],
        "keep_versions": 9,
        "config": {**shop.spec["groups"][0]["config"], "prestage": False},
    }
    api.http.post("/spec", json={"spec": {"groups": [change]}}, headers={"User-Agent": "fleet-bot/7"})
    entry = next(one for one in api.get("/audit", subject=shop.name) if one["action"] == "group.update")

    page = signed_in("viewer").get(f"/audit?subject={shop.name}")

    for text in ("fleet-bot/7", entry["request_id"], entry["code"], "<del>5</del>", "<ins>9</ins>", "config.prestage"):
        assert text in page
