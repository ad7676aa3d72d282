"""Notifications as clients see them: from a subscription to what a receiver gets of a real release."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook


class Hook:
    """A webhook's receiver; *hangs* until it is let go."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.may_answer.wait(60)
                hook.got.append((dict(self.headers), body))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/s3cr3t"

    def events(self, secret: str) -> list[dict[str, Any]]:
        return [event for headers, body in self.got for event in Webhook(secret).verify(body, headers)]

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook():
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture
def subscription(api, hook):
    body = {"channel": "webhook", "settings": {"url": hook.url}, "topics": ["everything"]}
    yield put(api, "hook", body)
    assert api.http.delete("/subscriptions/hook").status_code == 204


def put(api, name, body, status=200):
    return api._json(api.http.put(f"/subscriptions/{name}", json=body), status)


def test_a_release_is_told_from_its_first_event_to_its_last(api, shop, hook, subscription):
    """Each event once, in order; and the delivery log tells how that went."""
    deployment = shop.release("1.0")
    last = api.get(f"/deployments/{deployment}")["seq"]

    def told(attempts: Any) -> bool:
        return bool(attempts) and (attempts[0]["deployment"], attempts[0]["until_seq"]) == (deployment, last)

    deliveries = api.until("/subscriptions/hook/deliveries", told)
    events = [one for one in hook.events(subscription["secret"]) if one["subject"] == f"deployments/{deployment}"]
    assert [one["data"]["seq"] for one in events] == list(range(1, last + 1))
    assert deliveries[0]["arrived"]
    assert deliveries[0]["said"] == "status 200"
    seen = api.get("/subscriptions/hook")
    assert (seen["failures"], seen["last_error"]) == (0, "")


def test_a_channel_that_hangs_costs_a_release_nothing(api, shop, hook, subscription):
    """The release is over while its first message has not been answered yet."""
    hook.may_answer.clear()
    shop.release("1.0")
    assert hook.got == []


def test_nothing_secret_is_read_back(api, hook, subscription):
    assert subscription["secret"].startswith("whsec_")
    for path in ("/subscriptions", "/subscriptions/hook", "/audit?subject=subscription/hook"):
        text = json.dumps(api.http.get(path).json())
        assert subscription["secret"] not in text
        assert "s3cr3t" not in text
    assert api.get("/subscriptions/hook")["address"] == hook.url.removesuffix("/s3cr3t")


def test_a_change_keeps_what_is_not_named(api, hook, subscription):
    """The address, and the secret that the receiver knows."""
    changed = put(api, "hook", {"channel": "webhook", "topics": ["braked"], "language": "zh-Hans"})
    assert (changed["secret"], changed["topics"], changed["language"]) == (None, ["braked"], "zh-Hans")
    assert api.post("/subscriptions/hook/test", None, 200)["arrived"]
    assert hook.events(subscription["secret"])[0]["type"] == "rollwave.test"
    put(api, "hook", {"channel": "webhook", "settings": {"url": hook.url + "/2"}, "topics": ["braked"]})
    assert api.post("/subscriptions/hook/test", None, 200)["arrived"]
    assert len(hook.events(subscription["secret"])) == 2


def test_a_test_that_fails_says_why(api, hook, subscription):
    hook.status = 500
    failed = api.post("/subscriptions/hook/test", None, 200)
    assert (failed["arrived"], failed["said"], failed["deployment"]) == (False, "status 500", None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settings": {"url": "ftp://x/"}}, "settings"),
        ({"settings": {"uri": "https://x/"}}, "settings"),
        ({"settings": None}, "settings"),
        ({"channel": "pigeon"}, "channel"),
        ({"topics": []}, "topics"),
        ({"topics": ["weather"]}, "topics[0]"),
        ({"groups": ["nowhere"]}, "groups"),
        ({"apps": ["nothing"]}, "apps"),
        ({"own": True}, "channel"),
        ({"language": "fr"}, "language"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_field(api, change, field):
    body = {"channel": "webhook", "settings": {"url": "https://hooks.example/"}, "topics": ["braked"], **change}
    error = put(api, "wrong", body, 422)["error"]
    assert error["field"] == field
    api.get("/subscriptions/wrong", 404)


def test_a_name_is_checked(api):
    body = {"channel": "slack", "settings": {"url": "https://hooks.example/"}, "topics": ["braked"]}
    assert put(api, "a%20b", body, 422)["error"]["field"] == "name"
