"""The file store: packages in a directory, by content, safe against crashes and against each other."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, Self

from rollwave.domain.errors import NotFoundError
from rollwave.domain.said import said
from rollwave.packages.errors import ChecksumMismatchError, ManifestInvalidError, StoreDamagedError, VersionTakenError
from rollwave.packages.inspection import inspect
from rollwave.packages.manifest import Manifest
from rollwave.packages.tree import Limits
from rollwave.packages.vault import Vault
from rollwave.ports.packages import APP_PATTERN, VERSION_PATTERN, SignedPackage

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from rollwave.packages.signing import TrustedKeys

_COPY_SIZE = 1024 * 1024


class FilePackages:
    """
    `Packages` in a directory, with what a registry needs beside `get`. Safe to use from many threads and processes.

    ``blobs/sha256/ab/abcd...`` are the archives, ``index/<app>/<version>.json`` says which archive a version is.
    A package is published by the rename of its index entry, after its archive is durable: a crash leaves all or none.

    Args:
        root: Made where it is missing.
        trusted: Whose packages are accepted.
        limits: How large a package may be.
    """

    def __init__(self, root: Path, *, trusted: TrustedKeys, limits: Limits | None = None) -> None:
        self._vault = Vault(root)
        self._blobs = self._vault.root / "blobs" / "sha256"
        self._index = self._vault.root / "index"
        self._trusted = trusted
        self._limits = limits or Limits()

    def put(self, archive: BinaryIO, *, manifest: bytes, signature: bytes, key_id: str) -> SignedPackage:
        """
        Prove a package and keep it. Pushing the same content again changes nothing and succeeds.

        Args:
            archive: The tar.zst, opened for reading; read to its end.
            manifest: The signed bytes.
            signature: Ed25519 signature over *manifest*.
            key_id: Which trusted key signed.

        Returns:
            The stored package; where the version was there already, with the manifest that came first.

        Raises:
            ManifestInvalidError, UnknownKeyError, SignatureInvalidError, VersionTakenError, ChecksumMismatchError,
            NotAPackageError, UnsupportedEntryError, PackageTooLargeError, ManifestMismatchError, StoreFullError:
                Nothing was kept.
        """
        facts = Manifest.parse(manifest)
        self._trusted.verify(manifest, signature, key_id=key_id)
        self._limits.check_sizes(packed_size=facts.size, unpacked_size=facts.unpacked_size)
        self._is_new(facts)
        with self._vault.incoming() as blob, self._vault.incoming() as entry:
            _receive(archive, blob, facts)
            blob.seek(0)
            inspect(blob, facts, limits=self._limits)
            entry.write(_IndexEntry(manifest=manifest, signature=signature, key_id=key_id).to_bytes())
            with self._vault.exclusive():
                is_new = self._is_new(facts)
                # Even where it is there: the proven bytes replace whatever a failing disk made of the old ones.
                self._vault.publish(blob, self._blob(facts.sha256))
                if is_new:
                    self._vault.publish(entry, self._entry(facts.app, facts.version))
        return self.get(facts.app, facts.version)

    def get(self, app: str, version: str) -> SignedPackage:
        """
        Return one package; its ``url`` is the archive's ``file://``.

        Raises:
            NotFoundError: If there is no such package.
            StoreDamagedError: If its index entry cannot be read, or its archive is gone.
        """
        package = self._find(app, version)
        if package is None:
            raise NotFoundError(kind="package", name=f"{app} {version}", hint="list what was pushed, or push it")
        blob = self._blob(package.sha256)
        if not blob.is_file():
            raise StoreDamagedError(path=blob, reason=said("the archive is gone"))
        return package

    def list(self, app: str | None = None) -> tuple[SignedPackage, ...]:
        """Return all packages, or those of *app*: by app, then the newest first."""
        named = ((path.parent.name, path.name.removesuffix(".json")) for path in self._index.glob("*/*.json"))
        wanted = [self._find(name, version) for name, version in named if app in {None, name}]
        # One that was deleted since the listing is None by now.
        found = [(Manifest.parse(package.manifest), package) for package in wanted if package is not None]
        found.sort(key=lambda pair: (pair[0].created_at, pair[0].version), reverse=True)
        found.sort(key=lambda pair: pair[0].app)
        return tuple(package for _, package in found)

    def open(self, app: str, version: str) -> BinaryIO:
        """
        Open a package's archive for reading; it stays readable even if the package is deleted meanwhile.

        Raises:
            NotFoundError, StoreDamagedError: As for `get`.
        """
        return self._blob(self.get(app, version).sha256).open("rb")

    def delete(self, app: str, version: str) -> None:
        """
        Forget a package, and its archive where no other package has the same content.

        Whether it is in use is for the caller to know.

        Raises:
            NotFoundError: If there is no such package.
        """
        with self._vault.exclusive():
            if self._find(app, version) is None:
                raise NotFoundError(kind="package", name=f"{app} {version}")
            self._vault.remove(self._entry(app, version))
            self._collect()

    def prune(self, *, keep: int, in_use: Collection[tuple[str, str]]) -> tuple[SignedPackage, ...]:
        """
        Delete old packages, and what crashes left behind.

        Args:
            keep: How many of each app stay, the newest first, at least 1.
            in_use: (app, version) of packages that stay whatever their age; they do not count against *keep*.

        Returns:
            What was deleted.
        """
        with self._vault.exclusive():
            free = [package for package in self.list() if (package.app, package.version) not in in_use]
            by_app = groupby(free, key=lambda package: package.app)
            removed = tuple(package for _, packages in by_app for package in tuple(packages)[max(1, keep) :])
            for package in removed:
                self._vault.remove(self._entry(package.app, package.version))
            self._collect()
        return removed

    def _is_new(self, facts: Manifest) -> bool:
        stored = self._find(facts.app, facts.version)
        if stored is not None and stored.sha256 != facts.sha256:
            raise VersionTakenError(
                app=facts.app, version=facts.version, stored_sha256=stored.sha256, pushed_sha256=facts.sha256
            )
        return stored is None

    def _find(self, app: str, version: str) -> SignedPackage | None:
        # The names become a path, so nothing else may get there.
        if not APP_PATTERN.fullmatch(app) or not VERSION_PATTERN.fullmatch(version):
            return None
        path = self._entry(app, version)
        try:
            entry = _IndexEntry.parse(path.read_bytes())
            facts = Manifest.parse(entry.manifest)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, ManifestInvalidError) as error:
            raise StoreDamagedError(path=path, reason=said("not an index entry (%(error)s)", error=error)) from error
        return SignedPackage(
            app=facts.app,
            version=facts.version,
            sha256=facts.sha256,
            size=facts.size,
            manifest=entry.manifest,
            signature=entry.signature,
            key_id=entry.key_id,
            url=self._blob(facts.sha256).as_uri(),
        )

    def _blob(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256

    def _entry(self, app: str, version: str) -> Path:
        return self._index / app / f"{version}.json"

    def _collect(self) -> None:
        used = {package.sha256 for package in self.list()}
        for blob in self._blobs.glob("*/*"):
            if blob.name not in used:
                self._vault.remove(blob)
        self._vault.sweep()


@dataclass(frozen=True, kw_only=True, slots=True)
class _IndexEntry:
    """What the index keeps of a package."""

    manifest: bytes
    signature: bytes
    key_id: str

    def to_bytes(self) -> bytes:
        document = {
            "manifest": base64.b64encode(self.manifest).decode(),
            "signature": base64.b64encode(self.signature).decode(),
            "key_id": self.key_id,
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        document = json.loads(data)
        return cls(
            manifest=base64.b64decode(document["manifest"], validate=True),
            signature=base64.b64decode(document["signature"], validate=True),
            key_id=document["key_id"],
        )


def _receive(archive: BinaryIO, kept: BinaryIO, facts: Manifest) -> None:
    digest = hashlib.sha256()
    size = 0
    # Once more arrived than was signed, the rest cannot change the answer.
    while size <= facts.size and (chunk := archive.read(_COPY_SIZE)):
        digest.update(chunk)
        size += len(chunk)
        kept.write(chunk)
    if size != facts.size or digest.hexdigest() != facts.sha256:
        raise ChecksumMismatchError(
            stated_sha256=facts.sha256, found_sha256=digest.hexdigest(), stated_size=facts.size, found_size=size
        )
