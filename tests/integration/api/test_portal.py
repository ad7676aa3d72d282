"""Pages of the portal at a real server, as forms and links reach them; scripts are for ``tests/e2e/browser``."""

from __future__ import annotations

import html
import re

import pytest

from rollwave.web.portal import release_urls

MISSING = 999_999


def newest(api, **wanted):
    return api.get("/audit", limit=1, **wanted)[0]


def form(browser, page: str, path: str, **fields: str):
    """Send a form of *page* to *path*, with the proof that it comes from there."""
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(page))[-1]
    headers = {"Referer": str(browser.http.base_url)}
    return browser.http.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers=headers)


def test_what_is_done_on_pages_is_in_the_log_with_where_it_came_from(api, shop, signed_in):
    """A hold, a start, an action of a release and a subscription, each from its own page."""
    browser = signed_in("admin")
    group, server = f"/groups/{shop.name}", shop.servers[0]
    form(browser, group, f"{group}/hold", server=server, port="8080", hold="true", reason="disk")
    held = newest(api, subject=f"{shop.name}/{server}:8080")
    wish = {"group": shop.name, "version": "1.0", "kind": "rollout", "later": "on"}
    started = form(browser, "/deployments/new", "/deployments/new", **wish)
    number = re.search(r"/deployments/(\d+)$", str(started.url)).group(1)
    planned = newest(api, subject=f"deployment/{number}")
    form(browser, group, f"/deployments/{number}/actions/abort", confirm=shop.name, reason="no need")
    aborted = newest(api, subject=f"deployment/{number}")

    assert (held["action"], planned["action"], aborted["action"]) == (
        "hold",
        "deployment.planned",
        "deployment.abort",
    )
    for entry in (held, planned, aborted):
        assert (entry["actor"], entry["token"], entry["address"]) == (browser.name, "", "127.0.0.1")
        assert entry["agent"].startswith("python-httpx")
        assert entry["request_id"]


@pytest.mark.parametrize("pattern", [str(one.pattern) for one in release_urls.urlpatterns])
@pytest.mark.parametrize("number", [MISSING, 2**70])
def test_of_a_release_that_is_not_there_there_is_nothing(signed_in, pattern, number):
    """No address below it answers with a mistake of the server, or with something."""
    path = f"/deployments/{number}" + pattern.replace("<int:position>", "0").replace("<str:verb>", "abort")
    browser = signed_in("admin")

    answer = browser.http.get(path, headers={"Accept": "text/html"})
    if answer.status_code == 405:
        answer = form(browser, "/account", path)

    assert answer.status_code == 404


def test_the_log_of_a_release_is_that_of_this_one_alone(api, shop, signed_in):
    """The link on its page leads to its entries: those of no other, whatever digits their numbers begin with."""
    first = shop.deploy("1.0", start=False)["id"]
    shop.act(first, "abort", {})
    page = signed_in("admin").get(f"/deployments/{first}")

    assert f'href="/audit?subject=deployment/{first}"' in page
    shown = api.get("/audit", subject=f"deployment/{first}")
    assert {one["subject"] for one in shown} == {f"deployment/{first}"}
    assert api.get("/audit", subject="deploymen") == []
    assert {one["subject"].split("/")[0] for one in api.get("/audit", subject="deployment/")} == {"deployment"}


def test_a_package_is_released_from_its_page_whichever_group_it_goes_to(api, shop, signed_in):
    """Its version is chosen before any group is, and stays when one is."""
    browser = signed_in("operator")
    link = html.unescape(
        re.search(r'href="(/deployments/new[^"]+)"', browser.get(f"/packages/{shop.name}/1.0")).group(1)
    )
    assert '<option value="1.0" selected>' in browser.get(link)
    assert '<option value="1.0" selected>' in browser.get(f"{link}&group={shop.name}")


def test_only_who_may_push_a_package_is_offered_to(signed_in):
    """A link that leads to a refusal is none."""
    for role, is_offered in (("viewer", False), ("approver", False), ("operator", True)):
        assert ('href="/packages/new"' in signed_in(role).get("/packages")) is is_offered, role


def test_packages_that_are_not_of_the_newest_can_be_chosen(api, make_shop, signed_in, monkeypatch):
    """Coming from its page it is there; else older ones are offered to whoever asks for them."""
    shop = make_shop(1, versions=tuple(f"0.{number}" for number in range(52)))
    browser = signed_in("operator")
    form = f"/deployments/new?group={shop.name}"

    assert '<option value="0.0"' not in browser.get(form)
    assert '<option value="0.0" selected>' in browser.get(f"{form}&version=0.0")
    assert '<option value="0.0"' in browser.get(f"{form}&older=on")


