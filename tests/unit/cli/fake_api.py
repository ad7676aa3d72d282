"""An API that answers from a table, and the documents that it answers with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = "http://127.0.0.1:8080"


def error_body(code: str, message: str, **facts: object) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "field": None, "facts": facts}}


@dataclass
class FakeApi:
    """Answers by method and path; remembers what it was asked."""

    routes: dict[tuple[str, str], Callable[[httpx.Request], httpx.Response]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def on(self, method: str, path: str, answer: object, *, status: int = 200) -> None:
        """Answer *answer* as JSON; a callable is asked with the request."""
        if callable(answer):
            self.routes[method, path] = answer
        else:
            self.routes[method, path] = lambda _request: httpx.Response(status, json=answer)

    def refuse(self, method: str, path: str, code: str, message: str, *, status: int = 409, **facts: object) -> None:
        self.on(method, path, error_body(code, message, **facts), status=status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        route = self.routes.get((request.method, request.url.path.removeprefix("/api/v1/")))
        if route is None:
            return httpx.Response(404, json=error_body("request.unknown_route", f"nothing at {request.url.path}"))
        return route(request)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def sent(self, index: int = -1) -> Any:
        """The JSON body of a request."""
        return json.loads(self.requests[index].content)


def deployment(**changed: object) -> dict[str, Any]:
    """A deployment as the API writes it."""
    return {
        "gate": {"word": "Passing", "tone": "good", "detail": "0 failed, the brake comes at 1", "until": None},
        "per_minute": 4.5,
        "eta_s": 40,
        "id": 12,
        "group": "shop-prod",
        "app": "shop",
        "kind": "rollout",
        "phase": "rolling_out",
        "status": "running",
        "sentence": "Rolling out: 1 of 3 on 1.4.2, 1 in flight.",
        "brake": None,
        "abort": None,
        "goal_version": "1.4.2",
        "previous_version": "1.4.1",
        "actor": "maria",
        "reason": "",
        "created_at": "2026-01-01T12:00:00Z",
        "ended_at": None,
        "followed_by": None,
        "seq": 7,
        "config": {},
        "initial": False,
        "counts": {"total": 3},
        "budget": {"eligible": 3, "limit": 1, "out": 1},
        "batches": [
            {"number": 1, "canary": True, "opened": True, "released": False, "due_at": None, "counts": {}},
            {"number": 2, "canary": False, "opened": True, "released": False, "due_at": None, "counts": {}},
        ],
        "bake_due_at": None,
        "available_actions": ["brake", "raise_limit", "abort", "rollback"],
        **changed,
    }


def target(number: int, **changed: object) -> dict[str, Any]:
    """A target as the API writes it."""
    return {
        "instance": f"shop-prod/web-{number:02}:8080",
        "server": f"web-{number:02}",
        "site": "default",
        "port": 8080,
        "batch": 2,
        "status": "PENDING",
        "standing": "pending",
        "stage": None,
        "progress": None,
        "attempt": 1,
        "failure": None,
        "restored": False,
        "version": None,
        "in_traffic": True,
        **changed,
    }


def event(seq: int, kind: str = "BatchOpened", **changed: object) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": "2026-01-01T12:00:01Z",
        "kind": kind,
        "instance": None,
        "data": {},
        "sentence": f"event {seq}",
        **changed,
    }


def sse(*events: dict[str, Any], is_over: bool = True) -> bytes:
    """Events as the server streams them."""
    frames = [f"id: {one['seq']}\nevent: {one['kind']}\ndata: {json.dumps(one)}\n\n" for one in events]
    last = events[-1]["seq"] if events else 0
    end = [f"id: {last}\nevent: end\ndata: {{}}\n\n"] if is_over else []
    return "".join(["retry: 1000\n\n", ": still here\n\n", *frames, *end]).encode()
