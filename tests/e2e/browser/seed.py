"""A company's worth of apps, servers and releases: something is over, moves, waits, is braked, held and offline."""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx

from rollwave.packages.build import build_package
from rollwave.packages.manifest import Provenance
from rollwave.packages.signing import SigningKey
from rollwave.web.data_dir import welcome_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SITES = ("fra", "iad", "sin")

COMMITS = {
    "4.16.0": "9b1c6f02d7a94e5fb0c1a6f2d8e34b7a1c905e62",
    "4.17.2": "3f7d20c8e15b49d6a4f0b92c7716ed508a2c1b94",
    "4.18.0": "c04e8a7b52f14d39867bd1e09a3f65c2d8714e0f",
}


_SUBSCRIPTIONS = [
    {
        "name": "release-chat",
        "channel": "dingtalk",
        "settings": {"url": "https://oapi.dingtalk.com/robot/send?access_token=a"},
        "language": "zh-Hans",
        "topics": ["waiting", "braked", "failed"],
        "environments": ["production"],
        "enabled": False,
    },
    # There is no mail server: what it was told has not arrived.
    {"name": "on-call", "channel": "email", "settings": {"to": ["on-call@example.com"]}, "topics": ["failed"]},
]


class Seed:
    """Fills a Rollwave by its API."""

    def __init__(self, endpoint: str, token: str, data_dir: Path, scratch: Path) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=f"{endpoint}/api/v1", headers=headers, timeout=60)
        self.key = SigningKey.load(data_dir / "keys" / "signing.key")
        self._data_dir = data_dir
        self.scratch = scratch

    def sow(self) -> dict[str, int]:
        """Bring about all of it; return the releases by what they are."""
        self.post("/spec", {"spec": _spec()})
        self.post("/spec", {"spec": {"subscriptions": _SUBSCRIPTIONS}})
        for app, versions in _VERSIONS.items():
            for version in versions:
                self.push(app, version)
        at_once = {"config": {"canary_count": 0, "max_unavailable_percent": 50}}
        self.release("shop-staging", "4.17.2", reason="nightly", **at_once)
        self.release("shop-prod", "4.16.0", reason="first release", **at_once)
        self.release("shop-prod", "4.17.2", reason="autumn prices", **at_once)
        self.release("search-prod", "2.9.1", **at_once)
        self.release("billing-prod", "7.1.0", **at_once)
        over = self.release("shop-staging", "4.18.0", reason="checkout in one step", **at_once)
        self.post("/groups/search-prod/instances/search-iad-02/hold", {"reason": "disk is being replaced"})
        self.post("/servers/search-fra-04/offline", {"reason": "rack maintenance"})
        braked = self.begin("billing-prod", "7.2.0", reason="new invoices", config={"canary_count": 0})
        self.until(braked, lambda seen: seen["status"] == "braked")
        waiting = self.begin("search-prod", "2.10.0", reason="better ranking")
        self.until(waiting, lambda seen: seen["phase"] == "verify_success")
        moving = self.begin("shop-prod", "4.18.0", reason="checkout in one step", config={"batch_pause_s": 3600})
        self.until(moving, lambda seen: seen["phase"] == "verify_success")
        self.post(f"/deployments/{moving}/actions/bake", {})
        self.until(moving, lambda seen: seen["phase"] == "bake_success")
        self.post(f"/deployments/{moving}/actions/rollout", {})
        approval = self.begin("billing-staging", "7.1.0", reason="a look at the invoices")
        return {"over": over, "braked": braked, "waiting": waiting, "moving": moving, "approval": approval}

    def invitation(self) -> str:
        """Return the address at which the guest chooses a password."""
        if self.http.get("/users/guest").is_error:
            self.post("/users", {"name": "guest", "roles": ["viewer"]})
        path: str = self.post("/users/guest/invitation", {})["path"]
        return path

    def welcome(self) -> str:
        """Return what the first account is made with, as if there were none yet."""
        welcome_file(self._data_dir).write_text("a-code-that-nobody-guesses\n")
        return "a-code-that-nobody-guesses"

    def release(self, group: str, version: str, **body: Any) -> int:
        """Release, and wait until that is over."""
        deployment = self.begin(group, version, **body)
        self.until(deployment, lambda seen: seen["phase"] == "success")
        return deployment

    def begin(self, group: str, version: str, **body: Any) -> int:
        """Begin a release."""
        number: int = self.post("/deployments", {"group": group, "version": version, **body})["id"]
        return number

    def post(self, path: str, body: object) -> Any:
        """Post, and have it work."""
        response = self.http.post(path, json=body)
        assert response.is_success, response.text
        return response.json()

    def until(self, deployment: int, is_there: Callable[[Any], bool]) -> None:
        """Wait until a release is as wanted."""
        deadline = time.monotonic() + 60
        while not is_there(seen := self.http.get(f"/deployments/{deployment}").raise_for_status().json()):
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)

    def push(self, app: str, version: str) -> None:
        """Build and push a package."""
        source = self.scratch / app / version
        source.mkdir(parents=True)
        (source / "main.bin").write_bytes(hashlib.shake_128(f"{app} {version}".encode()).digest(350_000))
        archive = BytesIO()
        built = build_package(
            source,
            archive,
            app=app,
            version=version,
            key=self.key,
            created_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
            provenance=Provenance(
                commit=COMMITS.get(version),
                branch=f"release/{version.rpartition('.')[0]}",
                build=f"{app} #1{version[-1]}7",
            ),
        )
        headers = {
            "Rollwave-Manifest": base64.b64encode(built.manifest).decode(),
            "Rollwave-Signature": base64.b64encode(built.signature).decode(),
            "Rollwave-Key-Id": built.key_id,
        }
        self.http.put(f"/packages/{app}/{version}", content=archive.getvalue(), headers=headers).raise_for_status()


