"""The theme: a cookie that only ever holds what there is."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from rollwave.web.portal.theme import COOKIE, Theme, choose, theme_of


@pytest.mark.parametrize(("cookie", "theme"), [(None, Theme.SYSTEM), ("dark", Theme.DARK), ("</html>", Theme.SYSTEM)])
def test_a_browser_that_names_no_theme_has_that_of_its_system(cookie, theme):
    """Cookies are what a browser says, not what we wrote."""
    request = RequestFactory().get("/")
    if cookie is not None:
        request.COOKIES[COOKIE] = cookie

    assert theme_of(request) is theme


def test_the_switch_goes_round():
    """Three times is where it was."""
    assert Theme.SYSTEM.following.following.following is Theme.SYSTEM


@pytest.mark.parametrize(
    ("back", "goes"), [("/fleet?x=1", "/fleet?x=1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("", "/")]
)
def test_the_switch_leads_back_and_nowhere_else(back, goes):
    """A form of another site cannot send anybody away through us."""
    response = choose(RequestFactory().post("/preferences/theme", {"theme": "dark", "next": back}))

    assert response["Location"] == goes
    assert response.cookies[COOKIE].value == "dark"
    assert response.cookies[COOKIE]["samesite"] == "Lax"


def test_a_theme_that_there_is_not_is_not_kept():
    """What is written is one of three words."""
    assert COOKIE not in choose(RequestFactory().post("/preferences/theme", {"theme": "pink"})).cookies
