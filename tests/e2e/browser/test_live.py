"""Pages that renew themselves: what happens elsewhere is there without a reload, and nobody is disturbed by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, Route

    from tests.e2e.browser.portal import Portal

PATIENCE_MS = 30_000

LONGEST_MS = 16_000
"""More than any page waits until it renews itself."""


@pytest.fixture
def planned(portal: Portal) -> Iterator[int]:
    """A release of the staging group that nobody has started; it is given up after the test."""
    number = portal.seed.begin("shop-staging", "4.16.0", start=False)
    yield number
    if portal.seed.http.get(f"/deployments/{number}").json()["ended_at"] is None:
        portal.seed.post(f"/deployments/{number}/actions/abort", {})


def until_asked(page: Page, asked: list[Route], count: int) -> None:
    """Wait until a part has asked for itself so often: Playwright hears of it while it talks to the page."""
    expect(page.locator("#group-facts")).to_have_class("facts htmx-request", timeout=PATIENCE_MS)
    for _ in range(1_000):
        if len(asked) >= count:
            break
        page.evaluate("() => null")
    assert len(asked) == count


def test_what_somebody_has_in_hand_is_not_taken_from_them(page: Page):
    """An open dialog stays, with what is typed and where the focus is; even if the answer was on its way already."""
    address = "/groups/billing-prod"
    asked: list[Route] = []
    page.clock.install()
    page.goto(address)
    page.route(f"**{address}", lambda route: asked.append(route))  # noqa: PLW0108  # Playwright writes to what it is given
    page.clock.run_for(3_500)
    until_asked(page, asked, 1)
    page.get_by_role("button", name="Hold billing-prod/shop-sin-04:9090").click()
    reason = page.get_by_role("dialog").get_by_label("Reason")
    reason.press_sequentially("a fan is")
    asked[0].continue_()
    expect(page.locator("#group-facts")).to_have_class("facts", timeout=PATIENCE_MS)
    page.clock.run_for(LONGEST_MS)

    reason.press_sequentially(" loud")
    expect(reason).to_have_value("a fan is loud")
    expect(reason).to_be_focused()
    assert len(asked) == 1
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.clock.run_for(3_500)
    until_asked(page, asked, 2)
    asked[1].continue_()
    # The button that had the focus is another one now, and has it.
    expect(page.locator("#group-facts")).to_have_class("facts", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Hold billing-prod/shop-sin-04:9090")).to_be_focused()


def test_every_page_renews_itself(portal: Portal, page: Page):
    """Lists, one thing, a plan: each has what was done elsewhere, in the very document that was open before it."""
    places = {
        "/deployments?group=shop-staging": ("#releases", "seen from elsewhere"),
        "/apps/shop": ("#app", "4.19.0"),
        "/packages?app=shop": ("#packages", "4.19.0"),
        "/servers?q=stage-fra-01": ("#servers", "offline"),
        "/servers/stage-fra-01": ("#server-heading", "offline"),
        "/groups/shop-staging": ("#group-releases", "Planned"),
        "/audit?subject=stage-fra-01": ("#entries", "a leak"),
        "/notifications": ("#subscriptions", "watch-live"),
        "/notifications/on-call": ("#deliveries", "test"),
        "/deployments/new?group=shop-staging&version=4.17.2": ("#plan", "shop-staging is already moving to 4.16.0."),
    }
    pages = {}
    for path in places:
        one = page.context.new_page()
        one.clock.install()
        one.goto(path)
        one.evaluate("() => { window.isStillHere = true; }")
        pages[path] = one
    for path, (part, text) in places.items():
        expect(pages[path].locator(part)).not_to_contain_text(text)
    portal.seed.push("shop", "4.19.0")
    portal.seed.post("/servers/stage-fra-01/offline", {"reason": "a leak"})
    portal.seed.http.put("/subscriptions/watch-live", json=SUBSCRIPTION).raise_for_status()
    portal.seed.post("/subscriptions/on-call/test", {})
    number = portal.seed.begin("shop-staging", "4.16.0", start=False, reason="seen from elsewhere")

    for path, (part, text) in places.items():
        pages[path].clock.run_for(LONGEST_MS)
        expect(pages[path].locator(part)).to_contain_text(text, timeout=PATIENCE_MS)
        assert pages[path].evaluate("() => window.isStillHere"), path
        pages[path].close()
    portal.seed.post(f"/deployments/{number}/actions/abort", {})
    portal.seed.post("/servers/stage-fra-01/online", {})
    portal.seed.http.delete("/subscriptions/watch-live").raise_for_status()


SUBSCRIPTION = {"channel": "email", "settings": {"to": ["ann@example.com"]}, "topics": ["failed"], "enabled": False}


def test_the_table_of_a_release_moves_with_it(portal: Portal, planned: int, page: Page):
    """It is as live as the grid that it stands for."""
    page.goto(f"/deployments/{planned}")
    page.locator("[data-view=table]").click()
    rows = page.locator("#target-table tbody tr")
    expect(rows.first).to_contain_text("Pending", timeout=PATIENCE_MS)

    portal.seed.post(f"/deployments/{planned}/actions/start", {})

    expect(rows.first).to_contain_text("Verified", timeout=PATIENCE_MS)


def test_a_session_that_is_over_empties_no_page(portal: Portal):
    """What was there stays there, and the page says that it stands still."""
    context = portal.member("vera")
    page = context.new_page()
    page.clock.install()
    page.goto("/fleet")
    page.context.clear_cookies()
    page.clock.run_for(LONGEST_MS)

    expect(page.locator(".live")).to_have_attribute("data-state", "off", timeout=PATIENCE_MS)
    expect(page.locator("#fleet")).to_contain_text("shop-prod")
    context.close()
