"""Where somebody is signed in, and the end of it."""

from __future__ import annotations

import re

from tests.integration.api.test_people import Browser


def marks(page: str) -> list[str]:
    return re.findall(r'action="/account/sessions/([0-9a-f]+)/end"', page)


def test_somebody_sees_their_sessions_and_ends_one(signed_in, served, api):
    """Their own alone; the other browser is out at once, and the log has it."""
    here = signed_in("viewer")
    there = Browser(served.endpoint)
    there.sign_in(here.name)
    assert there.get("/account")

    (mark,) = marks(here.get("/account"))
    assert "That session is over." in here.submit(f"/account/sessions/{mark}/end", page="/account")

    assert there.http.get("/account").url.path == "/login"
    assert marks(here.get("/account")) == []
    assert "user.session_ended" in [one["action"] for one in api.get("/audit", subject=f"user/{here.name}")]
    there.http.close()


def test_nobody_ends_the_session_of_somebody_else(signed_in, served):
    one, other = signed_in("viewer"), signed_in("admin")
    again = Browser(served.endpoint)
    again.sign_in(one.name)
    (mark,) = marks(one.get("/account"))

    assert marks(other.get("/account")) == []
    other.submit(f"/account/sessions/{mark}/end", 404, page="/account")
    assert again.get("/account")
    again.http.close()


def test_every_page_offers_the_way_out(signed_in):
    """Whoever has signed in can sign out from wherever they are."""
    browser = signed_in("admin")
    for path in (
        "/",
        "/deployments",
        "/fleet",
        "/fleet/spec",
        "/packages",
        "/audit",
        "/settings",
        "/tokens",
        "/account",
    ):
        assert 'action="/logout"' in browser.get(path), path
