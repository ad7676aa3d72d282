"""
Who may do what: every operation of the OpenAPI document, for every role, with a token and with a session.

The document says which permission an operation needs. Nothing here names an operation, so a new one is in it at once:
one that declares no permission fails, and one that lets the wrong people through fails, too.
"""

from __future__ import annotations

import itertools
import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rollwave.web.access import Permission, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.api.conftest import Served

OPEN = {("get", "/api/v1/openapi.json")}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def operations(served: Served) -> list[tuple[str, str, dict[str, Any]]]:
    paths = httpx.get(f"{served.endpoint}/api/v1/openapi.json").json()["paths"]
    return [(method, path, operation) for path, item in paths.items() for method, operation in item.items()]


@pytest.fixture(scope="module")
def clients(served: Served) -> Iterator[dict[tuple[str, str], httpx.Client]]:
    """A client for each role and way to ask: a token of nobody, and somebody's session."""
    made: dict[tuple[str, str], httpx.Client] = {}
    admin = httpx.Client(base_url=served.endpoint, headers={"Authorization": f"Bearer {served.token}"}, timeout=60)
    for role in Role:
        name = f"walk-{role.value}-{os.getpid()}-{next(_numbers)}"
        made_token = admin.post("/api/v1/tokens", json={"name": f"{name}-token", "roles": [role.value]})
        token = made_token.json()["token"]
        made[role.value, "token"] = httpx.Client(
            base_url=served.endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        link = admin.post("/api/v1/users", json={"name": name, "roles": [role.value]}).json()["invitation"]
        made[role.value, "session"] = _signed_in(served.endpoint, link)
    yield made
    for client in [admin, *made.values()]:
        client.close()


def _signed_in(endpoint: str, link: str) -> httpx.Client:
    client = httpx.Client(base_url=endpoint, follow_redirects=True, timeout=60)
    page = client.get(link)
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[-1]
    password = "correct horse battery"
    form = {"csrfmiddlewaretoken": token, "new_password1": password, "new_password2": password}
    client.post(page.url, data=form, headers={"Referer": str(page.url)}).raise_for_status()
    client.headers["X-CSRFToken"] = client.cookies["rollwave_csrf"]
    return client


def ask(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """Ask for something that is not there, so that nothing changes: a number or a name of nobody, and no body."""
    filled = re.sub(r"\{[^}]*_id\}", "999999999", path)
    return client.request(method, re.sub(r"\{[^}]+\}", "nobody", filled), headers={"Accept": "application/json"})


def test_every_operation_declares_what_it_needs(operations):
    """One that does not is closed to everybody, and fails here."""
    known = {one.value for one in Permission}
    undeclared = [f"{method} {path}" for method, path, one in operations if one.get("x-permission") not in known]

    assert undeclared == []
    for method, path, one in operations:
        assert {"401", "403"} <= set(one["responses"]), f"{method} {path}"


def test_nobody_gets_nothing(operations, served):
    """Without a token or a session every operation answers 401, whatever else is wrong with the request."""
    with httpx.Client(base_url=served.endpoint) as client:
        for method, path, _ in operations:
            assert ask(client, method, path).status_code == HTTPStatus.UNAUTHORIZED, f"{method} {path}"


@pytest.mark.parametrize("way", ["token", "session"])
@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_a_role_gets_what_it_allows_and_nothing_else(operations, clients, role, way):
    """403 where the role lacks the permission, in the form of every error; anything but that where it has it."""
    client = clients[role.value, way]
    for method, path, operation in operations:
        needed = Permission(operation["x-permission"])
        answer = ask(client, method, path)
        if needed in role.permissions:
            assert answer.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN), (
                f"{role.value} may not {method} {path}: {answer.text}"
            )
        else:
            assert answer.status_code == HTTPStatus.FORBIDDEN, f"{role.value} may {method} {path}: {answer.text}"
            error = answer.json()["error"]
            assert (error["code"], error["facts"]["permission"]) == ("auth.forbidden", needed.value)


def test_a_role_for_one_app_in_one_environment_is_good_for_nothing_else(api, make_shop):
    """Lists show what is in reach; everything else is refused, reading too."""
    mine, theirs = make_shop(2, versions=("1.0",)), make_shop(2, versions=("1.0",), environment="staging")
    own = api.post("/tokens", {"name": f"t-{mine.name}", "roles": [f"operator:{mine.name}/production"]}, 201)["token"]
    foreign = api.post("/tokens", {"name": f"t-{theirs.name}", "roles": [f"operator:{theirs.name}/production"]}, 201)
    other = theirs.deploy("1.0", start=False)["id"]
    with httpx.Client(base_url=api.http.base_url, headers={"Authorization": f"Bearer {own}"}) as client:
        assert [one["name"] for one in client.get("/groups").json()] == [mine.name]
        assert [one["name"] for one in client.get("/apps").json()] == [mine.name]
        assert {one["app"] for one in client.get("/packages").json()} == {mine.name}
        assert client.get("/deployments").json() == []
        assert {one["app"] for one in client.get("/audit").json()} <= {mine.name}
        for path in (
            f"/groups/{theirs.name}",
            f"/apps/{theirs.name}",
            f"/packages/{theirs.name}/1.0",
            f"/deployments/{other}",
            f"/deployments/{other}/events",
            f"/deployments/{other}/targets",
        ):
            assert client.get(path).status_code == HTTPStatus.FORBIDDEN, path
        wish = {"group": theirs.name, "version": "1.0"}
        assert client.post("/deployments", json=wish).status_code == HTTPStatus.FORBIDDEN
        assert client.post("/plans", json=wish).status_code == HTTPStatus.FORBIDDEN
        assert client.post(f"/deployments/{other}/actions/abort", json={}).status_code == HTTPStatus.FORBIDDEN
        assert client.post(f"/servers/{theirs.servers[0]}/offline", json={}).status_code == HTTPStatus.FORBIDDEN
        assert client.get(f"/servers/{theirs.servers[0]}").json()["instances"] == []
        assert client.post("/deployments", json={**wish, "group": mine.name, "start": False}).status_code == 201
    # Of the right app, but of another environment.
    with httpx.Client(base_url=api.http.base_url, headers={"Authorization": f"Bearer {foreign['token']}"}) as client:
        assert client.get(f"/groups/{theirs.name}").status_code == HTTPStatus.FORBIDDEN


def test_an_admin_of_an_app_applies_the_spec_of_that_app_alone(api, make_shop):
    """Servers are everybody's, and other apps somebody else's: nothing of the spec is done then."""
    shop = make_shop(2)
    roles = [f"admin:{shop.name}"]
    token = api.post("/tokens", {"name": f"a-{shop.name}", "roles": roles}, 201)["token"]
    (group,) = shop.spec["groups"]
    with httpx.Client(base_url=api.http.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        own = {"groups": [{**group, "drain_timeout_s": 7}]}
        assert client.post("/spec", json={"spec": own}).status_code == 200
        moved = {"groups": [{**group, "drain_timeout_s": 8}], "servers": [{"name": "new", "address": "10.0.0.1"}]}
        assert client.post("/spec", json={"spec": moved}).status_code == HTTPStatus.FORBIDDEN
        taken = {"apps": [{"name": f"{shop.name}-other"}]}
        assert client.post("/spec", json={"spec": taken}).status_code == HTTPStatus.FORBIDDEN
    assert api.get(f"/groups/{shop.name}")["drain_timeout_s"] == 7


def test_every_page_says_who_may_see_it():
    """Or is one of the few that are for everybody."""
    from django.urls import get_resolver

    def views(resolver: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for one in resolver.url_patterns:
            path = f"{prefix}{one.pattern}"
            if path.startswith("api/"):
                continue
            if hasattr(one, "url_patterns"):
                yield from views(one, path)
            else:
                yield path, one.callback

    public = {
        *("health/live", "health/ready", "livez", "readyz", "metrics"),
        *("login", "logout", "welcome/<str:code>", "invitation/<uidb64>/<token>", "sso", "sso/callback"),
        *("preferences/theme", "preferences/language"),
    }
    closed = {path for path, view in views(get_resolver()) if not hasattr(view, "permission")}
    assert closed <= public, f"no permission declared: {sorted(closed - public)}"
