"""Ed25519 keys: who vouches for a package. The host verifies the same signature with its own openssl."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from rollwave.domain.said import said
from rollwave.packages.errors import (
    KeyExistsError,
    KeyUnreadableError,
    SignatureInvalidError,
    SourceError,
    UnknownKeyError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SIGNATURE_SIZE: Final = 64
"""Bytes of an Ed25519 signature."""

_KEY_ID_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    A key that can check signatures.

    Attributes:
        raw: The 32 bytes of the key.
    """

    raw: bytes

    @classmethod
    def from_pem(cls, pem: bytes, *, source: str = "the public key") -> Self:
        """
        Read a SubjectPublicKeyInfo PEM, the form that openssl writes.

        Raises:
            KeyUnreadableError: If *pem* is anything else; it names *source*.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnreadableError(source=source, reason=str(error)) from error
        if not isinstance(key, Ed25519PublicKey):
            raise KeyUnreadableError(source=source, reason=said("it is a %(name)s", name=type(key).__name__))
        return cls(key.public_bytes_raw())

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the sha256 of the raw key."""
        return hashlib.sha256(self.raw).hexdigest()[:_KEY_ID_DIGITS]

    @property
    def pem(self) -> bytes:
        """The key as openssl reads it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, manifest: bytes, signature: bytes) -> None:
        """
        Return if *signature* is this key's over *manifest*.

        Raises:
            SignatureInvalidError: If it is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, manifest)
        except InvalidSignature as error:
            raise SignatureInvalidError(key_id=self.key_id) from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """
    A private key. Its ``repr`` never shows it.

    Attributes:
        public: The other half, for those who verify.
    """

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Return a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """
        Read a private key that `save` wrote: unencrypted PKCS #8 PEM.

        Raises:
            KeyUnreadableError: If *path* cannot be read or is not such a key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnreadableError(source=str(path), reason=str(error)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnreadableError(source=str(path), reason=said("it is a %(name)s", name=type(key).__name__))
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self._private.public_key().public_bytes_raw())

    def sign(self, manifest: bytes) -> bytes:
        """Return the signature over *manifest*, 64 bytes; the same bytes give the same signature."""
        return self._private.sign(manifest)

    def save(self, path: Path) -> Path:
        """
        Write the private key to *path*, readable by its owner alone, and the public key beside it as ``<path>.pub``.

        Returns:
            Where the public key is.

        Raises:
            KeyExistsError: If either file is there already; nothing is overwritten.
        """
        public_path = path.with_name(path.name + ".pub")
        if public_path.exists():
            raise KeyExistsError(path=public_path)
        _write_new(path, self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
        _write_new(public_path, self.public.pem, mode=0o644)
        return public_path


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """
    The public keys whose packages are accepted.

    Attributes:
        by_id: Each key by its id.
    """

    by_id: Mapping[str, PublicKey]

    @classmethod
    def of(cls, keys: Iterable[PublicKey]) -> Self:
        """Trust exactly *keys*."""
        return cls({key.key_id: key for key in keys})

    @classmethod
    def from_directory(cls, directory: Path) -> Self:
        """
        Trust every ``*.pub`` and ``*.pem`` file of *directory*.

        Raises:
            SourceError: If the directory cannot be read; an unreadable trust store is not an empty one.
            KeyUnreadableError: If a file is not a public key.
        """
        try:
            paths = sorted(path for path in directory.iterdir() if path.suffix in {".pub", ".pem"})
            return cls.of([PublicKey.from_pem(path.read_bytes(), source=str(path)) for path in paths])
        except OSError as error:
            raise SourceError(source=str(directory), reason=str(error)) from error

    def verify(self, manifest: bytes, signature: bytes, *, key_id: str) -> None:
        """
        Return if the trusted key *key_id* signed *manifest*.

        Raises:
            UnknownKeyError: If no such key is trusted.
            SignatureInvalidError: If the signature is wrong.
        """
        key = self.by_id.get(key_id)
        if key is None:
            raise UnknownKeyError(key_id=key_id, trusted=tuple(sorted(self.by_id)))
        key.verify(manifest, signature)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyExistsError(path=path) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
