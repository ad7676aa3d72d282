"""Laws of packages over arbitrary trees."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rollwave.packages.archive import pack
from rollwave.packages.build import build_package
from rollwave.packages.errors import ChecksumMismatchError
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys

NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" ._-+"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) <= 255
)
TREES = st.dictionaries(
    st.tuples(st.sampled_from(["", "lib", "lib/deep", "x" * 120]), NAMES),
    st.tuples(st.binary(max_size=2000), st.booleans()),
    min_size=1,
    max_size=8,
)
KEY = SigningKey.generate()


def lay_out(root: Path, files, *, mtime: int) -> None:
    for (folder, name), (content, is_executable) in files:
        path = root / folder / name
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o700 if is_executable else 0o660)
        os.utime(path, (mtime, mtime))


def digest(source: Path) -> str:
    archive = io.BytesIO()
    stated = pack(source, archive)
    assert stated.sha256 == hashlib.sha256(archive.getvalue()).hexdigest()
    assert stated.size == len(archive.getvalue())
    return stated.sha256


@settings(max_examples=40, deadline=None)
@given(tree=TREES, data=st.data())
def test_a_tree_has_one_archive(tree, data):
    """The same tree, made in another order, at another time, or brought as any kind of tar, gives the same bytes."""
    # Where a file would lie in another file's place, the first one wins; so the folders come first, in one order.
    tree = {key: value for key, value in tree.items() if key[1] not in {"lib", "deep", "x" * 120}}
    if not tree:
        return
    with TemporaryDirectory() as scratch:
        first, second, tar_path = Path(scratch, "a"), Path(scratch, "b"), Path(scratch, "c.tar")
        lay_out(first, list(tree.items()), mtime=1)
        lay_out(second, data.draw(st.permutations(list(tree.items()))), mtime=10**9)
        with tarfile.open(tar_path, data.draw(st.sampled_from(["w", "w:gz", "w:xz"]))) as tar:
            for path in data.draw(st.permutations([path for path in second.rglob("*") if path.is_file()])):
                tar.add(path, arcname=f"./{path.relative_to(second)}")

        assert digest(first) == digest(second) == digest(tar_path)


@settings(max_examples=40, deadline=None)
@given(tree=TREES)
def test_an_archive_holds_exactly_its_tree(tree):
    """What is unpacked has every name, content and executable bit of the tree, and repacked it is the same package."""
    with TemporaryDirectory() as scratch:
        source, out, archive = Path(scratch, "source"), Path(scratch, "out"), Path(scratch, "archive")
        lay_out(source, list(tree.items()), mtime=1)
        with archive.open("wb") as file:
            stated = pack(source, file)
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive.read_bytes())).read()
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            tar.extractall(out, filter="data")

        found = {path.relative_to(out): path for path in out.rglob("*")}
        assert found.keys() == {path.relative_to(source) for path in source.rglob("*")}
        files = [path for path in found if found[path].is_file()]
        assert stated.file_count == len(files)
        assert stated.unpacked_size == sum(found[path].stat().st_size for path in files)
        for path in files:
            assert found[path].read_bytes() == (source / path).read_bytes()
            assert os.access(found[path], os.X_OK) == bool((source / path).stat().st_mode & 0o100)
        assert digest(archive) == stated.sha256


@settings(max_examples=60, deadline=None)
@given(cut=st.none() | st.integers(0, 400), flips=st.dictionaries(st.integers(0, 400), st.integers(1, 255), max_size=2))
def test_no_damaged_upload_is_ever_kept(cut, flips):
    """Whatever happens to the bytes on their way, either the very package arrives or nothing is kept."""
    with TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        (source / "app").write_bytes(bytes(range(200)))
        archive = io.BytesIO()
        built = build_package(
            source, archive, app="shop", version="1", key=KEY, created_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        data = bytearray(archive.getvalue())
        for place, flip in flips.items():
            data[place % len(data)] ^= flip
        arrived = bytes(data[:cut])
        store = FilePackages(Path(scratch, "store"), trusted=TrustedKeys.of([KEY.public]))
        is_whole = arrived == archive.getvalue()
        with nullcontext() if is_whole else pytest.raises(ChecksumMismatchError):
            store.put(io.BytesIO(arrived), manifest=built.manifest, signature=built.signature, key_id=built.key_id)

        assert [package.version for package in store.list()] == (["1"] if is_whole else [])
