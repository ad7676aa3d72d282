"""One real server for all tests of this folder; every answer it gives is held against its OpenAPI document."""

from __future__ import annotations

import base64
import itertools
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rollwave.packages.build import BuiltPackage, build_package
from rollwave.packages.signing import SigningKey
from tests.integration.api.browser import Browser, accept
from tests.integration.api.document import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


START_S = 180
PATIENCE_S = 60

SERVED = Path(__file__).with_name("served.py")


class Served:
    """A server process over a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        # A file: a pipe that nobody reads is full after some hundred requests, and the server waits for ever.
        self._errors = data_dir.with_name(f"{data_dir.name}.stderr")
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, SERVED, data_dir], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.greeting = self._greeting()

    def _greeting(self) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"the server did not start: {self._errors.read_text()}")
        return line

    @property
    def endpoint(self) -> str:
        return (self.data_dir / "endpoint").read_text().strip()

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal the process; return its exit code and what it wrote to stderr."""
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, self._errors.read_text()


@dataclass
class Upload:
    """A package as a client sends it."""

    data: bytes
    built: BuiltPackage

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Rollwave-Manifest": base64.b64encode(self.built.manifest).decode(),
            "Rollwave-Signature": base64.b64encode(self.built.signature).decode(),
            "Rollwave-Key-Id": self.built.key_id,
        }


@dataclass
class Api:
    """A client that knows the document, and says what a test means in few words."""

    http: httpx.Client
    document: Document
    key: SigningKey
    scratch: Path

    def get(self, path: str, status: int = 200, **query: object) -> Any:
        return self._json(self.http.get(path, params=query), status)

    def post(self, path: str, body: object = None, status: int = 200, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._json(self.http.post(path, json={} if body is None else body, headers=named), status)

    def _json(self, response: httpx.Response, status: int) -> Any:
        assert response.status_code == status, response.text
        return response.json()

    def until(self, path: str, is_there: Callable[[Any], bool]) -> Any:
        """Read *path* until it is as wanted."""
        deadline = monotonic() + PATIENCE_S
        while not is_there(seen := self.get(path)):
            assert monotonic() < deadline, f"{path} never came there: {seen}"
            Event().wait(0.02)
        return seen

    def build(self, app: str, version: str, *, content: str = "hello", key: SigningKey | None = None) -> Upload:
        source = self.scratch / app / version / content
        source.mkdir(parents=True, exist_ok=True)
        (source / "main.txt").write_text(content)
        archive = BytesIO()
        built = build_package(
            source, archive, app=app, version=version, key=key or self.key, created_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        return Upload(data=archive.getvalue(), built=built)

    def push(self, app: str, version: str) -> None:
        upload = self.build(app, version)
        response = self.http.put(f"/packages/{app}/{version}", content=upload.data, headers=upload.headers)
        assert response.status_code == 201, response.text


@dataclass
class Shop:
    """A group of a test's own."""

    api: Api
    name: str
    servers: list[str]
    spec: dict[str, Any]

    def deploy(self, version: str, *, status: int = 201, **body: object) -> Any:
        return self.api.post("/deployments", {"group": self.name, "version": version, **body}, status)

    def act(self, deployment: int, verb: str, body: object = None, status: int = 200, **headers: str) -> Any:
        return self.api.post(f"/deployments/{deployment}/actions/{verb}", body, status, **headers)

    def until(self, deployment: int, *phases: str) -> Any:
        return self.api.until(f"/deployments/{deployment}", lambda seen: seen["phase"] in phases)

    def release(self, version: str) -> int:
        """Release to everybody, without a canary."""
        deployment = self.deploy(version, config={"canary_count": 0})["id"]
        assert self.until(deployment, "success", "failure")["phase"] == "success"
        return deployment


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data_dir = tmp_path_factory.mktemp("served") / "data"
    data_dir.mkdir()
    (data_dir / "rollwave.toml").write_text('[notify]\nallow = ["127.0.0.1"]\n')
    served = Served(data_dir)
    yield served
    code, errors = served.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def served_anew(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    """Start servers of a test's own, each over a data directory of its own."""
    started: list[Served] = []

    def start() -> Served:
        started.append(Served(tmp_path / str(len(started)) / "data"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def document(served: Served) -> Document:
    return Document(httpx.get(f"{served.endpoint}/api/v1/openapi.json", timeout=PATIENCE_S).json())


@pytest.fixture
def api(served: Served, document: Document, tmp_path: Path) -> Iterator[Api]:
    headers = {"Authorization": f"Bearer {served.token}"}
    hooks = {"response": [document.check]}
    with httpx.Client(
        base_url=f"{served.endpoint}/api/v1", headers=headers, event_hooks=hooks, timeout=PATIENCE_S
    ) as http:
        key = SigningKey.load(served.data_dir / "keys" / "signing.key")
        yield Api(http=http, document=document, key=key, scratch=tmp_path)


_numbers = itertools.count(1)


@pytest.fixture
def make_shop(api: Api) -> Callable[..., Shop]:
    """Register an app and a group of that name, with servers and ports that are nobody else's."""

    def make(count: int = 4, *, versions: tuple[str, ...] = (), **group: object) -> Shop:
        number = next(_numbers)
        name = f"shop-{os.getpid()}-{number}"
        servers = [f"{name}-s{index}" for index in range(count)]
        spec = {
            "apps": [{"name": name}],
            "servers": [
                {"name": server, "site": "ab"[index % 2], "address": f"10.{number % 250}.{index // 250}.{index % 250}"}
                for index, server in enumerate(servers)
            ],
            "groups": [
                {
                    "name": name,
                    "app": name,
                    "deploy_path": "/srv/{server}/{group}",
                    "port": 8080,
                    "start": ["/usr/bin/true"],
                    "stop": ["/usr/bin/true"],
                    "instances": servers,
                    **group,
                }
            ],
        }
        api.post("/spec", {"spec": spec})
        for version in versions:
            api.push(name, version)
        return Shop(api=api, name=name, servers=servers, spec=spec)

    return make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """Four instances; versions 1.0 and 1.1 are there, and one that never becomes healthy."""
    return make_shop(
        4, versions=("1.0", "1.1", "broken"), config={"max_unavailable_percent": 50, "startup_timeout_s": 1}
    )


@pytest.fixture
def signed_in(api: Api, served: Served) -> Iterator[Callable[..., Browser]]:
    """Sign somebody in who has these roles."""
    opened: list[Browser] = []

    def sign_in(*roles: str) -> Browser:
        name = f"n{os.getpid()}-{next(_numbers)}"
        path = api.post("/users", {"name": name, "roles": list(roles)}, 201)["invitation"]
        browser = Browser(served.endpoint)
        opened.append(browser)
        accept(browser, path)
        browser.name = name
        return browser

    yield sign_in
    for browser in opened:
        browser.http.close()
