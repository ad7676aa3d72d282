"""What can be wrong with a package, a key or a place to keep them; each with what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from pathlib import Path


class UnsupportedEntryError(RollwaveError):
    """A file that a package may not carry: it would be unsafe, or not the same on every host."""

    code = "package.unsupported_entry"

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"a package cannot carry {path!r}: {reason}", path=path, reason=reason)


class EmptyPackageError(RollwaveError):
    """There is nothing to package: most likely the wrong directory, or a build that produced nothing."""

    code = "package.empty"

    def __init__(self, *, source: str) -> None:
        super().__init__(f"{source} holds no file; did the build run, and is this its output?", source=source)


class SourceError(RollwaveError):
    """What should be packaged cannot be read, or changed while it was being read."""

    code = "package.source_unreadable"

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(f"cannot package {source}: {reason}", source=source, reason=reason)


class PackageTooLargeError(RollwaveError):
    """A package is beyond a limit of this installation."""

    code = "package.too_large"

    def __init__(self, *, what: str, value: int, limit: int) -> None:
        super().__init__(
            f"the package has {value} {what}, and {limit} is the limit here; leave out what the app does not need",
            what=what,
            value=value,
            limit=limit,
        )


class NotAPackageError(RollwaveError):
    """The upload is not a whole tar.zst archive that follows the rules."""

    code = "package.not_a_package"

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"this is not a package: {reason}; build it with `rollwave package`", reason=reason)


class ManifestInvalidError(RollwaveError):
    """The manifest is not canonical JSON with the fields that a manifest has."""

    code = "package.manifest_invalid"

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the manifest is not valid: {reason}", reason=reason)


class ManifestMismatchError(RollwaveError):
    """The archive is whole and signed, and does not hold what its manifest says."""

    code = "package.manifest_mismatch"

    def __init__(self, *, field: str, stated: int, found: int) -> None:
        super().__init__(
            f"the manifest says {field} is {stated}, the archive has {found}; build the package again",
            field=field,
            stated=stated,
            found=found,
        )


class ChecksumMismatchError(RollwaveError):
    """The bytes that arrived are not the bytes that were signed."""

    code = "package.checksum_mismatch"

    def __init__(self, *, stated_sha256: str, found_sha256: str, stated_size: int, found_size: int) -> None:
        super().__init__(
            f"the archive does not match its manifest: {found_size} bytes with sha256 {found_sha256} arrived, "
            f"{stated_size} bytes with sha256 {stated_sha256} were signed; upload it again",
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
            f"the signature is not one of key {key_id} over this manifest; "
            f"push the package again with `rollwave package push`, which signs it anew",
            key_id=key_id,
        )


class UnknownKeyError(RollwaveError):
    """The package is signed with a key that is not trusted here."""

    code = "package.unknown_key"

    def __init__(self, *, key_id: str, trusted: tuple[str, ...]) -> None:
        super().__init__(
            f"key {key_id} is not trusted here (trusted: {', '.join(trusted) or 'none'}); "
            f"sign with a trusted key, or have an administrator add this one",
            key_id=key_id,
            trusted=list(trusted),
        )


class VersionTakenError(RollwaveError):
    """Another package was pushed under this version before; a version never changes."""

    code = "package.version_taken"

    def __init__(self, *, app: str, version: str, stored_sha256: str, pushed_sha256: str) -> None:
        super().__init__(
            f"version {version} of {app} is already another package ({stored_sha256[:12]}, not {pushed_sha256[:12]}), "
            f"and a version never changes; push this one under a new version",
            app=app,
            version=version,
            stored_sha256=stored_sha256,
            pushed_sha256=pushed_sha256,
        )


class KeyExistsError(RollwaveError):
    """A key file is already there; overwriting it could orphan every package that it signed."""

    code = "package.key_exists"

    def __init__(self, *, path: Path) -> None:
        super().__init__(f"{path} already exists; choose another name, or move it away first", path=str(path))


class KeyUnreadableError(RollwaveError):
    """A file is not the Ed25519 key that it should be."""

    code = "package.key_unreadable"

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(f"{source} is not an Ed25519 key that can be used: {reason}", source=source, reason=reason)


class StoreDamagedError(RollwaveError):
    """The store's own files are not what was written; an operator has to look."""

    code = "package.store_damaged"

    def __init__(self, *, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged: {reason}; restore it from a backup, or push the package again after deleting the file",
            path=str(path),
            reason=reason,
        )


class StoreFullError(RollwaveError):
    """There is no room to keep a package."""

    code = "package.store_full"

    def __init__(self, *, root: Path) -> None:
        super().__init__(f"no space is left in {root}; prune old packages, or give it more", root=str(root))
