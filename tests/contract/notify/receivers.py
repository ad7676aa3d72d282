"""Receivers: each takes what one kind of channel sends, checks it as its vendor documents, and can say no."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from abc import ABC, abstractmethod
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import amqp
import redis
from aiosmtpd.controller import Controller
from standardwebhooks import Webhook

from demo.processes import free_ports
from rollwave.notify.channels import Channels
from rollwave.notify.config import read_config, sealed_form
from rollwave.notify.guard import Guard
from rollwave.notify.mail import SmtpServer
from rollwave.system import SystemClock
from rollwave.testing.fake_channel import FakeChannel

if TYPE_CHECKING:
    from rollwave.ports.notifier import Channel

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
BASE_URL = "https://rollwave.example"


class Receiver(ABC):
    """One receiver, and the channel to it."""

    is_for_people = True
    channel: Channel
    secrets: tuple[str, ...] = ()

    @abstractmethod
    def got(self) -> list[tuple[str, str]]:
        """What has arrived: an identity, empty where the receiver shows none, and all that it holds as one text."""

    @abstractmethod
    def refuse(self) -> None:
        """Say no from now on."""

    @abstractmethod
    def vanish(self) -> None:
        """Not be there any more."""

    def close(self) -> None:  # noqa: B027  # most have nothing to end
        """End."""


def channels(smtp: SmtpServer | None = None) -> Channels:
    return Channels(guard=Guard(["127.0.0.1"]), clock=SystemClock(), base_url=BASE_URL, smtp=smtp)


class Fake(Receiver):
    def __init__(self) -> None:
        self.channel: FakeChannel = FakeChannel()

    def got(self) -> list[tuple[str, str]]:
        return [(message.id, str(message)) for message in self.channel.got]

    def refuse(self) -> None:
        self.channel.fails = "no"

    def vanish(self) -> None:
        self.channel.fails = "gone"


class Http(Receiver):
    """A web server that checks what comes."""

    kind: str
    settings: ClassVar[dict[str, Any]] = {}
    path = "/hook/s3cr3t-p4th"
    yes: tuple[int, bytes] = (200, b"{}")
    no: tuple[int, bytes] = (500, b"{}")

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.answer = self.yes
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    taken = receiver.check(self.path, dict(self.headers), body)
                    if receiver.answer == receiver.yes:
                        receiver.arrived.append(taken)
                except Exception as error:  # noqa: BLE001  # told by the test
                    receiver.problems.append(repr(error))
                status, said = receiver.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        url = f"http://127.0.0.1:{self.server.server_port}{self.path}"
        self.channel = channels().open(sealed_form(read_config(self.kind, {"url": url, **self.settings})))
        self.secrets = ("s3cr3t-p4th", *map(str, self.settings.values()))

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        raise NotImplementedError

    def got(self) -> list[tuple[str, str]]:
        assert not self.problems
        return self.arrived

    def refuse(self) -> None:
        self.answer = self.no

    def vanish(self) -> None:
        self.close()

    def close(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()


class SignedWebhook(Http):
    kind = "webhook"
    settings: ClassVar = {"secret": SECRET}
    is_for_people = False
    no = (503, b"later")

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        assert headers["Content-Type"] == "application/cloudevents-batch+json"
        events = Webhook(SECRET).verify(body, headers)
        assert all(event["specversion"] == "1.0" and event["source"] == BASE_URL for event in events)
        return headers["webhook-id"], json.dumps(events, ensure_ascii=False)


class DingTalk(Http):
    kind = "dingtalk"
    path = "/robot/send?access_token=s3cr3t-p4th"
    settings: ClassVar = {"secret": "SECabcdef"}
    yes = (200, b'{"errcode":0,"errmsg":"ok"}')
    no = (200, b'{"errcode":310000,"errmsg":"sign not match"}')

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query, strict_parsing=True).items()}
        assert query["access_token"] == "s3cr3t-p4th"
        signed = hmac.new(b"SECabcdef", f"{query['timestamp']}\nSECabcdef".encode(), hashlib.sha256).digest()
        assert base64.b64decode(query["sign"]) == signed
        assert len(query["timestamp"]) == 13
        said = json.loads(body)
        assert said["msgtype"] == "markdown"
        assert said["markdown"]["title"]
        return "", said["markdown"]["text"]


class WeCom(Http):
    kind = "wecom"
    path = "/cgi-bin/webhook/send?key=s3cr3t-p4th"
    yes = (200, b'{"errcode":0,"errmsg":"ok"}')
    no = (200, b'{"errcode":45009,"errmsg":"api freq out of limit"}')

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        said = json.loads(body)
        assert said["msgtype"] == "markdown"
        assert len(said["markdown"]["content"].encode()) <= 4096
        return "", said["markdown"]["content"]


class Feishu(Http):
    kind = "feishu"
    settings: ClassVar = {"secret": "fei-shu-key"}
    yes = (200, b'{"code":0,"msg":"success","data":{}}')
    no = (200, b'{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}')

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        said = json.loads(body)
        key = f"{said['timestamp']}\nfei-shu-key".encode()
        assert base64.b64decode(said["sign"]) == hmac.new(key, b"", hashlib.sha256).digest()
        assert said["msg_type"] == "post"
        ((tongue, post),) = said["content"]["post"].items()
        assert tongue in ("zh_cn", "en_us")
        return "", "\n".join([post["title"], *(part["text"] for row in post["content"] for part in row)])


class Slack(Http):
    kind = "slack"
    yes = (200, b"ok")
    no = (404, b"no_service")

    def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        return "", json.loads(body)["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


class Mail(Receiver):
    """A real SMTP server."""

    secrets = ("sm-tp-pass",)

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str]] = []
        self.answer = "250 taken"
        (port,) = free_ports(1)
        self.controller = Controller(self, hostname="127.0.0.1", port=port)
        self.controller.start()
        server = SmtpServer(
            host="127.0.0.1", port=port, security="none", user="", password="sm-tp-pass", sender="rw@example.com"
        )
        config = read_config("email", {"to": ["ann@example.com", "bob@example.com"]})
        self.channel = channels(server).open(sealed_form(config))
        self.is_open = True

    async def handle_DATA(  # noqa: N802  # aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        if self.answer.startswith("250"):
            assert envelope.rcpt_tos == ["ann@example.com", "bob@example.com"]
            identity = mail["Message-ID"].strip("<>").partition("@")[0]
            self.arrived.append((identity, f"{mail['Subject']}\n{mail.get_content()}"))
        return self.answer

    def got(self) -> list[tuple[str, str]]:
        return self.arrived

    def refuse(self) -> None:
        self.answer = "451 try again later"

    def vanish(self) -> None:
        self.close()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.controller.stop()


class Stream(Receiver):
    """A stream of a real Redis."""

    is_for_people = False

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.client.flushall()
        self.url = url
        self.channel = self._channel(url)

    def _channel(self, url: str) -> Channel:
        return channels().open(sealed_form(read_config("redis", {"url": url, "stream": "events"})))

    def got(self) -> list[tuple[str, str]]:
        entries: Any = self.client.xrange("events")
        return [(fields[b"id"].decode(), fields[b"event"].decode()) for _, fields in entries]

    def refuse(self) -> None:
        self.client.set("events", "a string, no stream")

    def vanish(self) -> None:
        self.channel = self._channel(f"redis://127.0.0.1:{free_ports(1)[0]}")

    def close(self) -> None:
        self.client.close()


class Exchange(Receiver):
    """An exchange of a real RabbitMQ, with a queue that takes everything."""

    is_for_people = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.broker = amqp.Connection(
            host=f"{parts.hostname}:{parts.port}",
            userid=parts.username,
            password=parts.password,
            virtual_host=parts.path[1:] or "/",
        )
        self.broker.connect()
        self.wire = self.broker.channel()
        self.wire.exchange_delete("events")
        self.wire.exchange_declare("events", "topic", durable=True, auto_delete=False)
        self.queue = self.wire.queue_declare(exclusive=True).queue
        self.wire.queue_bind(self.queue, "events", "shop.#")
        self.secrets = (str(parts.password),)
        self.channel = self._channel(url)

    def _channel(self, url: str) -> Channel:
        return channels().open(sealed_form(read_config("amqp", {"url": url, "exchange": "events"})))

    def got(self) -> list[tuple[str, str]]:
        found = []
        while message := self.wire.basic_get(self.queue, no_ack=True):
            assert message.properties["content_type"] == "application/cloudevents+json"
            assert message.properties["delivery_mode"] == 2
            body = message.body if isinstance(message.body, str) else message.body.decode()
            found.append((message.properties["message_id"], body))
        return found

    def refuse(self) -> None:
        self.wire.exchange_delete("events")
        self.wire.exchange_declare("events", "fanout", durable=True, auto_delete=False)

    def vanish(self) -> None:
        self.channel = self._channel(f"amqp://127.0.0.1:{free_ports(1)[0]}//")

    def close(self) -> None:
        self.broker.close()


def run(channel: Channel, message: Any) -> str:
    return asyncio.run(channel.send(message))
