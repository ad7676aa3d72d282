"""Notifications on pages: whatever the API can do, and nothing secret in what is shown."""

from __future__ import annotations

import html
import itertools
import os

import pytest

from tests.integration.api.test_people import Browser, accept

_numbers = itertools.count(1)


@pytest.fixture
def signed_in(api, served):
    """Sign somebody in who has these roles."""
    opened = []

    def sign_in(*roles: str) -> Browser:
        name = f"n{os.getpid()}-{next(_numbers)}"
        path = api.post("/users", {"name": name, "roles": list(roles)}, 201)["invitation"]
        browser = Browser(served.endpoint)
        opened.append(browser)
        accept(browser, path)
        browser.name = name
        return browser

    yield sign_in
    for browser in opened:
        browser.http.close()


FORM = {"channel": "webhook", "address": "https://hooks.example/s3cr3t", "topics": "braked", "enabled": "on"}


def test_a_subscription_is_made_tested_changed_and_removed(signed_in):
    browser = signed_in("admin")
    made = browser.submit("/notifications", name="page-hook", **FORM)
    assert "whsec_" in made
    shown = browser.get("/notifications/page-hook")
    assert "whsec_" not in shown
    assert "s3cr3t" not in shown
    assert "https://hooks.example" in shown

    browser.submit("/notifications/page-hook", **{**FORM, "address": "http://127.0.0.1:9/x", "topics": "failed"})
    tested = browser.submit("/notifications/page-hook/test", page="/notifications/page-hook")
    assert "The test has not arrived" in tested
    assert "no connection" in tested
    assert "page-hook" in browser.get("/notifications")

    browser.submit("/notifications/page-hook/removal", page="/notifications/page-hook")
    assert browser.http.get("/notifications/page-hook").status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"address": "ftp://x/"}, "url is expected as https://HOST/..."),
        ({"channel": "email", "address": "nobody"}, "to is expected as a list of addresses"),
        ({"topics": "weather"}, "at least one of started"),
        ({"channel": "pigeon"}, "one of email, slack"),
        ({"name": "two words"}, "letters, digits and"),
        ({"own": "on"}, "channels of systems belong to a team"),
    ],
)
def test_what_cannot_be_used_is_told_beside_its_field(signed_in, change, said):
    answer = signed_in("admin").submit("/notifications", **{"name": "wrong", **FORM, **change})
    assert said in html.unescape(answer)


def test_everybody_has_their_own_and_sees_no_others(signed_in):
    """A viewer may be told what they may see; a team's is for whoever manages it."""
    viewer, other = signed_in("viewer"), signed_in("viewer")
    mail = {"channel": "email", "address": "ann@example.com", "topics": "failed", "enabled": "on", "own": "on"}
    browser_page = viewer.submit("/notifications", name=f"mine-{viewer.name}", **mail)
    assert "ann@example.com" in browser_page
    assert other.http.get(f"/notifications/mine-{viewer.name}").status_code == 404
    assert f"mine-{viewer.name}" not in other.get("/notifications")

    del mail["own"]
    refused = viewer.submit("/notifications", name="team", **mail)
    assert "manage" in html.unescape(refused)
    taken = other.submit("/notifications", name=f"mine-{viewer.name}", **mail, own="on")
    assert 'role="alert"' in taken


def test_what_somebody_may_not_see_they_are_not_told(signed_in, shop):
    """An own subscription without a choice would tell about everything."""
    viewer = signed_in(f"viewer:{shop.name}")
    mail = {"channel": "email", "address": "ann@example.com", "topics": "failed", "enabled": "on", "own": "on"}
    name = f"mine-{viewer.name}"
    assert 'role="alert"' in viewer.submit("/notifications", name=name, **mail)
    viewer.submit("/notifications", name=name, apps=shop.name, **mail)
    assert shop.name in viewer.get(f"/notifications/{name}")
