"""``./dev screenshots [FOLDER]``: a picture of every page, for anybody to look at."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.browser.portal import LOOKS, served_portal
from tests.e2e.browser.sights import sights, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.browser.portal import Portal


def main(folder: Path) -> int:
    """Write the pictures into *folder*; return 1 where a page is wider than its window or did not come at all."""
    folder.mkdir(parents=True, exist_ok=True)
    bad = []
    with tempfile.TemporaryDirectory() as scratch, served_portal(Path(scratch)) as portal:
        for look, options in LOOKS.items():
            bad += _take(portal, look, options, folder)
    sys.stdout.write("".join(f"{one}\n" for one in bad) + f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")
    return int(bool(bad))


def _take(portal: Portal, look: str, options: Mapping[str, Any], folder: Path) -> list[str]:
    bad = []
    for name, page, response in walk(portal, sights(portal), **options):
        page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider > 0:
            bad.append(f"{name}-{look}: {wider} px wider than the window")
        if response.status >= 500:
            bad.append(f"{name}-{look}: {response.status}")
    return bad


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots")))
