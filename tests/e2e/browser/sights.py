"""Every page of the portal, by a name: what is looked at, for pictures and for laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.browser.portal import Portal


def sights(portal: Portal) -> Mapping[str, str]:
    """Return the address of every page that somebody who has signed in may see, by its name."""
    releases = {f"release-{name}": f"/deployments/{number}" for name, number in portal.releases.items()}
    return {
        "overview": "/",
        "releases": "/deployments",
        **releases,
        "compare": "/deployments/compare?id=1&id=6",
        "compare-choice": "/deployments/compare",
        "start": "/deployments/new",
        "start-plan": "/deployments/new?group=shop-staging&version=4.17.2",
        "start-busy": "/deployments/new?group=shop-prod&version=4.17.2",
        "start-wrong": "/deployments/new?group=shop-staging&version=4.17.2&max_unavailable_percent=90&canary_count=two",
        "fleet": "/fleet",
        "app": "/apps/shop",
        "group": "/groups/search-prod",
        "spec": "/fleet/spec",
        "spec-app": "/fleet/spec?app=search",
        "servers": "/servers",
        "server": "/servers/shop-fra-02",
        "packages": "/packages",
        "package": "/packages/shop/4.18.0",
        "audit": "/audit",
        "audit-wrong": "/audit?since=yesterday",
        "settings": "/settings",
        "notifications": "/notifications",
        "notification": "/notifications/on-call",
        "search": "/search?q=shop",
        "missing": "/groups/nothing",
        "users": "/users",
        "tokens": "/tokens",
        "account": "/account",
        "password": "/account/password",
        "verification": "/audit/verification",
    }


OPEN = {"login": "/login"}
"""Pages for whoever has not signed in."""
