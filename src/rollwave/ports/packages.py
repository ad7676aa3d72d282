"""Packages: immutable, signed artefacts of one version of one app."""

from __future__ import annotations

import re
from typing import Final, Protocol

from msgspec import Struct

VERSION_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""What a version may look like: it becomes a directory name on every host, so no separator and no leading dot."""

APP_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What an app name may look like."""


class SignedPackage(Struct, frozen=True, kw_only=True):
    """
    A stored package, with everything a host needs to prove it.

    Attributes:
        app: Name of the app.
        version: Version, matches ``VERSION_PATTERN``.
        sha256: Hex digest of the tar.zst archive.
        size: Archive size in bytes.
        manifest: The exact signed bytes: canonical JSON with at least app, version, sha256, size, unpacked_size,
            file_count, created_at, and provenance (commit, branch, build) where known.
        signature: Ed25519 signature over *manifest*, 64 bytes.
        key_id: First 16 hex digits of the sha256 of the raw 32-byte public key.
        url: Where a host fetches the archive: ``file:///...`` or ``http(s)://...``.
    """

    app: str
    version: str
    sha256: str
    size: int
    manifest: bytes
    signature: bytes
    key_id: str
    url: str


class Packages(Protocol):
    """Where packages live. A content store: what was put once never changes."""

    def get(self, app: str, version: str) -> SignedPackage:
        """
        Return one package.

        Raises:
            NotFoundError: If there is no such package.
        """
        ...
