from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zstandard

from rollwave.domain.errors import NotFoundError
from rollwave.packages.build import BuiltPackage
from rollwave.packages.errors import (
    ChecksumMismatchError,
    ManifestInvalidError,
    ManifestMismatchError,
    NotAPackageError,
    PackageTooLargeError,
    SignatureInvalidError,
    StoreDamagedError,
    UnknownKeyError,
    UnsupportedEntryError,
    VersionTakenError,
)
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys
from rollwave.packages.tree import Limits


def forged(upload, key, data: bytes, **fields: object):
    """An upload of *data* whose manifest and signature are in order: only its inside can be wrong."""
    document = json.loads(upload.built.manifest)
    document |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} | fields
    manifest = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    built = BuiltPackage(
        archive=upload.built.archive, manifest=manifest, signature=key.sign(manifest), key_id=key.public.key_id
    )
    return type(upload)(data=data, built=built)


def tar_of(*members: tarfile.TarInfo) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return plain.getvalue()


def files_of(store: Path) -> list[str]:
    return sorted(
        path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file() and path.name != "lock"
    )


def test_what_was_put_comes_back(store, build):
    upload = build()

    package = upload.to(store)

    assert store.get("shop", "1.0") == package
    assert (package.manifest, package.signature, package.key_id) == (
        upload.built.manifest,
        upload.built.signature,
        upload.built.key_id,
    )
    assert Path(urlsplit(package.url).path).read_bytes() == upload.data
    with store.open("shop", "1.0") as archive:
        assert archive.read() == upload.data


def test_a_store_is_its_directory(store, build, key, tmp_path):
    """Another store object, in another process or after a restart, sees the same packages."""
    package = build().to(store)

    assert FilePackages(tmp_path / "store", trusted=TrustedKeys.of([key.public])).get("shop", "1.0") == package


@pytest.mark.parametrize(
    ("app", "version"), [("shop", "9"), ("other", "1.0"), ("../index/shop", "1.0"), ("shop", "../x")]
)
def test_what_is_not_there_is_not_found(store, build, app, version):
    build().to(store)

    for missing in (store.get, store.open, store.delete):
        with pytest.raises(NotFoundError):
            missing(app, version)


def test_the_same_content_again_changes_nothing(store, build, tmp_path):
    """A doubled push succeeds, and the manifest that came first stays."""
    first = build(day=1).to(store)
    before = files_of(tmp_path / "store")

    assert build(day=2).to(store) == first
    assert files_of(tmp_path / "store") == before


def test_a_version_never_changes(store, build, tmp_path):
    first = build(content="one").to(store)
    before = files_of(tmp_path / "store")

    with pytest.raises(VersionTakenError, match="new version"):
        build(content="two").to(store)

    assert store.get("shop", "1.0") == first
    assert files_of(tmp_path / "store") == before


def test_versions_with_the_same_content_share_one_archive(store, build, tmp_path):
    build("1.0", content="same").to(store)
    build("1.1", content="same").to(store)
    assert len([name for name in files_of(tmp_path / "store") if name.startswith("blobs/")]) == 1

    store.delete("shop", "1.0")

    with store.open("shop", "1.1") as archive:
        assert archive.read(1)


def test_packages_are_listed_by_app_and_then_the_newest_first(store, build):
    for app, version, day in [("shop", "1", 1), ("shop", "2", 3), ("shop", "3", 2), ("cart", "1", 9)]:
        build(version, app=app, day=day).to(store)

    assert [(p.app, p.version) for p in store.list()] == [("cart", "1"), ("shop", "2"), ("shop", "3"), ("shop", "1")]
    assert [p.version for p in store.list("shop")] == ["2", "3", "1"]
    assert store.list("nobody") == ()


