"""What holds for every page of the address table, those to come included."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.http import Http404
from django.test import RequestFactory
from django.urls import get_resolver

from rollwave.store import audit
from rollwave.web import access
from rollwave.web.access import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Page = Callable[..., Any]


def pages(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, Page]]:
    """Give every page that is not for everybody, with its address."""
    for one in (resolver or get_resolver()).url_patterns:
        path = f"{prefix}{one.pattern}"
        if hasattr(one, "url_patterns"):
            yield from pages(one, path)
        elif hasattr(one.callback, "permission"):
            yield path, one.callback


PAGES = dict(pages())


@pytest.mark.parametrize("path", PAGES)
def test_the_audit_log_knows_from_where_a_page_is_asked_before_it_does_anything(path, monkeypatch):
    """Address, program and number of the request, at the moment at which it is decided whether somebody may."""
    seen: list[audit.Origin] = []

    def look(*_arguments: object) -> None:
        seen.append(audit.origin.get())
        raise Http404

    monkeypatch.setattr(access, "principal_of_user", lambda user: Principal(name=str(user), limits=()))
    monkeypatch.setattr(access, "check", look)
    monkeypatch.setattr(access, "_places", lambda _groups: [access.Place()])
    view, make = PAGES[path], RequestFactory(headers={"User-Agent": "a browser"}, REMOTE_ADDR="192.0.2.7")
    parameters = dict.fromkeys(re.findall(r"<(?:\w+:)?(\w+)>", path), 1)
    for request in (make.post("/"), make.get("/")):
        request.user = "maria"
        request.request_id = "r-1"
        before = audit.origin.set(audit.Origin())
        try:
            answer = view(request, **parameters)
            assert answer.status_code == 405
        except Http404:
            continue
        finally:
            audit.origin.reset(before)

    assert seen
    assert set(seen) == {audit.Origin(address="192.0.2.7", agent="a browser", request_id="r-1")}
