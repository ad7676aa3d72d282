"""``./dev screenshots [FOLDER]``: a picture of every page, for anybody to look at."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.browser.portal import LOOKS, served_portal, settle
from tests.e2e.browser.sights import OPEN, sights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import BrowserContext


def main(folder: Path) -> int:
    """Write the pictures into *folder*; return 1 where a page is wider than its window or did not come at all."""
    folder.mkdir(parents=True, exist_ok=True)
    bad = []
    with tempfile.TemporaryDirectory() as scratch, served_portal(Path(scratch)) as portal:
        for look, options in LOOKS.items():
            bad += _take(portal.visitor(**options), OPEN, look, folder)
            bad += _take(portal.member(**options), sights(portal), look, folder)
    sys.stdout.write("".join(f"{one}\n" for one in bad) + f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")
    return int(bool(bad))


def _take(context: BrowserContext, pages: Mapping[str, str], look: str, folder: Path) -> list[str]:
    bad = []
    page = context.new_page()
    for name, path in pages.items():
        response = page.goto(path)
        settle(page)
        page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider > 0:
            bad.append(f"{name}-{look}: {wider} px wider than the window")
        if response is None or response.status >= 500:
            bad.append(f"{name}-{look}: {response and response.status}")
    context.close()
    return bad


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots")))