class TestRefusal:
    """What is not proven is refused with its own error, and leaves nothing behind."""

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, store, tmp_path):
        yield
        assert files_of(tmp_path / "store") == []

    def test_a_changed_byte(self, store, build):
        upload = build()
        data = bytearray(upload.data)
        data[len(data) // 2] ^= 1

        with pytest.raises(ChecksumMismatchError, match="upload it again"):
            upload.with_data(bytes(data)).to(store)

    @pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
    def test_a_cut_or_a_longer_upload(self, store, build, change):
        upload = build()

        with pytest.raises(ChecksumMismatchError):
            upload.with_data(change(upload.data)).to(store)

    def test_a_stranger(self, store, build):
        with pytest.raises(UnknownKeyError):
            build(key=SigningKey.generate()).to(store)

    def test_a_wrong_signature(self, store, build):
        with pytest.raises(SignatureInvalidError):
            build().to(store, signature=bytes(64))

    def test_a_changed_manifest(self, store, build):
        upload = build()

        with pytest.raises(SignatureInvalidError):
            upload.to(store, manifest=upload.built.manifest.replace(b"shop", b"shoq"))

    def test_a_manifest_that_is_none(self, store, build, key):
        with pytest.raises(ManifestInvalidError):
            build().to(store, manifest=b"{}", signature=key.sign(b"{}"))

    @pytest.mark.parametrize(
        "change",
        [
            lambda data: b"garbage" * 100,
            lambda data: zstandard.compress(b"not a tar" * 100),
            lambda data: zstandard.compress(b""),
            lambda data: data[:-1],
            lambda data: data[:-4],
            lambda data: data[: len(data) // 2],
            lambda data: data + b"\0",
            lambda data: data + data,
            lambda data: b"",
        ],
        ids=["garbage", "no-tar", "empty-frame", "cut-1", "cut-checksum", "cut-half", "tail", "two-frames", "empty"],
    )
    def test_signed_bytes_that_are_no_package(self, store, build, key, change):
        """A signature vouches for the bytes, not for what they are."""
        upload = build()

        with pytest.raises(NotAPackageError):
            forged(upload, key, change(upload.data)).to(store)

    @pytest.mark.parametrize(
        ("kind", "name", "target"),
        [
            (tarfile.REGTYPE, "../escape", ""),
            (tarfile.REGTYPE, "/abs", ""),
            (tarfile.SYMTYPE, "link", "/etc"),
            (tarfile.SYMTYPE, "link", "../.."),
            (tarfile.LNKTYPE, "hard", "other"),
            (tarfile.CHRTYPE, "device", ""),
        ],
    )
    def test_a_signed_package_that_would_not_be_safe_to_unpack(self, store, build, key, kind, name, target):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target

        with pytest.raises(UnsupportedEntryError):
            forged(build(), key, zstandard.compress(tar_of(member))).to(store)

    @pytest.mark.parametrize("field", ["file_count", "unpacked_size"])
    @pytest.mark.parametrize("change", [-1, 1])
    def test_a_manifest_that_counts_otherwise(self, store, build, key, field, change):
        upload = build()
        stated = json.loads(upload.built.manifest)[field] + change

        with pytest.raises(ManifestMismatchError):
            forged(upload, key, upload.data, **{field: stated}).to(store)

    def test_a_package_beyond_the_limits(self, tmp_path, build, key):
        small = FilePackages(
            tmp_path / "store", trusted=TrustedKeys.of([key.public]), limits=Limits(unpacked_size=4, entries=10)
        )

        with pytest.raises(PackageTooLargeError):
            build(content="hello").to(small)

    def test_a_bomb(self, store, build, key, monkeypatch):
        """A few kilobytes that unfold to far more than the manifest says are stopped on the way."""
        monkeypatch.setattr("rollwave.packages.inspection._HEADERS_LIMIT", 1024 * 1024)
        bomb = tarfile.TarInfo("bomb")
        bomb.size = 64 * 1024 * 1024

        with pytest.raises(PackageTooLargeError):
            forged(build(), key, zstandard.compress(tar_of(bomb))).to(store)


def test_pruning_keeps_the_newest_and_whatever_is_in_use(store, build):
    """I16: what is in use stays whatever its age, and does not use up the places of the newest."""
    for day in range(1, 7):
        build(str(day), day=day, content=f"content {day}").to(store)
    build("1", app="cart").to(store)

    removed = store.prune(keep=2, in_use={("shop", "2"), ("shop", "6")})

    assert {package.version for package in removed} == {"1", "3"}
    assert [package.version for package in store.list("shop")] == ["6", "5", "4", "2"]
    assert [package.version for package in store.list("cart")] == ["1"]
    for package in store.list():
        with store.open(package.app, package.version) as archive:
            assert hashlib.sha256(archive.read()).hexdigest() == package.sha256


def test_pruning_never_takes_the_last_package(store, build):
    build().to(store)

    assert store.prune(keep=0, in_use=()) == ()


def test_an_archive_stays_readable_while_it_is_deleted(store, build):
    upload = build()
    upload.to(store)

    with store.open("shop", "1.0") as archive:
        store.delete("shop", "1.0")
        assert archive.read() == upload.data


def test_pushing_again_heals_a_lost_or_rotten_archive(store, build):
    """The proven bytes of a new push take the place of what the disk lost."""
    upload = build()
    blob = Path(urlsplit(upload.to(store).url).path)
    blob.unlink()
    with pytest.raises(StoreDamagedError, match="gone"):
        store.get("shop", "1.0")

    upload.to(store)
    assert blob.read_bytes() == upload.data

    blob.write_bytes(b"rotten")
    upload.to(store)
    assert blob.read_bytes() == upload.data


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"manifest": 5, "signature": "", "key_id": ""}'])
def test_a_damaged_index_is_named_and_stops_a_clean_up(store, build, tmp_path, content):
    """Whatever the index cannot account for is kept: a clean-up that cannot read must not delete."""
    build("1", content="a").to(store)
    build("2", content="b").to(store)
    (tmp_path / "store" / "index" / "shop" / "1.json").write_bytes(content)
    before = files_of(tmp_path / "store")

    with pytest.raises(StoreDamagedError, match=r"1\.json"):
        store.prune(keep=1, in_use=())

    assert files_of(tmp_path / "store") == before
