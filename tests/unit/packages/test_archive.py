from __future__ import annotations

import io
import os
import tarfile

import pytest
import zstandard

from rollwave.packages.archive import Progress, pack
from rollwave.packages.errors import EmptyPackageError, PackageTooLargeError, SourceError, UnsupportedEntryError
from rollwave.packages.source import open_source
from rollwave.packages.tree import Limits


def members(data: bytes) -> list[tarfile.TarInfo]:
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return tarfile.open(fileobj=io.BytesIO(plain)).getmembers()


def packed(source, **options) -> bytes:
    archive = io.BytesIO()
    pack(source, archive, **options)
    return archive.getvalue()


def test_nothing_of_the_builder_is_left_in_an_archive(tmp_path):
    """No owner, no time, no odd mode: 0755 for what runs and for directories, 0644 for the rest."""
    (tmp_path / "bin").mkdir(mode=0o700)
    (tmp_path / "bin" / "serve").write_text("#!")
    (tmp_path / "bin" / "serve").chmod(0o4700)
    (tmp_path / "data").write_text("x")
    (tmp_path / "data").chmod(0o606)

    found = members(packed(tmp_path))

    assert [(m.name, m.mode) for m in found] == [("bin", 0o755), ("bin/serve", 0o755), ("data", 0o644)]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found} == {(0, 0, 0, "", "")}


def test_progress_ends_at_the_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"345")
    seen: list[Progress] = []

    packed(tmp_path, on_progress=seen.append)

    assert seen == [
        Progress(path="a", done_size=2, total_size=5),
        Progress(path="b", done_size=5, total_size=5),
    ]


def test_a_named_pipe_is_refused_by_name(tmp_path):
    (tmp_path / "app").mkdir()
    os.mkfifo(tmp_path / "app" / "pipe")

    with pytest.raises(UnsupportedEntryError) as caught:
        packed(tmp_path)

    assert caught.value.facts["path"] == "app/pipe"


def test_a_symlink_out_of_the_tree_is_refused_by_name(tmp_path):
    (tmp_path / "etc").symlink_to("/etc")

    with pytest.raises(UnsupportedEntryError, match=r"'etc'.*not relative"):
        packed(tmp_path)


@pytest.mark.parametrize("content", [[], ["only/folders"]])
def test_a_tree_without_a_file_is_refused(tmp_path, content):
    for folder in content:
        (tmp_path / folder).mkdir(parents=True)

    with pytest.raises(EmptyPackageError, match=str(tmp_path)):
        packed(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 200, b"\x28\xb5\x2f\xfdgarbage"])
def test_a_source_that_is_neither_tree_nor_tar_is_refused(tmp_path, content):
    source = tmp_path / "source"
    if content is not None:
        source.write_bytes(content)

    with pytest.raises((SourceError, EmptyPackageError), match=str(source)):
        packed(source)


def test_limits_hold_while_a_package_is_built(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 11)

    with pytest.raises(PackageTooLargeError):
        packed(tmp_path, limits=Limits(unpacked_size=10))


def test_a_file_that_grows_during_the_build_stops_it(tmp_path):
    (tmp_path / "log").write_text("a")

    with open_source(tmp_path) as source:
        (tmp_path / "log").write_text("ab")
        with pytest.raises(SourceError, match="size changed"), source.open(source.entries[0]):
            pass


def test_a_file_that_became_a_symlink_is_not_followed(tmp_path):
    """What was looked at is what is packaged, even if somebody swaps it for a way out meanwhile."""
    (tmp_path / "file").write_text("a")

    with open_source(tmp_path) as source:
        (tmp_path / "file").unlink()
        (tmp_path / "file").symlink_to("/etc/passwd")
        with pytest.raises(SourceError), source.open(source.entries[0]):
            pass


def test_a_hostile_tar_is_refused_before_it_writes_anything(tmp_path):
    """A name that climbs out of the archive is refused like any other broken rule, and no file appears."""
    source = tmp_path / "in" / "evil.tar"
    source.parent.mkdir()
    with tarfile.open(source, "w") as tar:
        member = tarfile.TarInfo("../escaped")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))

    with pytest.raises(UnsupportedEntryError, match="escaped"):
        packed(source)

    assert [path.name for path in tmp_path.rglob("*")] == ["in", "evil.tar"]
