"""An API for every command."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.cli.commands.answers import (
    AUDIT,
    CHANGES,
    DELIVERY,
    GROUP,
    INSTANCE,
    PACKAGE,
    PLAN,
    SERVER,
    SUBSCRIPTION,
    TOKEN,
    USER,
)
from tests.unit.cli.fake_api import deployment, event, target


@pytest.fixture
def fleet(api):
    """An API where everything goes well."""
    api.on("GET", "deployments", [deployment()])
    api.on("GET", "deployments/12", deployment())
    api.on("GET", "deployments/12/targets", [target(1, batch=1, standing="success"), target(2), target(3)])
    api.on("GET", "deployments/12/events", [event(1)])
    api.on("GET", "groups", [GROUP])
    api.on("GET", "groups/shop-prod", {**GROUP, "instances": [INSTANCE]})
    api.on("GET", "apps", [{"name": "shop", "description": "", "groups": ["shop-prod"]}])
    api.on("GET", "apps/shop", {"name": "shop", "description": "", "groups": ["shop-prod"]})
    api.on("GET", "servers", [SERVER])
    api.on("GET", "servers/web-01", {**SERVER, "instances": [INSTANCE]})
    api.on("GET", "packages", [PACKAGE])
    api.on("GET", "packages/shop/1.4.2", PACKAGE)
    api.on("GET", "tokens", [TOKEN])
    api.on("GET", "audit", [AUDIT])
    api.on("GET", "audit/verify", {"intact": True, "count": 1, "head": "1:ab", "flaws": []})
    api.on("GET", "subscriptions", [SUBSCRIPTION])
    api.on("GET", "subscriptions/chat", SUBSCRIPTION)
    api.on("PUT", "subscriptions/chat", {**SUBSCRIPTION, "secret": "whsec_new"})
    api.on("DELETE", "subscriptions/chat", lambda _request: httpx.Response(204))
    api.on("POST", "subscriptions/chat/test", DELIVERY)
    api.on("GET", "subscriptions/chat/deliveries", [DELIVERY])
    api.on("GET", "users", [USER])
    api.on("GET", "me", {"name": "maria", "token": "ci", "limits": [["operator:shop"], ["admin"]]})
    api.on("POST", "users", {**USER, "invitation": "/invitation/a/b"}, status=201)
    api.on("PATCH", "users/maria", USER)
    api.on("POST", "users/maria/invitation", {"path": "/invitation/a/b"})
    api.on("DELETE", "users/maria", lambda _request: httpx.Response(204))
    api.on("POST", "tokens", {**TOKEN, "token": "rw_new"}, status=201)
    api.on("DELETE", "tokens/ci", lambda _request: httpx.Response(204))
    api.on("POST", "plans", PLAN)
    api.on("POST", "deployments", deployment(), status=201)
    api.on("POST", "spec", CHANGES)
    api.on("POST", "groups/shop-prod/rollback", deployment(id=13, kind="rollback", goal_version="1.4.1"), status=201)
    for verb in ("hold", "unhold"):
        api.on("POST", f"groups/shop-prod/instances/web-01/{verb}", INSTANCE)
    for verb in ("offline", "online"):
        api.on("POST", f"servers/web-01/{verb}", {**SERVER, "instances": [INSTANCE]})
    for verb in (
        "approve",
        "start",
        "bake",
        "rollout",
        "next",
        "promote",
        "brake",
        "resume",
        "retry",
        "raise_limit",
        "abort",
    ):
        api.on("POST", f"deployments/12/actions/{verb}", deployment(status="braked"))
    api.on("POST", "deployments/12/actions/rollback", deployment(abort={"reason": "", "rollback_to": "1.4.1"}))
    return api
