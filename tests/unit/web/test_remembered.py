"""What many look at is read once, and only for those who may see the same."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import RequestFactory
from django.utils.translation import override

from rollwave.web.access import Grant, Principal, Role, admit
from rollwave.web.portal.remembered import remembered


@pytest.fixture(autouse=True)
def _forgotten():
    cache.clear()
    yield
    cache.clear()


def asked_by(*grants: Grant):
    request = RequestFactory().get("/")
    admit(request, Principal(name=str(grants), limits=(grants,)))
    return request


def test_two_who_may_see_the_same_are_shown_the_same():
    """The second asks nothing of the database."""
    one, other = asked_by(Grant(role=Role.VIEWER)), asked_by(Grant(role=Role.VIEWER))

    assert remembered(one, "overview", lambda: {"count": 1}) == {"count": 1}
    assert remembered(other, "overview", lambda: {"count": 2}) == {"count": 1}


def test_nobody_is_shown_what_another_may_see():
    """Other grants, another language and another page are read anew."""
    everything, little = asked_by(Grant(role=Role.ADMIN)), asked_by(Grant(role=Role.VIEWER, app="shop"))
    remembered(everything, "overview", lambda: {"count": 9})

    assert remembered(little, "overview", lambda: {"count": 1}) == {"count": 1}
    assert remembered(everything, "fleet", lambda: {"count": 2}) == {"count": 2}
    with override("zh-hans"):
        assert remembered(everything, "overview", lambda: {"count": 3}) == {"count": 3}
