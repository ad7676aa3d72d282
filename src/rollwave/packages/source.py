"""Where a package comes from: a directory that a build left, or a tar archive that it wrote."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, cast

import zstandard

from rollwave.domain.said import said
from rollwave.packages.errors import EmptyPackageError, SourceError, UnsupportedEntryError
from rollwave.packages.tree import Entry, Kind, Limits, Tree, entry_of_member

if TYPE_CHECKING:
    from collections.abc import Iterator


class Source:
    """
    The entries of a package to be, and how to read each.

    Attributes:
        entries: In the order of their paths; every directory is there itself.
        unpacked_size: Bytes of all files.
        file_count: Regular files.
    """

    def __init__(self, tree: Tree, contents: dict[Entry, Path]) -> None:
        tree.close()
        self.entries = tuple(sorted([*contents, *tree.implied_directories()], key=lambda entry: entry.path))
        self.unpacked_size = tree.unpacked_size
        self.file_count = tree.file_count
        self._contents = contents

    @contextmanager
    def open(self, entry: Entry) -> Iterator[BinaryIO]:
        """
        Open the content of a file entry.

        Raises:
            SourceError: If it cannot be read, or is no longer what the entry says.
        """
        path = self._contents[entry]
        try:
            # A symlink that took the file's place since we looked must not be followed out of the tree.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as content:
                if os.fstat(content.fileno()).st_size != entry.size:
                    raise SourceError(
                        source=str(path), reason=said("its size changed meanwhile; let the build finish first")
                    )
                yield content
        except OSError as error:
            raise SourceError(source=str(path), reason=error.strerror or str(error)) from error


@contextmanager
def open_source(path: Path, *, limits: Limits | None = None) -> Iterator[Source]:
    """
    Read what *path* holds: a directory, or a ``.tar``, ``.tar.gz``, ``.tar.xz``, ``.tar.bz2`` or ``.tar.zst`` archive.

    The same tree gives the same entries, whichever way it comes.

    Raises:
        SourceError: If it cannot be read.
        EmptyPackageError: If it holds no file.
        UnsupportedEntryError, PackageTooLargeError: If an entry breaks a rule, or all of them a limit.
    """
    tree = Tree(limits=limits or Limits())
    try:
        if path.is_dir():
            yield _checked(Source(tree, _walk(path, tree)), path)
        else:
            with TemporaryDirectory(prefix="rollwave-package-") as staging:
                yield _checked(Source(tree, _unpack(path, tree, Path(staging))), path)
    except OSError as error:
        raise SourceError(source=str(path), reason=error.strerror or str(error)) from error


def _checked(source: Source, path: Path) -> Source:
    if source.file_count == 0:
        raise EmptyPackageError(source=str(path))
    return source


def _walk(root: Path, tree: Tree) -> dict[Entry, Path]:
    contents: dict[Entry, Path] = {}
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as found:
            for item in found:
                path = Path(item.path)
                entry = _entry_of_file(path, name=path.relative_to(root).as_posix())
                tree.add(entry)
                contents[entry] = path
                if entry.kind is Kind.DIRECTORY:
                    folders.append(path)
    return contents


def _entry_of_file(path: Path, *, name: str) -> Entry:
    facts = path.lstat()
    if stat.S_ISDIR(facts.st_mode):
        return Entry(path=name, kind=Kind.DIRECTORY)
    if stat.S_ISLNK(facts.st_mode):
        return Entry(path=name, kind=Kind.SYMLINK, link=str(path.readlink()))
    if stat.S_ISREG(facts.st_mode):
        is_executable = bool(facts.st_mode & stat.S_IXUSR)
        return Entry(path=name, kind=Kind.FILE, size=facts.st_size, is_executable=is_executable)
    raise UnsupportedEntryError(path=name, reason=said("it is neither a file, a directory nor a symlink"))


def _unpack(archive: Path, tree: Tree, staging: Path) -> dict[Entry, Path]:
    """Lay the contents aside under numbers, so that no name out of the archive ever reaches the disk."""
    contents: dict[Entry, Path] = {}
    try:
        with _open_tar(archive) as tar:
            for number, member in enumerate(tar):
                entry = entry_of_member(member)
                if entry is None:
                    continue
                tree.add(entry)
                contents[entry] = staging / str(number)
                if entry.kind is Kind.FILE:
                    with (staging / str(number)).open("wb") as kept:
                        # A regular member always has content to extract.
                        shutil.copyfileobj(cast("BinaryIO", tar.extractfile(member)), kept)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise SourceError(
            source=str(archive), reason=said("not a tar archive that can be read (%(error)s)", error=error)
        ) from error
    return contents


@contextmanager
def _open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        if file.peek(4)[:4] == zstandard.FRAME_HEADER:
            with (
                zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain,
                tarfile.open(fileobj=plain, mode="r|") as tar,
            ):
                yield tar
        else:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                yield tar
