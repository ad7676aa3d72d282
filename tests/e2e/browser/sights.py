"""Every page of the portal, by a name, and what can be opened on it: what is looked at, for pictures and for laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from playwright.sync_api import Page, Response

    from tests.e2e.browser.portal import Portal


class Sight(Struct, frozen=True, kw_only=True):
    """
    Something to look at.

    Attributes:
        path: Address of its page.
        who: Who looks at it; None for whoever has not signed in.
        status: What the page answers.
        opens: Brings about on the page what is to be seen.
    """

    path: str
    who: str | None = "lin.wei"
    status: int = 200
    opens: Callable[[Page], object] | None = None


def sights(portal: Portal) -> Mapping[str, Sight]:
    """Return everything that there is to see, by its name."""
    pages = {name: Sight(path=path) for name, path in _pages(portal).items()}
    return {**pages, **_states(portal), **_strangers(portal)}


def walk(portal: Portal, seen: Mapping[str, Sight], **options: Any) -> Iterator[tuple[str, Page, Response]]:
    """Yield the page of every sight, drawn and opened, with its name and what the server said; one window a person."""
    for who in dict.fromkeys(one.who for one in seen.values()):
        context = portal.member(who, **options) if who else portal.visitor(**options)
        page = context.new_page()
        for name, sight in seen.items():
            if sight.who == who:
                response = page.goto(sight.path)
                assert response is not None
                page.wait_for_load_state("load")
                if sight.opens:
                    sight.opens(page)
                page.evaluate("document.fonts.ready")
                yield name, page, response
        context.close()


def _pages(portal: Portal) -> dict[str, str]:
    releases = {f"release-{name}": f"/deployments/{number}" for name, number in portal.releases.items()}
    return {
        "overview": "/",
        "releases": "/deployments",
        **releases,
        "compare": "/deployments/compare?id=1&id=6",
        "compare-choice": "/deployments/compare",
        "start": "/deployments/new",
        "start-plan": "/deployments/new?group=shop-staging&version=4.17.2",
        "start-busy": "/deployments/new?group=shop-prod&version=4.17.2",
        "start-wrong": "/deployments/new?group=shop-staging&version=4.17.2&max_unavailable_percent=90&canary_count=two",
        "fleet": "/fleet",
        "app": "/apps/shop",
        "group": "/groups/search-prod",
        "spec": "/fleet/spec",
        "spec-app": "/fleet/spec?app=search",
        "servers": "/servers",
        "server": "/servers/shop-fra-02",
        "packages": "/packages",
        "package-new": "/packages/new",
        "package": "/packages/shop/4.18.0",
        "audit": "/audit",
        "audit-wrong": "/audit?since=yesterday",
        "settings": "/settings",
        "notifications": "/notifications",
        "notification": "/notifications/on-call",
        "search": "/search?q=shop",
        "users": "/users",
        "user": "/users/omar",
        "tokens": "/tokens",
        "account": "/account",
        "password": "/account/password",
        "verification": "/audit/verification",
    }


def _states(portal: Portal) -> dict[str, Sight]:
    """Return what is on a page only once somebody has done something there."""
    moving, braked = (f"/deployments/{portal.releases[name]}" for name in ("moving", "braked"))
    return {
        "dialog-hold": Sight(path="/groups/billing-prod", opens=_opened("#instances .button.small")),
        "dialog-offline": Sight(path="/servers/shop-fra-02", opens=_opened("[data-opens=switch]")),
        "dialog-brake": Sight(path=moving, opens=_opened("#release-actions .do-brake")),
        "dialog-rollback": Sight(path=moving, opens=_opened("#release-actions .do-rollback")),
        "dialog-limit": Sight(path=braked, opens=_opened("#release-side button.link")),
        "release-target": Sight(path=braked, opens=_open_card),
        "release-table": Sight(path=braked, opens=_open_table),
        "server-check": Sight(path="/servers/stage-fra-04", opens=_check),
        "invited": Sight(path="/users/vera", opens=_invite),
    }


def _strangers(portal: Portal) -> dict[str, Sight]:
    """Return the pages for whoever may not, or has not signed in."""
    return {
        "missing": Sight(path="/groups/nothing", status=404),
        "forbidden": Sight(path="/settings", who="vera", status=403),
        "login": Sight(path="/login", who=None),
        "welcome": Sight(path=f"/welcome/{portal.seed.welcome()}", who=None),
        "invitation": Sight(path=portal.seed.invitation(), who=None),
        "invitation-used": Sight(path="/invitation/MQ/used-already", who=None),
        "sso-refused": Sight(path="/sso/callback?error=access_denied", who=None, status=403),
    }


def _opened(button: str) -> Callable[[Page], None]:
    def opens(page: Page) -> None:
        page.locator(button).first.click()
        expect(page.locator("dialog[open]")).to_be_visible()

    return opens


def _open_card(page: Page) -> None:
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=30_000)
    page.locator("body").press("f")
    page.locator("target-grid canvas").press("Enter")
    expect(page.locator("#target-card .card")).to_be_visible(timeout=30_000)


def _open_table(page: Page) -> None:
    page.locator("[data-view=table]").click()
    expect(page.locator("#target-table tbody tr").first).to_be_visible()


def _check(page: Page) -> None:
    page.locator("button[hx-target='#check']").click()
    expect(page.locator("#check .card")).to_be_visible()


def _invite(page: Page) -> None:
    page.locator(".actions button").click()
    expect(page.locator("main code")).to_contain_text("/invitation/")
