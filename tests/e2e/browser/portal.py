"""A portal to look at: a server with seeded data, and a browser that can sign in to it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from demo.processes import Program, until
from tests.e2e.browser.seed import Seed
from tests.e2e.browser.served import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, StorageState

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DESKTOP = {"viewport": {"width": 1440, "height": 900}}
MOBILE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}

LOOKS: dict[str, dict[str, Any]] = {
    f"{size}-{theme}-{language}": {**device, "color_scheme": theme, "locale": locale}
    for size, device in (("desktop", DESKTOP), ("mobile", MOBILE))
    for theme in ("light", "dark")
    for language, locale in (("en", "en-GB"), ("zh", "zh-CN"))
}
"""Every way to look at a page: both sizes, both themes, both languages."""


@dataclass(frozen=True, kw_only=True)
class Portal:
    """
    A served Rollwave.

    Attributes:
        endpoint: Its address.
        token: An API token that may do everything.
        releases: What the seed began, by name: ``over``, ``braked``, ``waiting``, ``moving``.
        browser: A browser of its own.
        seed: For more of the same.
        sessions: Of those who have signed in, by name.
    """

    endpoint: str
    token: str
    releases: dict[str, int]
    browser: Browser
    seed: Seed
    sessions: dict[str, StorageState] = field(default_factory=dict)

    def visitor(self, **options: Any) -> BrowserContext:
        """Return a new window of somebody who has not signed in."""
        defaults: dict[str, Any] = {**DESKTOP, "locale": "en-GB", "reduced_motion": "reduce"}
        return self.browser.new_context(base_url=self.endpoint, **defaults | options)

    def member(self, name: str = "lin.wei", **options: Any) -> BrowserContext:
        """Return a new window of somebody who has signed in: one of `served.PEOPLE`. Each signs in once."""
        if name not in self.sessions:
            self.sessions[name] = self._sign_in(name)
        return self.visitor(storage_state=self.sessions[name], **options)

    def _sign_in(self, name: str) -> StorageState:
        context = self.visitor()
        page = context.new_page()
        page.goto("/login")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(f"{self.endpoint}/")
        state = context.storage_state()
        context.close()
        return state


@contextmanager
def served_portal(folder: Path) -> Iterator[Portal]:
    """Serve a seeded Rollwave below *folder*, with a browser, as long as the block lasts."""
    data = folder / "data"
    data.mkdir()
    # Nobody is there: whoever comes back from it is refused.
    (data / "rollwave.toml").write_text('[sso]\nissuer = "http://127.0.0.1:9"\nclient_id = "rollwave"\n')
    program = Program([sys.executable, Path(__file__).with_name("served.py"), data], log=folder / "served.log")
    program.start()
    try:
        until(lambda: _is_up(program, data), what="the server's start", timeout_s=120)
        endpoint, token = ((data / name).read_text().strip() for name in ("endpoint", "token"))
        seed = Seed(endpoint, token, data, folder / "packages")
        releases = seed.sow()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            yield Portal(endpoint=endpoint, token=token, releases=releases, browser=browser, seed=seed)
            browser.close()
        seed.http.close()
    finally:
        program.stop()


def _is_up(program: Program, data: Path) -> bool:
    program.check()
    return (data / "endpoint").exists()


def settle(page: Page) -> None:
    """Wait until a page is drawn with its typefaces."""
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
