"""What can be wrong with a package, a key or a place to keep them; each with what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError
from rollwave.domain.said import said

if TYPE_CHECKING:
    from pathlib import Path


class UnsupportedEntryError(RollwaveError):
    """A file that a package may not carry: it would be unsafe, or not the same on every host."""

    code = "package.unsupported_entry"

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            said("a package cannot carry %(path)s: %(reason)s", path=repr(path), reason=reason),
            path=path,
            reason=reason,
        )


class EmptyPackageError(RollwaveError):
    """There is nothing to package: most likely the wrong directory, or a build that produced nothing."""

    code = "package.empty"

    def __init__(self, *, source: str) -> None:
        super().__init__(
            said("%(source)s holds no file; did the build run, and is this its output?", source=source), source=source
        )


class SourceError(RollwaveError):
    """What should be packaged cannot be read, or changed while it was being read."""

    code = "package.source_unreadable"

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(
            said("cannot package %(source)s: %(reason)s", source=source, reason=reason), source=source, reason=reason
        )


class PackageTooLargeError(RollwaveError):
    """A package is beyond a limit of this installation."""

    code = "package.too_large"

    def __init__(self, *, what: str, value: int, limit: int) -> None:
        super().__init__(
            said(
                "the package has %(value)s %(what)s, and %(limit)s is the limit here; leave "
                "out what the app does not need",
                value=value,
                what=what,
                limit=limit,
            ),
            what=what,
            value=value,
            limit=limit,
        )


class NotAPackageError(RollwaveError):
    """The upload is not a whole tar.zst archive that follows the rules."""

    code = "package.not_a_package"

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            said("this is not a package: %(reason)s; build it with `rollwave package`", reason=reason), reason=reason
        )


class ManifestInvalidError(RollwaveError):
    """The manifest is not canonical JSON with the fields that a manifest has."""

    code = "package.manifest_invalid"

    def __init__(self, *, reason: str) -> None:
        super().__init__(said("the manifest is not valid: %(reason)s", reason=reason), reason=reason)


class ManifestMismatchError(RollwaveError):
    """The archive is whole and signed, and does not hold what its manifest says."""

    code = "package.manifest_mismatch"

    def __init__(self, *, field: str, stated: int, found: int) -> None:
        super().__init__(
            said(
                "the manifest says %(field)s is %(stated)s, the archive has %(found)s; build the package again",
                field=field,
                stated=stated,
                found=found,
            ),
            field=field,
            stated=stated,
            found=found,
        )


class ChecksumMismatchError(RollwaveError):
    """The bytes that arrived are not the bytes that were signed."""

    code = "package.checksum_mismatch"

    def __init__(self, *, stated_sha256: str, found_sha256: str, stated_size: int, found_size: int) -> None:
        super().__init__(
            said(
                "the archive does not match its manifest: %(found_size)s bytes with sha256 %(found_sha256)s "
                "arrived, %(stated_size)s bytes with sha256 %(stated_sha256)s were signed; upload it again",
                found_size=found_size,
                found_sha256=found_sha256,
                stated_size=stated_size,
                stated_sha256=stated_sha256,
            ),
            stated_sha256=stated_sha256,
            found_sha256=found_sha256,
            stated_size=stated_size,
            found_size=found_size,
        )


class SignatureInvalidError(RollwaveError):
    """The signature does not belong to this manifest and key."""

    code = "package.signature_invalid"

    def __init__(self, *, key_id: str) -> None:
        super().__init__(
            said(
                "the signature is not one of key %(key_id)s over this manifest; push the package again with "
                "`rollwave package push`, which signs it anew",
                key_id=key_id,
            ),
            key_id=key_id,
        )


class UnknownKeyError(RollwaveError):
    """The package is signed with a key that is not trusted here."""

    code = "package.unknown_key"

    def __init__(self, *, key_id: str, trusted: tuple[str, ...]) -> None:
        super().__init__(
            said(
                "key %(key_id)s is not trusted here (trusted: %(trusted)s); sign with a trusted key, or have an "
                "administrator add this one",
                key_id=key_id,
                trusted=", ".join(trusted) or said("none"),
            ),
            key_id=key_id,
            trusted=list(trusted),
        )


class VersionTakenError(RollwaveError):
    """Another package was pushed under this version before; a version never changes."""

    code = "package.version_taken"

    def __init__(self, *, app: str, version: str, stored_sha256: str, pushed_sha256: str) -> None:
        super().__init__(
            said(
                "version %(version)s of %(app)s is already another package (%(stored)s, not %(pushed)s), and a "
                "version never changes; push this one under a new version",
                version=version,
                app=app,
                stored=stored_sha256[:12],
                pushed=pushed_sha256[:12],
            ),
            app=app,
            version=version,
            stored_sha256=stored_sha256,
            pushed_sha256=pushed_sha256,
        )


class KeyExistsError(RollwaveError):
    """A key file is already there; overwriting it could orphan every package that it signed."""

    code = "package.key_exists"

    def __init__(self, *, path: Path) -> None:
        super().__init__(
            said("%(path)s already exists; choose another name, or move it away first", path=path), path=str(path)
        )


class KeyUnreadableError(RollwaveError):
    """A file is not the Ed25519 key that it should be."""

    code = "package.key_unreadable"

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(
            said("%(source)s is not an Ed25519 key that can be used: %(reason)s", source=source, reason=reason),
            source=source,
            reason=reason,
        )


class StoreDamagedError(RollwaveError):
    """The store's own files are not what was written; an operator has to look."""

    code = "package.store_damaged"

    def __init__(self, *, path: Path, reason: str) -> None:
        super().__init__(
            said(
                "%(path)s is damaged: %(reason)s; restore it from a backup, or push the package again after "
                "deleting the file",
                path=path,
                reason=reason,
            ),
            path=str(path),
            reason=reason,
        )


class StoreFullError(RollwaveError):
    """There is no room to keep a package."""

    code = "package.store_full"

    def __init__(self, *, root: Path) -> None:
        super().__init__(
            said("no space is left in %(root)s; prune old packages, or give it more", root=root), root=str(root)
        )
