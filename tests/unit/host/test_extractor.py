"""The extractor: whatever an archive says, nothing is written outside, and a good one comes out as it went in."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollwave.host import driver

ROOMY = driver.Manifest(unpacked_size=1 << 20, file_count=1000)
KINDS = [
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
    tarfile.GNUTYPE_SPARSE,
]

steps = st.sampled_from(["a", "b", "c", "..", ".", "", "release", "victim"])
hostile_paths = st.one_of(
    st.lists(steps, min_size=1, max_size=5).map("/".join),
    st.sampled_from(["/", "//", "..", "/etc/passwd", "../victim", "a/../../victim", ".rollwave-package", "a" * 300]),
)
hostile_members = st.tuples(
    hostile_paths,
    st.sampled_from([*KINDS, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.REGTYPE, tarfile.REGTYPE]),
    hostile_paths,
    st.integers(min_value=0, max_value=0o7777),
)

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..", driver.MARKER)
)
trees = st.recursive(
    st.tuples(st.binary(max_size=2000), st.booleans()),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def tar_bytes(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "", mode: int = 0o644) -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    return info, content


def unpack(archive: bytes, directory: Path, manifest: driver.Manifest = ROOMY) -> None:
    driver.unpack(io.BytesIO(archive), str(directory), manifest, archive_size=len(archive))


def picture(top: Path) -> dict[str, object]:
    """Return everything below *top*: content of files, target of links; links are not followed."""
    seen: dict[str, object] = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = Path(folder, name)
            mark = path.readlink() if path.is_symlink() else None if path.is_dir() else path.read_bytes()
            seen[str(path.relative_to(top))] = mark
    return seen


@settings(max_examples=150, deadline=None)
@given(members=st.lists(hostile_members, min_size=1, max_size=8))
def test_a_hostile_archive_never_writes_outside(members: list[Any]) -> None:
    """It is refused or it unpacks inside; every link that is left resolves inside; no mode is special."""
    infos = [member(name, kind, b"x" * (kind in KINDS[:2]), link, mode) for name, kind, link, mode in members]
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder).resolve()
        release, victim = world / "release", world / "victim"
        release.mkdir()
        victim.write_bytes(b"untouched")
        try:
            unpack(tar_bytes(infos), release)
        except driver.RefusalError as refusal:
            assert refusal.code in ("package.unsafe_archive", "package.corrupt_archive")  # noqa: PT017  either is right
            left = {name for name in picture(world) if not name.startswith("release/")}
        else:
            left = {name for name in picture(world) if not name.startswith("release/")}
            for path in release.rglob("*"):
                assert path.resolve(strict=True).is_relative_to(release)
                assert not path.lstat().st_mode & 0o7000
        assert left == {"release", "victim"}
        assert victim.read_bytes() == b"untouched"


@settings(max_examples=100, deadline=None)
@given(tree=trees, form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_a_good_archive_comes_out_as_it_went_in(tree: dict[str, Any], form: int) -> None:
    """Names, content and the executable bit survive; directories may be implied."""
    members, expected = [], {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, inner in node.items():
                walk(inner, f"{path}{name}/" if isinstance(inner, dict) else f"{path}{name}")
        else:
            content, is_executable = node
            members.append(member(path, content=content, mode=0o755 if is_executable else 0o644))
            expected[path] = node

    walk(tree, "")
    with tempfile.TemporaryDirectory() as folder:
        unpack(tar_bytes(members, form), Path(folder))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        found = {
            str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777 == 0o755) for path in files
        }
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(junk=st.binary(max_size=3000), at=st.integers(min_value=0, max_value=3000))
def test_a_damaged_archive_gets_an_answer_with_a_code(junk: bytes, at: int) -> None:
    """No bytes make the extractor crash in a way that has no name."""
    archive = bytearray(tar_bytes([member("a/b", content=b"content"), member("c", content=b"c" * 600)]))
    archive[at : at + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(bytes(archive), Path(folder))
        except driver.RefusalError as refusal:
            assert refusal.code.startswith("package.")  # noqa: PT017  to unpack something is right, too


LINKS_THAT_STAY = {
    "to a file": [member("lib/a.so.1", content=b"1"), member("lib/a.so", tarfile.SYMTYPE, link="a.so.1")],
    "upwards and down again": [member("bin/x", content=b"1"), member("lib/y/x", tarfile.SYMTYPE, link="../../bin/x")],
    "to a directory": [member("v1/x", content=b"1"), member("now", tarfile.SYMTYPE, link="v1")],
    "a chain": [
        member("a", tarfile.SYMTYPE, link="b"),
        member("b", tarfile.SYMTYPE, link="c"),
        member("c", content=b"1"),
    ],
}


@pytest.mark.parametrize("members", LINKS_THAT_STAY.values(), ids=LINKS_THAT_STAY.keys())
def test_a_link_that_stays_inside_is_kept(members: list[Any], tmp_path: Path) -> None:
    """Shared libraries and node_modules need them."""
    unpack(tar_bytes(members), tmp_path)

    assert all(path.exists() for path in tmp_path.rglob("*"))
    assert any(path.is_symlink() for path in tmp_path.rglob("*"))


REFUSED = {
    "absolute": [member("/a")],
    "climbing": [member("a/../../b")],
    "a link to nothing": [member("a", tarfile.SYMTYPE, link="nothing")],
    "an absolute link": [member("a", tarfile.SYMTYPE, link="/etc/passwd")],
    "a link out": [member("a", tarfile.SYMTYPE, link="../x")],
    "a link to itself": [member("a", tarfile.SYMTYPE, link="a")],
    "out through a chain of links": [
        member("d/e/f"),
        member("one", tarfile.SYMTYPE, link="d/e"),
        member("two", tarfile.SYMTYPE, link="one/../../.."),
    ],
    "a file through a link": [member("a", tarfile.SYMTYPE, link="b"), member("b/x"), member("a/y")],
    "a link through a link": [
        member("b/x"),
        member("a", tarfile.SYMTYPE, link="b"),
        member("a/y", tarfile.SYMTYPE, link="x"),
    ],
    "a hard link": [member("a"), member("b", tarfile.LNKTYPE, link="a")],
    "a device": [member("a", tarfile.CHRTYPE)],
    "a pipe": [member("a", tarfile.FIFOTYPE)],
    "twice": [member("a"), member("./a")],
    "a file as a directory": [member("a"), member("a/b")],
    "a directory as a file": [member("a/b"), member("a")],
    "our marker": [member("./.rollwave-package")],
    "a long name": [member("a" * 256)],
    "a long path": [member("/".join(["a" * 100] * 11))],
    "a deep path": [member("/".join(["a"] * 65))],
    "a long link": [member("a", tarfile.SYMTYPE, link="b" * 70_000)],
}


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_plain_is_refused_with_its_name(members: list[Any], tmp_path: Path) -> None:
    """package.unsafe_archive; the member is in the detail."""
    with pytest.raises(driver.RefusalError) as refused:
        unpack(tar_bytes(members), tmp_path)

    assert refused.value.code == "package.unsafe_archive"
    assert refused.value.detail["member"]


@pytest.mark.parametrize(
    "manifest",
    [driver.Manifest(unpacked_size=1999, file_count=2), driver.Manifest(unpacked_size=2000, file_count=1)],
    ids=["bytes", "files"],
)
def test_no_more_comes_out_than_was_signed(manifest: driver.Manifest, tmp_path: Path) -> None:
    """Neither more bytes nor more files."""
    archive = tar_bytes([member("a", content=b"a" * 1000), member("b", content=b"b" * 1000)])

    with pytest.raises(driver.RefusalError) as refused:
        unpack(archive, tmp_path, manifest)

    assert refused.value.detail["member"] == "b"


def test_the_limits_themselves_are_allowed(tmp_path: Path) -> None:
    """1024 bytes of path, 255 of name, 64 steps."""
    longest = "/".join(["a" * 204] * 4 + ["b" * 204])
    names = [longest, "c" * 255, "/".join(["d"] * 64)]
    assert len(longest) == 1024

    unpack(tar_bytes([member(name, content=b"1") for name in names]), tmp_path)

    assert all((tmp_path / name).is_file() for name in names)
