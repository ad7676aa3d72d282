"""The archive: a canonical tar.zst, the same bytes for the same tree wherever and whenever it is built."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import zstandard

from rollwave.packages.source import Source, open_source
from rollwave.packages.tree import Entry, Kind, Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPRESSION_LEVEL: Final = 6
"""Part of the format: another level gives other bytes for the same tree."""

_TAR_TYPES: Final = {Kind.FILE: tarfile.REGTYPE, Kind.DIRECTORY: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """
    What was written.

    Attributes:
        sha256: Hex digest of the archive.
        size: Bytes of the archive.
        unpacked_size: Bytes of all its regular files.
        file_count: How many regular files it holds.
    """

    sha256: str
    size: int
    unpacked_size: int
    file_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """
    How far a build is.

    Attributes:
        path: The entry that was just written.
        done_size: Bytes of file content written so far.
        total_size: Bytes of file content in all.
    """

    path: str
    done_size: int
    total_size: int


def pack(
    source: Path,
    destination: BinaryIO,
    *,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Archive:
    """
    Write the tree at *source* to *destination* as a canonical tar.zst.

    Names are sorted, times and owners are zero, modes are 0755 or 0644. So the bytes depend on names, contents,
    symlinks and the executable bit alone (and on the zstd release that compresses them).

    Args:
        source: A directory, or a tar archive: see `open_source`.
        destination: Where the archive goes, opened for writing.
        limits: How large the package may be.
        on_progress: Called after every entry, for a progress bar.

    Raises:
        SourceError, EmptyPackageError, UnsupportedEntryError, PackageTooLargeError: See `open_source`.
    """
    with open_source(source, limits=limits) as opened:
        tee = _HashingWriter(destination)
        # One thread: what several threads write depends on how many they are.
        compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True, threads=0)
        with compressor.stream_writer(cast("BinaryIO", tee), closefd=False) as compressed:
            _write_tar(opened, compressed, on_progress)
    return Archive(
        sha256=tee.digest.hexdigest(), size=tee.size, unpacked_size=opened.unpacked_size, file_count=opened.file_count
    )


def _write_tar(
    source: Source, destination: zstandard.ZstdCompressionWriter, on_progress: Callable[[Progress], None] | None
) -> None:
    done_size = 0
    # PAX writes an extra header only for names that plain ustar cannot hold, and then from the name alone.
    with tarfile.open(fileobj=destination, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for entry in source.entries:
            if entry.kind is Kind.FILE:
                with source.open(entry) as content:
                    tar.addfile(_member(entry), content)
            else:
                tar.addfile(_member(entry))
            done_size += entry.size
            if on_progress is not None:
                on_progress(Progress(path=entry.path, done_size=done_size, total_size=source.unpacked_size))


def _member(entry: Entry) -> tarfile.TarInfo:
    # A TarInfo starts with mtime, uid and gid 0 and no owner names: exactly what we want.
    member = tarfile.TarInfo(entry.path)
    member.type = _TAR_TYPES[entry.kind]
    member.size = entry.size
    member.linkname = entry.link
    member.mode = 0o755 if entry.kind is not Kind.FILE or entry.is_executable else 0o644
    return member


class _HashingWriter:
    """Counts and hashes what passes through."""

    def __init__(self, destination: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._destination = destination

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._destination.write(data)

    def flush(self) -> None:
        self._destination.flush()
