"""Nothing is reachable only by API, only by page or only by command: a table names every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import typer
from django.urls import get_resolver

from rollwave.cli.main import build_app
from rollwave.web.urls import api

if TYPE_CHECKING:
    from collections.abc import Iterator


class Offer(NamedTuple):
    """One thing that can be done: by operations, by pages, by commands. One that is empty stands in `ALONE`."""

    operations: str
    pages: str
    commands: str


OFFERS = (
    Offer("GET apps|GET apps/{name}", "fleet|app", "get"),
    Offer("GET groups|GET groups/{name}", "fleet|group|overview", "get"),
    Offer("POST groups/{name}/instances/{server}/hold", "hold", "hold"),
    Offer("POST groups/{name}/instances/{server}/unhold", "hold", "unhold"),
    Offer("POST groups/{name}/rollback", "start|release_act", "rollback"),
    Offer("GET servers|GET servers/{name}", "servers|server", "get"),
    Offer("GET servers/{name}/check", "server-check", "host check"),
    Offer("POST servers/{name}/offline", "server-switch", "server offline"),
    Offer("POST servers/{name}/online", "server-switch", "server online"),
    Offer("GET spec", "spec|spec-file", "export"),
    Offer("POST spec", "spec-change", "apply"),
    Offer("GET packages|GET packages/{app}/{version}", "packages|package", "package list|package show|get"),
    Offer("PUT packages/{app}/{version}", "package-new", "package push"),
    Offer("GET packages/{app}/{version}/archive", "package", "package fetch"),
    Offer("POST plans", "start", "plan"),
    Offer("GET deployments", "deployments|overview", "get"),
    Offer("POST deployments", "start", "deploy"),
    Offer("GET deployments/{deployment_id}", "release|release_panels", "get|status"),
    Offer("GET deployments/{deployment_id}/targets", "release_table|release_target", "get"),
    Offer("GET deployments/{deployment_id}/events", "release|release_events|release_target|release_charts", "get"),
    Offer("GET deployments/compare", "compare", "compare"),
    Offer(
        "GET deployments/{deployment_id}/consequences/{verb}",
        "release_ask|release_ask_approval",
        "brake",  # --dry-run of it, and of every other action
    ),
    Offer("POST deployments/{deployment_id}/actions/approve", "release_approve", "approve"),
    Offer(
        "POST deployments/{deployment_id}/actions/{verb}",
        "release_act",
        "start|bake|rollout|next|promote|brake|resume|abort|retry|raise-limit|rollback",
    ),
    Offer("GET audit", "audit", "audit"),
    Offer("GET audit/export", "audit", "audit export"),
    Offer("GET audit/verify", "people:verification", "audit verify"),
    Offer("GET search", "search", "search"),
    Offer("GET settings", "settings", "settings"),
    Offer("GET subscriptions", "notifications", "subscription list"),
    Offer("GET subscriptions/{name}", "notification", "subscription show"),
    Offer("PUT subscriptions/{name}", "notifications|notification", "subscription put"),
    Offer("DELETE subscriptions/{name}", "notification-removal", "subscription remove"),
    Offer("POST subscriptions/{name}/test", "notification-test", "subscription test"),
    Offer("GET subscriptions/{name}/deliveries", "notification", "subscription deliveries"),
    Offer("GET tokens", "people:tokens", "token list"),
    Offer("POST tokens", "people:tokens", "token create"),
    Offer("DELETE tokens/{name}", "people:revoke", "token revoke"),
    Offer("GET users|GET users/{name}", "people:users|people:user", "user list"),
    Offer("POST users", "people:users", "user add"),
    Offer("PATCH users/{name}", "people:user", "user change"),
    Offer("DELETE users/{name}", "people:remove", "user remove"),
    Offer("POST users/{name}/invitation", "people:invite", "user invite"),
    Offer("GET me", "people:account", "user whoami"),
)

ALONE = {
    "people:login": "a session is the browser's; programs have tokens",
    "people:logout": "the same",
    "people:session-end": "the same",
    "people:sso": "the same",
    "people:sso_callback": "the same",
    "people:welcome": "the first account, by the link that the server prints; its first token is in a file",
    "people:invitation": "nobody but the person chooses their password",
    "people:password": "the same",
    "release_snapshot": "the live form of what GET events streams, for the grid alone",
    "release_names": "the same",
    "theme": "how a browser shows it",
    "language": "the portal's choice; API and command line are told by Accept-Language and the terminal",
    "health/live": "for probes",
    "health/ready": "for probes",
    "livez": "for probes",
    "readyz": "for probes",
    "metrics": "for Prometheus",
    "serve": "starts the server itself",
    "web": "the same",
    "worker": "the same",
    "migrate": "the same",
    "version": "of this program and of the server; a page says it under settings",
    "package build": "a package is signed where its key is, which is never a server",
    "package keygen": "a private key stays where it was made",
    "host import": "reads files of other tools, and prints a spec",
    "completion install": "of the shell",
    "completion show": "of the shell",
}
"""What is in one place alone, and why."""


def split(texts: Iterator[str]) -> set[str]:
    return {one for text in texts for one in text.split("|") if one}


def operations() -> set[str]:
    paths = api.get_openapi_schema()["paths"]
    return {f"{method.upper()} {path.removeprefix('/api/v1/')}" for path, item in paths.items() for method in item}


def pages() -> set[str]:
    return set(_pages(get_resolver(), ""))


def _pages(resolver, space: str) -> Iterator[str]:
    for one in resolver.url_patterns:
        if getattr(one, "namespace", None) == "api-v1":
            continue
        if hasattr(one, "url_patterns"):
            inner = "" if one.namespace in (None, "portal") else f"{one.namespace}:"
            yield from _pages(one, inner)
        else:
            # A page without a name would be one that no table can speak of.
            yield f"{space}{one.name or one.pattern}"


def commands() -> set[str]:
    return set(_commands(typer.main.get_command(build_app()), ""))


def _commands(command, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    if name and (not inner or command.invoke_without_command):
        yield name
    for word, one in inner.items():
        yield from _commands(one, f"{name} {word}".strip())


@pytest.mark.parametrize("what", ["operations", "pages", "commands"])
def test_everything_is_offered_in_every_way_or_says_why_not(what):
    """A new operation, page or command fails here until its equals are named; and no name is of what is gone."""
    there = {"operations": operations, "pages": pages, "commands": commands}[what]()
    named = split(getattr(one, what) for one in OFFERS)

    assert there - named - set(ALONE) == set(), f"{what} that nothing else is said to offer"
    assert named - there == set(), f"{what} that there are not"


def test_what_is_offered_in_one_way_alone_says_why():
    """No gap without a reason, and no reason without a gap."""
    gaps = {one.operations for one in OFFERS if not (one.pages and one.commands)}
    assert gaps <= set(ALONE)
    assert set(ALONE) <= gaps | pages() | commands()
    assert all(len(reason.split()) > 1 for reason in ALONE.values())