_VERSIONS = {"shop": ("4.16.0", "4.17.2", "4.18.0"), "search": ("2.9.1", "2.10.0"), "billing": ("7.1.0", "7.2.0")}


_APPROVED = {"startup_timeout_s": 1, "requires_approval": True}


def _spec() -> dict[str, Any]:
    shop = [f"shop-{site}-{number:02}" for number in range(1, 9) for site in SITES]
    search = [f"search-{site}-{number:02}" for number in range(1, 6) for site in SITES]
    staging = [f"stage-fra-{number:02}" for number in range(1, 5)]
    billing = [f"bill-fra-{number:02}" for number in range(1, 3)]
    names = [*shop, *search, *staging, *billing]
    host = {"start": ["/usr/bin/systemctl", "start", "{app}"], "stop": ["/usr/bin/systemctl", "stop", "{app}"]}

    def group(name: str, app: str, servers: list[str], port: int, **more: Any) -> dict[str, Any]:
        place = {"deploy_path": f"/srv/{{server}}/{app}", "port": port, "balancer": "edge", "instances": servers}
        return {"name": name, "app": app, **place, **host, "config": {"startup_timeout_s": 1}, **more}

    return {
        "apps": [
            {"name": "shop", "description": "The storefront: catalog, basket, checkout"},
            {"name": "search", "description": "Finds products"},
            {"name": "billing", "description": "Invoices and refunds"},
        ],
        "servers": [
            {"name": name, "site": name.split("-")[1], "address": f"10.4.{index // 200}.{index % 200 + 1}"}
            for index, name in enumerate(names)
        ],
        "groups": [
            group("shop-prod", "shop", shop, 8080),
            group("shop-staging", "shop", staging, 8080, environment="staging"),
            group("search-prod", "search", search, 8080),
            group("billing-prod", "billing", shop[:12], 9090),
            group("billing-staging", "billing", billing, 9090, environment="staging") | {"config": _APPROVED},
        ],
    }
