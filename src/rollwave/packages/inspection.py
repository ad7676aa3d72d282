"""Inspection of an upload: proof that an archive is whole, safe to unpack, and what its manifest says."""

from __future__ import annotations

import tarfile
from io import RawIOBase
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from rollwave.domain.said import said
from rollwave.packages.errors import ManifestMismatchError, NotAPackageError, PackageTooLargeError
from rollwave.packages.tree import Limits, Tree, entry_of_member

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from rollwave.packages.manifest import Manifest

_SLICE_SIZE: Final = 1024
"""Bytes fed to the decompressor at once. A hostile kilobyte unfolds to at most some 30 MB; a larger slice to more."""

_HEADERS_LIMIT: Final = 256 * 1024**2
"""Bytes of tar around the files' contents: headers, padding, long names."""


def inspect(archive: BinaryIO, manifest: Manifest, *, limits: Limits) -> None:
    """
    Read *archive* to its end, without unpacking anything.

    Raises:
        NotAPackageError: If it is not exactly one zstd frame around one whole tar archive.
        UnsupportedEntryError: If an entry breaks a rule.
        PackageTooLargeError: If it passes a limit.
        ManifestMismatchError: If it holds other than *manifest* says.
    """
    tree = Tree(limits=limits)
    plain = _Unfolded(archive, limit=manifest.unpacked_size + _HEADERS_LIMIT)
    try:
        with tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                entry = entry_of_member(member)
                if entry is not None:
                    tree.add(entry)
        plain.finish()
        tree.close()
    except (tarfile.TarError, zstandard.ZstdError) as error:
        raise NotAPackageError(reason=str(error)) from error
    for field, stated, found in (
        ("file_count", manifest.file_count, tree.file_count),
        ("unpacked_size", manifest.unpacked_size, tree.unpacked_size),
    ):
        if stated != found:
            raise ManifestMismatchError(field=field, stated=stated, found=found)


class _Unfolded(RawIOBase):
    """
    The content of one zstd frame as a stream, in bounded memory.

    The library's own stream reader ends quietly where a frame is cut off; this one knows the difference.
    """

    def __init__(self, archive: BinaryIO, *, limit: int) -> None:
        self._archive = archive
        self._limit = limit
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._pending = memoryview(b"")
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer)
        while not self._pending and not self._frame.eof:
            self._pending = memoryview(self._next())
        count = min(len(target), len(self._pending))
        target[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def finish(self) -> None:
        """Read what is left, and require that nothing follows the frame."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self._frame.unused_data or self._archive.read(1):
            raise NotAPackageError(reason=said("something follows the end of the archive"))

    def _next(self) -> bytes:
        data = self._archive.read(_SLICE_SIZE)
        if not data:
            raise NotAPackageError(reason=said("it is cut off"))
        unfolded = self._frame.decompress(data)
        self._size += len(unfolded)
        if self._size > self._limit:
            raise PackageTooLargeError(what=said("bytes of tar"), value=self._size, limit=self._limit)
        return unfolded
