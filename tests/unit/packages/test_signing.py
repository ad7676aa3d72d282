from __future__ import annotations

import hashlib
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rollwave.packages.errors import (
    KeyExistsError,
    KeyUnreadableError,
    SignatureInvalidError,
    SourceError,
    UnknownKeyError,
)
from rollwave.packages.signing import SIGNATURE_SIZE, PublicKey, SigningKey, TrustedKeys


def test_a_saved_key_signs_like_the_original(key, tmp_path):
    """A key that went through a file makes the same signature, and its public file verifies it."""
    public_path = key.save(tmp_path / "release")
    signature = SigningKey.load(tmp_path / "release").sign(b"manifest")

    assert signature == key.sign(b"manifest")
    assert len(signature) == SIGNATURE_SIZE
    PublicKey.from_pem(public_path.read_bytes()).verify(b"manifest", signature)


def test_a_private_key_is_readable_by_its_owner_alone(key, tmp_path):
    key.save(tmp_path / "release")

    assert stat.S_IMODE((tmp_path / "release").stat().st_mode) == 0o600


@pytest.mark.parametrize("present", ["release", "release.pub"])
def test_no_key_is_ever_overwritten(key, tmp_path, present):
    (tmp_path / present).write_text("precious")

    with pytest.raises(KeyExistsError):
        key.save(tmp_path / "release")

    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "precious"


def test_the_key_id_is_the_start_of_the_hash_of_the_raw_key(key):
    assert key.public.key_id == hashlib.sha256(key.public.raw).hexdigest()[:16]


@pytest.mark.parametrize(("manifest", "flip"), [(b"other", 0), (b"manifest", 1)])
def test_a_signature_proves_one_manifest_only(key, manifest, flip):
    """Another manifest, or one changed bit in the signature, is refused."""
    signature = bytearray(key.sign(b"manifest"))
    signature[0] ^= flip

    with pytest.raises(SignatureInvalidError, match="package push"):
        key.public.verify(manifest, bytes(signature))


def test_a_signature_of_any_other_length_is_refused(key):
    for signature in (b"", key.sign(b"m") + b"x"):
        with pytest.raises(SignatureInvalidError):
            key.public.verify(b"m", signature)


def test_an_untrusted_key_is_named_with_the_trusted_ones(key):
    stranger = SigningKey.generate()

    with pytest.raises(UnknownKeyError) as caught:
        TrustedKeys.of([key.public]).verify(b"m", stranger.sign(b"m"), key_id=stranger.public.key_id)

    assert caught.value.facts == {"key_id": stranger.public.key_id, "trusted": [key.public.key_id]}


def test_a_directory_of_public_keys_is_a_trust_store(key, tmp_path):
    key.save(tmp_path / "release")

    assert TrustedKeys.from_directory(tmp_path).by_id == {key.public.key_id: key.public}


def test_a_missing_trust_store_is_an_error_and_not_an_empty_one(tmp_path):
    with pytest.raises(SourceError):
        TrustedKeys.from_directory(tmp_path / "missing")


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_what_is_not_a_key_is_named(tmp_path, content):
    (tmp_path / "bad.pub").write_bytes(content)

    with pytest.raises(KeyUnreadableError, match=r"bad\.pub"):
        TrustedKeys.from_directory(tmp_path)
    with pytest.raises(KeyUnreadableError, match=r"bad\.pub"):
        SigningKey.load(tmp_path / "bad.pub")


def test_a_key_of_another_algorithm_is_refused():
    pem = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(KeyUnreadableError, match="ECPublicKey"):
        PublicKey.from_pem(pem)


def test_a_private_key_never_shows_in_a_repr(key, tmp_path):
    key.save(tmp_path / "release")
    secret = (tmp_path / "release").read_text().splitlines()[1]

    assert secret not in repr(key)
