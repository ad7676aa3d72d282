"""One instance on one real server: a deploy path, a trusted key, packages signed by it, and the driver as a program."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rollwave.host import DRIVER_PATH

HERE = Path(__file__).parent
SUPERVISE = [sys.executable, "-I", "-S", str(HERE / "supervise.py")]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A package as the controller knows it."""

    version: str
    archive: Path
    fields: dict[str, Any]
    files: dict[str, bytes]


@dataclass(kw_only=True)
class Site:
    root: Path
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    port: int = field(default_factory=lambda: free_port())  # noqa: PLW0108  it is defined below
    deployment_id: int = 1
    created_us: int = 0
    fence: int = 1

    def __post_init__(self) -> None:
        self.deploy_path = self.root / "srv"
        self.state = self.deploy_path / ".rollwave"
        (self.state / "keys").mkdir(parents=True)
        (self.root / "packages").mkdir()
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.state / "keys" / f"{self.key_id}.pem").write_bytes(pem)

    @property
    def key_id(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()[:16]

    @property
    def current(self) -> str | None:
        link = self.deploy_path / "current"
        return link.readlink().name if link.is_symlink() else None

    @property
    def releases(self) -> set[str]:
        return {entry.name for entry in (self.deploy_path / "releases").iterdir()}

    def build(self, version: str, /, *, files: dict[str, bytes] | None = None, **manifest: Any) -> Built:
        """Build and sign a package of the app; *manifest* overrides what is signed."""
        files = {"app.py": (HERE / "app.py").read_bytes(), "VERSION": version.encode(), **(files or {})}
        return self.sign(version, pack(files), files=files, **manifest)

    def sign(self, version: str, tar: bytes, /, *, files: dict[str, bytes] | None = None, **manifest: Any) -> Built:
        """Compress and sign a tar archive, whatever is in it."""
        content = zstandard.compress(tar)
        archive = self.root / "packages" / f"app-{version}.tar.zst"
        archive.write_bytes(content)
        facts = {
            "app": "app",
            "version": version,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "unpacked_size": sum(map(len, (files or {}).values())) or len(tar),
            "file_count": len(files or {}) or 100,
        }
        signed = canonical(facts | manifest)
        fields = {
            "sha256": facts["sha256"],
            "size": facts["size"],
            "url": archive.as_uri(),
            "manifest": base64.b64encode(signed).decode(),
            "signature": base64.b64encode(self.key.sign(signed)).decode(),
            "key_id": self.key_id,
        }
        return Built(version=version, archive=archive, fields=fields, files=files or {})

    def plan(self, package: Built, **changes: Any) -> dict[str, Any]:
        plan = {
            "format": 1,
            "deployment_id": self.deployment_id,
            "created_us": self.created_us or self.deployment_id,
            "instance": f"app-prod/web1:{self.port}",
            "server": "web1",
            "port": self.port,
            "deploy_path": str(self.deploy_path),
            "app": "app",
            "version": package.version,
            "package": package.fields,
            "previous_version": self.current,
            "start": [*SUPERVISE, "start", "{deploy_path}", "{port}"],
            "stop": [*SUPERVISE, "stop", "{deploy_path}", "{port}"],
            "health_path": "/healthz",
            "version_path": None,
            "startup_timeout_s": 20,
            "command_timeout_s": 20,
            "ignore_verify": False,
            "keep_versions": 5,
        }
        return plan | changes

    def argv(self, action: str, plan: dict[str, Any], /, **options: Any) -> list[str]:
        """Write the plan under its hash and return the driver's command line."""
        content = canonical(plan)
        plan_hash = hashlib.sha256(content).hexdigest()
        path = self.root / f"plan-{plan_hash}.json"
        path.write_bytes(content)
        given = {"plan_hash": plan_hash, "attempt": 1, "fence": self.fence, "deadline": time.time() + 600} | options
        command = [sys.executable, "-I", "-S", str(DRIVER_PATH), action, str(path)]
        for name, value in given.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        return command

    def start(self, action: str, plan: dict[str, Any], /, *, env: dict[str, str] | None = None, **options: Any) -> Any:
        command = self.argv(action, plan, **options)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    def run(self, action: str, plan: dict[str, Any], /, *, env: dict[str, str] | None = None, **options: Any) -> Any:
        """Run the driver to its end; return its report."""
        return finish(self.start(action, plan, env=env, **options))

    def release(self, package: Built, **changes: Any) -> dict[str, Any]:
        """Bring a package up as the next deployment; return its plan."""
        self.deployment_id += 1
        plan = self.plan(package, **changes)
        for verb in ("download", "install", "verify"):
            report = self.run(verb, plan)
            assert report["state"] == "succeeded", report
        return plan

    def stop_app(self) -> None:
        subprocess.run([*SUPERVISE, "stop", str(self.deploy_path), str(self.port)], check=True)

    def content(self, version: str) -> dict[str, bytes]:
        """Return the files of a release, its marker aside."""
        top = self.deploy_path / "releases" / version
        files = (path for path in top.rglob("*") if path.is_file() and path.name != ".rollwave-package")
        return {str(path.relative_to(top)): path.read_bytes() for path in files}


def finish(process: Any) -> Any:
    """Wait for the driver; return the report on its last line."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return json.loads(out.splitlines()[-1])


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def pack(files: dict[str, bytes]) -> bytes:
    """Return a tar archive of regular files."""
    return tar_of(*(member(name, content=content) for name, content in files.items()))


def member(name: str, *, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "", mode: int = 0o644) -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    return info, content


def tar_of(*members: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
