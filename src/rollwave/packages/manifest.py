"""The manifest: the few facts about a package that are signed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from rollwave.domain.said import said
from rollwave.packages.errors import ManifestInvalidError
from rollwave.ports.packages import APP_PATTERN, VERSION_PATTERN

_T = TypeVar("_T")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_SIZE_LIMIT: Final = 64 * 1024
"""Bytes. A manifest is small; whoever sends more does not send a manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """
    Where a package was built from; each fact is None where nobody said it.

    Attributes:
        commit: Full commit id.
        branch: Branch or tag.
        build: Name or URL of the build.
    """

    commit: str | None = None
    branch: str | None = None
    build: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """
    What is signed.

    Attributes:
        app: Name of the app.
        version: Version, becomes a directory name on the hosts.
        sha256: Hex digest of the archive.
        size: Bytes of the archive.
        unpacked_size: Bytes of all its regular files.
        file_count: How many regular files it holds.
        created_at: When it was built, UTC, whole seconds.
        provenance: Where it was built from.
    """

    app: str
    version: str
    sha256: str
    size: int
    unpacked_size: int
    file_count: int
    created_at: datetime
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        _check(
            APP_PATTERN.fullmatch(self.app), "app", self.app, said("lower-case letters, digits and dashes, at most 63")
        )
        _check(
            VERSION_PATTERN.fullmatch(self.version),
            "version",
            self.version,
            said("letters, digits and . _ + -, at most 100"),
        )
        _check(_SHA256.fullmatch(self.sha256), "sha256", self.sha256, said("64 hex digits"))
        for name in ("size", "unpacked_size", "file_count"):
            value = getattr(self, name)
            _check(value >= 0, name, value, said("a count, at least 0"))
        _check(
            self.created_at.tzinfo is not None,
            "created_at",
            self.created_at.isoformat(),
            said("a time with a time zone"),
        )

    def to_bytes(self) -> bytes:
        """Return the bytes to sign: canonical JSON (sorted keys, no spaces, UTF-8)."""
        provenance = {
            "commit": self.provenance.commit,
            "branch": self.provenance.branch,
            "build": self.provenance.build,
        }
        return _canonical(
            {
                "app": self.app,
                "version": self.version,
                "sha256": self.sha256,
                "size": self.size,
                "unpacked_size": self.unpacked_size,
                "file_count": self.file_count,
                "created_at": self.created_at.astimezone(UTC).strftime(_TIME_FORMAT),
                "provenance": {name: value for name, value in provenance.items() if value is not None},
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read signed bytes back. Keys that this version does not know are allowed, so that manifests can grow.

        Raises:
            ManifestInvalidError: If *data* is not canonical JSON, or a field is missing or of the wrong form.
        """
        document = _document(data)
        provenance = _typed(document, "provenance", dict)
        try:
            created_at = datetime.strptime(_typed(document, "created_at", str), _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError as error:
            raise ManifestInvalidError(reason=said("created_at: %(error)s", error=error)) from error
        return cls(
            app=_typed(document, "app", str),
            version=_typed(document, "version", str),
            sha256=_typed(document, "sha256", str),
            size=_typed(document, "size", int),
            unpacked_size=_typed(document, "unpacked_size", int),
            file_count=_typed(document, "file_count", int),
            created_at=created_at,
            provenance=Provenance(
                **{name: _typed(provenance, name, str) for name in ("commit", "branch", "build") if name in provenance}
            ),
        )


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > _SIZE_LIMIT:
        raise ManifestInvalidError(
            reason=said("%(size)s bytes are more than %(limit)s", size=len(data), limit=_SIZE_LIMIT)
        )
    try:
        document = json.loads(data)
        # Two readers must never see two meanings in the same signed bytes (doubled keys, odd escapes).
        is_canonical = _canonical(document) == data
    except (ValueError, RecursionError) as error:
        raise ManifestInvalidError(reason=said("not JSON: %(error)s", error=error)) from error
    if not isinstance(document, dict) or not is_canonical:
        raise ManifestInvalidError(reason=said("not a canonical JSON object (sorted keys, no spaces, UTF-8)"))
    return document


def _canonical(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _typed(document: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = document.get(name)
    # bool is an int to Python, and never a size.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ManifestInvalidError(
            reason=said("%(name)s is %(value)s, not %(kind)s", name=name, value=repr(value), kind=kind.__name__)
        )
    return value


def _check(is_good: object, name: str, value: object, expected: str) -> None:
    if not is_good:
        raise ManifestInvalidError(
            reason=said("%(name)s is %(value)s; expected %(expected)s", name=name, value=repr(value), expected=expected)
        )
