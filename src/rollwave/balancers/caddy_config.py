"""A complete Caddy configuration for a set of pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthWatch:
    """
    Let Caddy ask every member's health page, and send nothing to a member whose page does not answer 2xx.

    With this, membership changes need no reload: a member leaves by letting its health page say no (the drain file).

    Attributes:
        path: Path of the health page.
        interval_ms: Time between two checks of one member, in milliseconds.
        timeout_ms: Most time for one answer, in milliseconds.
    """

    path: str
    interval_ms: int = 250
    timeout_ms: int = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class CaddyPool:
    """
    One traffic pool.

    Attributes:
        name: Its name, which becomes the handler's ``@id``.
        listen: Where clients connect, for example ``127.0.0.1:8080``; no two pools share one.
        upstreams: Dial addresses of the members in traffic, ``host:port``; may be empty (clients get 503).
        health: See `HealthWatch`; None where members come and go through the admin API.
    """

    name: str
    listen: str
    upstreams: tuple[str, ...]
    health: HealthWatch | None = None


def caddy_config(pools: Sequence[CaddyPool], *, admin: str) -> dict[str, Any]:
    """
    Return the JSON configuration for ``caddy run --resume --config FILE``.

    Args:
        pools: The pools, each with its own listener.
        admin: Address of the admin API, ``host:port``: keep it on the loopback interface, it has no password.
    """
    return {
        "admin": {"listen": admin},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        # No grace_period: a server that was replaced lives until its last request is answered, however long that takes.
        "apps": {"http": {"servers": {pool.name: _server(pool) for pool in pools}}},
    }


def _server(pool: CaddyPool) -> dict[str, Any]:
    return {
        "listen": [pool.listen],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [_handler(pool)]}],
    }


def _handler(pool: CaddyPool) -> dict[str, Any]:
    checks: dict[str, Any] = {"passive": {"fail_duration": "2s", "max_fails": 3}}
    if pool.health is not None:
        checks["active"] = {
            "uri": pool.health.path,
            "interval": f"{pool.health.interval_ms}ms",
            "timeout": f"{pool.health.timeout_ms}ms",
            "expect_status": 2,
        }
    return {
        "@id": pool.name,
        "handler": "reverse_proxy",
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            # A retry on another member is safe where the request cannot have been acted upon twice. Caddy retries a
            # failed dial for every method (nothing was sent), and any other failure only for GET. No try_duration:
            # with every member out, clients get their 503 at once.
            "retries": 3,
            "try_interval": "50ms",
        },
        "health_checks": checks,
        "upstreams": [{"dial": dial} for dial in pool.upstreams],
    }
