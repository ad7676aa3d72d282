"""A key, a tree and a way to package it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rollwave.packages.build import BuiltPackage, build_package
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys

if TYPE_CHECKING:
    from pathlib import Path

    from rollwave.ports.packages import SignedPackage


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What a client sends."""

    data: bytes
    built: BuiltPackage

    def with_data(self, data: bytes) -> Upload:
        return replace(self, data=data)

    def to(self, store: FilePackages, **other: object) -> SignedPackage:
        fields = {"manifest": self.built.manifest, "signature": self.built.signature, "key_id": self.built.key_id}
        return store.put(io.BytesIO(self.data), **(fields | other))


@pytest.fixture
def key():
    return SigningKey.generate()


@pytest.fixture
def store(tmp_path, key):
    return FilePackages(tmp_path / "store", trusted=TrustedKeys.of([key.public]))


@pytest.fixture
def build(tmp_path, key):
    """Package a small tree; *content* tells one package from another, *day* an old from a new one."""

    def build_one(version: str = "1.0", *, app: str = "shop", content: str = "hello", day: int = 1, key=key) -> Upload:
        source: Path = tmp_path / "sources" / app / version / content
        (source / "lib").mkdir(parents=True, exist_ok=True)
        (source / "lib" / "main.txt").write_text(content)
        if not (source / "run").is_symlink():
            (source / "run").symlink_to("lib/main.txt")
        archive = io.BytesIO()
        built = build_package(
            source, archive, app=app, version=version, key=key, created_at=datetime(2026, 1, day, tzinfo=UTC)
        )
        return Upload(data=archive.getvalue(), built=built)

    return build_one
