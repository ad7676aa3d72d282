"""The build of a package: archive, manifest and signature in one go, where the private key is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from rollwave.packages.archive import Archive, pack
from rollwave.packages.manifest import Manifest, Provenance
from rollwave.packages.tree import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from rollwave.packages.archive import Progress
    from rollwave.packages.signing import SigningKey


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltPackage:
    """
    Everything that `FilePackages.put` asks for beside the archive itself.

    Attributes:
        archive: Digest and sizes of what was written.
        manifest: The signed bytes.
        signature: Ed25519 signature over *manifest*.
        key_id: Which key signed.
    """

    archive: Archive
    manifest: bytes
    signature: bytes
    key_id: str


def build_package(
    source: Path,
    destination: BinaryIO,
    *,
    app: str,
    version: str,
    key: SigningKey,
    created_at: datetime,
    provenance: Provenance | None = None,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BuiltPackage:
    """
    Write the archive of *source* to *destination* and sign what it is.

    Args:
        source: A directory, or a tar archive.
        destination: Where the archive goes, opened for writing.
        app: Name of the app.
        version: Version.
        key: Who vouches for it.
        created_at: Now, timezone-aware.
        provenance: Where it was built from.
        limits: How large it may be.
        on_progress: Called after every entry.

    Raises:
        SourceError, EmptyPackageError, UnsupportedEntryError, PackageTooLargeError: See `pack`.
        ManifestInvalidError: If *app* or *version* is not a name that hosts can carry.
    """
    limits = limits or Limits()
    archive = pack(source, destination, limits=limits, on_progress=on_progress)
    limits.check_sizes(packed_size=archive.size, unpacked_size=archive.unpacked_size)
    manifest = Manifest(
        app=app,
        version=version,
        sha256=archive.sha256,
        size=archive.size,
        unpacked_size=archive.unpacked_size,
        file_count=archive.file_count,
        created_at=created_at,
        provenance=provenance or Provenance(),
    ).to_bytes()
    return BuiltPackage(archive=archive, manifest=manifest, signature=key.sign(manifest), key_id=key.public.key_id)
