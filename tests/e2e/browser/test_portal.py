"""What people do in the portal, but for the running release: start, look back, hold, find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.browser.portal import Portal


def test_a_release_is_seen_in_full_before_it_starts(portal: Portal, page: Page):
    """Group and package are chosen, the exact batches appear, and the button starts just that: once."""
    page.goto("/deployments/new")
    page.get_by_label("Group").select_option("shop-staging")
    expect(page.get_by_label("Package").locator("option", has_text="4.16.0")).to_have_count(1)
    page.get_by_label("Package").select_option("4.16.0")
    start = page.get_by_role("button", name="Release 4.16.0 to 4")
    expect(start).to_be_enabled()
    expect(page.locator("#plan tbody tr")).to_have_count(4)
    page.get_by_label("Reason").fill("a look at the start")
    start.click()
    page.wait_for_url(re.compile(r"/deployments/\d+$"))

    number = int(page.url.rpartition("/")[2])
    begun = portal.seed.http.get(f"/deployments/{number}").json()
    assert (begun["goal_version"], begun["actor"], begun["reason"]) == ("4.16.0", "lin.wei", "a look at the start")
    page.goto("/deployments/new?group=shop-staging&version=4.17.2")
    expect(page.get_by_text("shop-staging is already moving to 4.16.0.")).to_be_visible()
    expect(page.get_by_role("button", name="Release 4.17.2 to 4")).to_be_disabled()
    portal.seed.post(f"/deployments/{number}/actions/abort", {})


def test_a_wrong_setting_is_told_beside_its_field_and_what_was_typed_stays(page: Page):
    """The message names the field, the value and what would be right; the field names its message."""
    page.goto("/deployments/new?group=shop-staging&version=4.17.2")
    page.get_by_text("Settings of this release").click()
    share = page.get_by_label("Largest share out of traffic, %")
    share.fill("90")
    share.press("Tab")

    expect(
        page.get_by_text("Largest share out of traffic, % is “90”; expected a whole number from 1 to 50")
    ).to_be_visible()
    expect(page.get_by_label("Largest share out of traffic, %")).to_have_value("90")
    expect(page.get_by_label("Largest share out of traffic, %")).to_have_attribute(
        "aria-describedby", "max_unavailable_percent-error"
    )
    expect(page.locator("#start-buttons button.primary")).to_be_disabled()


def test_a_hold_is_raised_and_lifted_with_a_reason_that_everybody_sees(portal: Portal, page: Page):
    """The dialog says what will happen; the table then says who held it and why, and the audit log has it."""
    page.goto("/groups/billing-prod")
    page.get_by_role("button", name="Hold billing-prod/shop-sin-04:9090").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 instance leaves traffic")
    dialog.get_by_label("Reason").fill("a fan is loud")
    dialog.get_by_role("button", name="Hold").click()

    expect(page.get_by_role("status")).to_contain_text("billing-prod/shop-sin-04:9090 is held")
    row = page.get_by_role("row").filter(has_text="shop-sin-04")
    expect(row).to_contain_text("lin.wei")
    expect(row).to_contain_text("a fan is loud")
    page.get_by_role("button", name="Lift the hold of billing-prod/shop-sin-04:9090").click()
    page.get_by_role("dialog").get_by_role("button", name="Lift the hold").click()
    expect(page.get_by_role("status")).to_contain_text("is lifted")
    page.goto("/audit?actor=lin.wei")
    expect(page.get_by_role("row").filter(has_text="a fan is loud")).to_have_count(1)


def test_every_flag_says_who_raised_it(portal: Portal, page: Page):
    """A hold its person and reason, a server that is down whoever said so, all else the release that did it."""
    page.goto("/groups/search-prod")
    for server, told in (
        ("search-iad-02", "disk is being replaced"),
        ("search-fra-04", "rack maintenance"),
        ("search-sin-01", f"Release #{portal.releases['waiting']}"),
    ):
        expect(page.get_by_role("row").filter(has_text=server)).to_contain_text(told)
    page.goto("/groups/billing-prod?state=failed")
    expect(page.locator("#instances tbody tr")).to_have_count(3)
    expect(page.get_by_role("link", name=f"Release #{portal.releases['braked']}")).to_have_count(3)


def test_a_server_is_checked_and_taken_offline_and_back(page: Page):
    """What a server lacks is shown on its page; that it is offline is said there, too."""
    page.goto("/servers/stage-fra-04")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#check h2")).to_have_text("shop-staging/stage-fra-04:8080")
    for verb, told in (("Take offline", "is offline"), ("Take online", "is online again")):
        page.get_by_role("button", name=verb).first.click()
        page.get_by_role("dialog").get_by_role("button", name=verb).click()
        expect(page.get_by_role("status")).to_contain_text(f"stage-fra-04 {told}")


def test_the_overview_renews_itself(portal: Portal, page: Page):
    """What begins elsewhere is there within seconds, without a reload."""
    page.goto("/")
    expect(page.get_by_role("link", name="Decide about shop-staging")).to_have_count(0)
    planned = portal.seed.begin("shop-staging", "4.17.2", start=False)

    expect(page.get_by_role("link", name="Decide about shop-staging")).to_be_visible(timeout=15_000)
    portal.seed.post(f"/deployments/{planned}/actions/abort", {})


def test_two_releases_are_compared(page: Page):
    """Two ticks and a button; what differs is marked for eyes and for screen readers."""
    page.goto("/deployments?group=shop-prod")
    page.get_by_label("Compare release 2").check()
    page.get_by_label("Compare release 3").check()
    page.get_by_role("button", name="Compare two").click()

    expect(page.get_by_role("row", name=re.compile(r"^To \(differs\) 4\.16\.0 4\.17\.2"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"^Group shop-prod shop-prod"))).to_be_visible()


@pytest.mark.parametrize(
    ("q", "found"), [("iad-02", "search-iad-02"), ("billing", "billing-prod"), ("#3", "shop-prod #3")]
)
def test_what_has_a_name_is_found(page: Page, q: str, found: str):
    """The slash key goes to the search, from anywhere."""
    page.goto("/packages")
    page.keyboard.press("/")
    page.keyboard.type(q)
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name=found)).to_be_visible()


def test_no_secret_is_on_the_page_of_settings(portal: Portal, page: Page):
    """Settings can be read by whoever manages; the same by API."""
    page.goto("/settings")

    expect(page.get_by_text("[engine]")).to_be_visible()
    assert portal.seed.http.get("/settings").json()["tables"]["engine"]["lease_s"] == 10.0


def test_moments_are_told_and_asked_for_in_the_zone_of_whoever_looks(portal: Portal):
    """In sentences and in fields; to the server they go in UTC. Whoever runs no scripts is told that it is UTC."""
    context = portal.member(timezone_id="Asia/Shanghai")
    page = context.new_page()
    page.goto("/audit")
    page.get_by_label("Since", exact=True).fill("2026-01-31T14:00")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(re.compile("since=2026-01-31T06%3A00%3A00"))
    expect(page.get_by_label("Since", exact=True)).to_have_value("2026-01-31T14:00")
    page.goto(f"/deployments/{portal.releases['moving']}")
    page.locator("#release-side summary").click()
    told = page.locator("#release-side .timeline li", has_text="the bake lasts at least until")
    moment = told.locator("p local-time")
    utc = moment.get_attribute("datetime")
    assert utc
    hour = (int(utc[11:13]) + 8) % 24
    expect(moment).to_have_text(re.compile(rf"{hour:02}:{utc[14:19]}$"))
    expect(told).not_to_contain_text("UTC")
    context.close()
    plain = portal.member(java_script_enabled=False)
    page = plain.new_page()
    page.goto("/audit")
    expect(page.get_by_label("Since (UTC)")).to_be_visible()
    plain.close()