def test_a_role_for_one_app_reads_of_no_other(api, make_shop, signed_in):
    """Neither what could be subscribed to, nor what moves on the same servers: that something does is told."""
    mine = make_shop(2, versions=("1.0",))
    theirs = make_shop(2, versions=("1.0",))
    shared = {**theirs.spec["groups"][0], "instances": [{"server": one, "port": 9090} for one in mine.servers]}
    api.post("/spec", {"spec": {"groups": [shared]}})
    moving = theirs.deploy("1.0", start=False)["id"]
    browser = signed_in(f"operator:{mine.name}/production")

    offered = browser.get("/notifications")
    assert mine.name in offered
    assert theirs.name not in offered
    plan = browser.get(f"/deployments/new?group={mine.name}&version=1.0")
    assert theirs.name not in plan
    assert "1 more release that you may not see is moving on some of the same servers" in plan
    assert theirs.name in signed_in("operator").get(f"/deployments/new?group={mine.name}&version=1.0")
    theirs.act(moving, "abort", {})


def test_the_admin_of_an_app_sees_what_was_done_to_it(api, make_shop):
    """Its spec, its packages, its instances; whoever has one environment, what is of no environment, too."""
    shop, other = make_shop(2, versions=("1.0",)), make_shop(1, versions=("1.0",))
    for role in (f"admin:{shop.name}", f"viewer:{shop.name}/production"):
        made = api.post("/tokens", {"name": f"t-{role.replace(':', '-').replace('/', '-')}", "roles": [role]}, 201)
        headers = {"Authorization": f"Bearer {made['token']}"}
        seen = api.http.get("/audit", headers=headers, params={"limit": 1000}).json()

        assert {"app.create", "group.create", "instance.create", "package.pushed"} <= {one["action"] for one in seen}
        assert {one["app"] for one in seen} == {shop.name}
    assert other.name != shop.name


def test_what_waits_for_a_person_says_so_where_they_look(api, make_shop, signed_in):
    """On its own page, and on the overview for whoever may decide: an approver, too, who may do nothing else."""
    shop = make_shop(2, versions=("1.0",), config={"requires_approval": True})
    waiting = shop.deploy("1.0")["id"]
    for roles, decides in ((["approver"], True), (["viewer"], False), (["operator"], True)):
        browser = signed_in(*roles)
        assert (f"Decide about {shop.name}" in browser.get("/")) is decides
        assert ("Waits for a decision" in browser.get(f"/deployments/{waiting}")) is decides
    shop.act(waiting, "abort", {})

    plain = make_shop(2, versions=("1.0",))
    planned = plain.deploy("1.0", start=False)["id"]
    assert "Waits for a decision" in signed_in("operator").get(f"/deployments/{planned}")
    assert f"Decide about {plain.name}" not in signed_in("approver").get("/")
    plain.act(planned, "abort", {})


def test_a_release_is_approved_on_its_page_by_somebody_else(api, make_shop, signed_in):
    """With a reason, by whoever may approve; who asked, and who may only operate, is told why not."""
    shop = make_shop(1, versions=("1.0",), config={"requires_approval": True, "canary_count": 0})
    asker, approver = signed_in("operator", "approver"), signed_in("approver")
    page = form(asker, "/deployments/new", "/deployments/new", group=shop.name, version="1.0", kind="rollout").url.path
    number = int(page.rpartition("/")[2])
    dialog = approver.get(f"{page}/ask/approve")
    assert f"{asker.name} asked for it; somebody else has to say that it may go ahead, and why." in dialog
    path = f"{page}/actions/approve"

    assert f"{asker.name} asked for it; somebody else has to approve it." in form(asker, page, path, reason="x").text
    assert "expected why it may go ahead" in form(approver, page, path, reason=" ").text
    assert form(signed_in("operator"), page, path, reason="x").status_code == 403
    assert form(asker, page, f"{page}/actions/approve/", reason="x").status_code == 404
    done = form(approver, page, path, reason="ticket 7")

    assert (done.status_code, done.text, done.headers["HX-Trigger"]) == (200, "", "release-acted")
    assert shop.until(number, "success")["approved_by"] == approver.name
    entry = next(
        one for one in api.get("/audit", subject=f"deployment/{number}") if one["action"] == "deployment.approve"
    )
    assert (entry["actor"], entry["reason"], entry["address"]) == (approver.name, "ticket 7", "127.0.0.1")


def test_a_plan_tells_its_sites_and_how_long_it_will_take(api, shop, signed_in):
    """Each site with its targets, in all and batch by batch; no time before there was a release to judge by."""
    browser = signed_in("operator")
    address = f"/deployments/new?group={shop.name}&version=1.1&canary_count=0"
    first = browser.get(address)
    assert "no release to judge by" in first
    assert re.findall(r"<dt>([ab])</dt><dd>([^<]+)</dd>", first) == [("a", "2 targets"), ("b", "2 targets")]
    assert re.findall(r'data-label="Sites"><span>([^<]+)</span>', first) == ["a 1 \N{MIDDLE DOT} b 1"] * 2
    shop.release("1.0")

    planned = browser.get(f"{address}&batch_pause_s=60&tail_pause_s=120")
    assert "judged by the last release" in planned
    told = re.search(r"<b>(\d+) min (\d+) s</b>judged", planned)
    assert told, planned
    # One pause of a minute; four targets over fakes take no more than some seconds.
    assert 60 <= int(told[1]) * 60 + int(told[2]) < 90
