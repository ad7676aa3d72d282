"""The spec as people edit it in the portal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.browser.portal import Portal


_SELECTED = "(one => one.value.slice(one.selectionStart, one.selectionEnd))(document.activeElement)"


def is_accessible(page: Page) -> bool:
    violations = Axe().run(page).response["violations"]
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return not violations and wider <= 0


def test_a_mistake_leads_to_its_line_and_a_change_is_seen_before_it_happens(portal: Portal, page: Page):
    """The number beside the line is marked, the link selects it; then the exact change, and just that is done."""
    page.goto("/fleet/spec?app=search")
    editor = page.get_by_label("The spec as YAML")
    text = editor.input_value()
    number, line = next(
        (place, one) for place, one in enumerate(text.splitlines(), 1) if "startup_timeout_s: 1 " in one
    )

    editor.fill(text.replace(line, line.replace("1 }", "99999 }")))
    page.get_by_role("button", name="Check").click()
    expect(page.locator("spec-editor .wrong")).to_have_text(str(number))
    assert is_accessible(page)
    page.get_by_role("link", name=f"Line {number}").click()
    assert page.evaluate(_SELECTED) == line.replace("1 }", "99999 }")

    editor.fill(text.replace(line, line.replace("1 }", "31 }")))
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".spec-changes dl")).to_have_text(re.compile(r"config.startup_timeout_s\s*1\s*→\s*31"))
    assert is_accessible(page)
    page.get_by_role("button", name="Apply exactly this").click()
    expect(page.get_by_text("Applied: 1 changed")).to_be_visible()
    group = portal.seed.http.get("/groups/search-prod").json()
    assert group["config"]["startup_timeout_s"] == 31
    portal.seed.post("/spec", {"spec": {"groups": [{**_of_spec(portal), "config": {"startup_timeout_s": 1}}]}})


def _of_spec(portal: Portal) -> dict[str, Any]:
    (group,) = portal.seed.http.get("/spec", params={"app": "search"}).json()["spec"]["groups"]
    return group
