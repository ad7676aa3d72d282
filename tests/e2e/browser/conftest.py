"""One seeded portal and one browser for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser.portal import CHROMIUM, Portal, served_portal
from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A served Rollwave with releases that are over, move, wait and are braked; nobody leaves it other than found."""
    needs_program(CHROMIUM, package="chromium")
    with served_portal(tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture
def page(portal: Portal) -> Iterator[Page]:
    """A page of somebody who may do everything; what goes wrong in its scripts fails the test."""
    context = portal.member()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert not errors
