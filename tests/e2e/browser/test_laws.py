"""Laws that hold on every page: for everybody's eyes, hands and languages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.e2e.browser.portal import LOOKS
from tests.e2e.browser.sights import sights, walk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.browser.portal import Portal

_AXE = Axe()

_FOCUSED = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    const seen = box.width > 0 && box.height > 0;
    return {what: one.outerHTML.slice(0, 120), seen, ring: style.outlineStyle !== "none"};
}"""


@pytest.mark.parametrize(
    ("device", "locale", "theme", "other"),
    [("desktop", "en", "light", "dark"), ("mobile", "zh", "dark", "light")],
)
def test_axe_finds_no_violation_and_no_page_is_wider_than_its_window(portal: Portal, device, locale, theme, other):
    """
    Both sizes in both themes; a window of 390 px is the smallest. Pages, and what can be opened on them.

    A theme is nothing but colors: in the other one only those are looked at, of the page that is there already.
    """
    found, seen = {}, sights(portal)
    for name, page, response in walk(portal, seen, **LOOKS[f"{device}-{theme}-{locale}"]):
        assert response.status == seen[name].status, name
        told = _violations(page)
        page.emulate_media(color_scheme=other)
        told += [f"{other}: {one}" for one in _violations(page, runOnly=["color-contrast"])]
        page.emulate_media(color_scheme=theme)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if told or wider > 0:
            found[name] = [*told, *([f"{wider} px wider"] if wider > 0 else [])]

    assert not found


def _violations(page: Page, **options: object) -> list[str]:
    violations = _AXE.run(page, options=options or None).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in violations for node in one["nodes"][:3]]


def test_every_page_works_by_keyboard(portal: Portal):
    """The first thing that Tab reaches leads past the navigation; all that it reaches is seen and shows the focus."""
    pages = {name: one for name, one in sights(portal).items() if one.opens is None and one.who}
    for name, page, _ in walk(portal, pages):
        page.locator("body").press("Tab")
        assert page.evaluate("document.activeElement.className").startswith("skip"), name
        reached = [_tab(page) for _ in range(12)]
        assert all(one is None or (one["seen"] and one["ring"]) for one in reached), (name, reached)
        assert any(reached), name


def _tab(page: Page):
    page.keyboard.press("Tab")
    return page.evaluate(_FOCUSED)


def test_every_link_leads_somewhere(portal: Portal):
    """From the overview on, every link and every form that reads answers; nothing is a dead end or an error."""
    context = portal.member()
    page = context.new_page()
    page.goto("/")
    cookies = {one["name"]: one["value"] for one in context.cookies()}
    seen: dict[str, int] = {}
    with httpx.Client(base_url=portal.endpoint, cookies=cookies, headers={"Accept": "text/html"}, timeout=30) as http:
        ahead = ["/"]
        while ahead and len(seen) < 250:
            path = ahead.pop()
            if _shape(path) in {_shape(one) for one in seen}:
                continue
            response = http.get(path)
            seen[path] = response.status_code
            if response.headers.get("content-type", "").startswith("text/html"):
                ahead += _links(response.text, path)
    context.close()

    assert {path: status for path, status in seen.items() if status != 200} == {}
    assert len(seen) > 20


def _links(html: str, base: str) -> list[str]:
    found = re.findall(r'<a\s[^>]*?href="([^"]+)"', html) + re.findall(r'hx-get="([^"]+)"', html)
    whole = [urldefrag(urljoin(base, one.replace("&amp;", "&")))[0] for one in found]
    return [one for one in whole if not urlsplit(one).netloc and not one.startswith("/static/")]


def _shape(path: str) -> str:
    """Return what makes an address another page: one server is like the next."""
    return re.sub(r"(shop|search|stage)-\w+-\d+", "SERVER", re.sub(r"(page|before)=\d+", r"\1=N", path))


@pytest.mark.parametrize("name", ["overview", "start", "group", "audit", "settings", "tokens"])
def test_a_page_that_needs_a_login_leads_there_and_back(portal: Portal, name: str):
    """Whoever has not signed in sees nothing but the login, and after it the page they came for."""
    path = sights(portal)[name].path

    answer = httpx.get(f"{portal.endpoint}{path}")

    assert answer.status_code == 302
    assert answer.headers["location"] == f"/login?next={path}"


def test_whoever_may_not_is_told_so(portal: Portal):
    """A viewer sees what is, finds no button for what they may not do, and gets a 403 for what they type in."""
    context = portal.member("vera")
    page = context.new_page()

    page.goto("/groups/search-prod")
    assert page.get_by_role("button", name=re.compile("Hold|Lift")).count() == 0
    for path in ("/deployments/new", "/settings"):
        response = page.goto(path)
        assert response.status == 403
        assert page.get_by_role("heading", level=1).inner_text() == "Not allowed"
    context.close()


def test_the_language_and_the_theme_are_switched_in_the_page_and_stay(page: Page):
    """Both are chosen by the server, before anything is drawn: no page flashes."""
    page.goto("/fleet")
    page.get_by_role("button", name="中文").click()
    assert page.get_by_role("heading", level=1).inner_text() == "机群"
    page.get_by_role("button", name="主题").click()
    page.get_by_role("button", name="主题").click()
    page.goto("/audit")

    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.evaluate("getComputedStyle(document.body).color") != "rgb(0, 0, 0)"
