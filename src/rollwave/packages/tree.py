"""What a package may hold: files, directories and symlinks that stay inside. One set of rules for build and upload."""

from __future__ import annotations

import stat
import tarfile
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from rollwave.domain.said import said
from rollwave.packages.errors import PackageTooLargeError, UnsupportedEntryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_BYTES_LIMIT: Final = 1024
"""Well under the 4096 bytes of a path on Linux: ``<deploy path>/releases/<version>/`` has to fit before it."""

_NAME_BYTES_LIMIT: Final = 255

_DEPTH_LIMIT: Final = 64
"""The host refuses deeper paths."""

RESERVED_NAME: Final = ".rollwave-package"
"""What the host adds at the top of a version to know that it is complete."""

_LINKS_LIMIT: Final = 40
"""Symlinks on the way to one file, as on Linux; more are a loop."""


class Kind(Enum):
    """What an entry is; anything else is refused."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """
    One entry of a package.

    Attributes:
        path: Relative, separated by ``/``, without ``.`` and ``..``.
        kind: See `Kind`.
        size: Bytes of a file's content; 0 for the others.
        is_executable: Whether a file's owner may execute it: all that is kept of its mode.
        link: Target of a symlink; empty for the others.
    """

    path: str
    kind: Kind
    size: int = 0
    is_executable: bool = False
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """
    How large a package may be.

    Attributes:
        unpacked_size: Bytes of all files together.
        entries: Files, directories and symlinks together.
        ratio: Unpacked to packed bytes, judged above *ratio_free_size* only: beyond it, hosts take it for a bomb.
        ratio_free_size: Unpacked bytes that any package may have.
    """

    unpacked_size: int = 16 * 1024**3
    entries: int = 200_000
    ratio: int = 900
    ratio_free_size: int = 48 * 1024**2

    def check_sizes(self, *, packed_size: int, unpacked_size: int) -> None:
        """
        Return if a package of these sizes is within the limits.

        Raises:
            PackageTooLargeError: If it is not.
        """
        limit = min(self.unpacked_size, max(self.ratio_free_size, packed_size * self.ratio))
        if unpacked_size > limit:
            raise PackageTooLargeError(what=said("bytes"), value=unpacked_size, limit=limit)


@dataclass(kw_only=True, slots=True)
class Tree:
    """
    Takes the entries of one package in any order, and refuses the first that breaks a rule.

    No symlink leads outside: its target may go up only at its beginning, where every step is a real directory (no entry
    lies beneath a symlink), never above the root, and from there only down.

    Attributes:
        limits: How large it may become.
        unpacked_size: Bytes of the files so far.
        file_count: Regular files so far.
    """

    limits: Limits = field(default_factory=Limits)
    unpacked_size: int = 0
    file_count: int = 0
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _implied: set[str] = field(default_factory=set)
    _links: dict[str, str] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """
        Take *entry*, with the directories above it.

        Raises:
            UnsupportedEntryError: If it breaks a rule; it names the path.
            PackageTooLargeError: If a limit is passed.
        """
        _check_path(entry.path)
        self._add_parents(entry.path)
        if entry.path in self._implied and entry.kind is Kind.DIRECTORY:
            self._implied.remove(entry.path)
        elif entry.path in self._kinds:
            raise UnsupportedEntryError(path=entry.path, reason=said("it is there twice"))
        if entry.kind is Kind.SYMLINK:
            _check_link(entry)
            self._links[entry.path] = entry.link
        self._kinds[entry.path] = entry.kind
        if entry.kind is Kind.FILE:
            self.file_count += 1
            self.unpacked_size += entry.size
        self._check_limits()

    def implied_directories(self) -> Iterator[Entry]:
        """Return the directories that were not added themselves and have something inside."""
        return (Entry(path=path, kind=Kind.DIRECTORY) for path in sorted(self._implied))

    def close(self) -> None:
        """
        Check what only the whole tree can tell.

        Raises:
            UnsupportedEntryError: If a symlink leads to nothing in the tree.
        """
        for path, link in self._links.items():
            if not self._exists(path):
                raise UnsupportedEntryError(
                    path=path, reason=said("the symlink's target %(link)s is not in the package", link=repr(link))
                )

    def _exists(self, path: str) -> bool:
        steps = path.split("/")[::-1]
        place: list[str] = []
        links_left = _LINKS_LIMIT
        while steps:
            step = steps.pop()
            if step == "..":
                place.pop()
            elif step not in {"", "."}:
                place.append(step)
            here = "/".join(place)
            kind = self._kinds.get(here, Kind.DIRECTORY if not here else None)
            if kind is Kind.SYMLINK and links_left:
                links_left -= 1
                place.pop()
                steps += self._links[here].split("/")[::-1]
            elif kind is not Kind.DIRECTORY:
                return kind is Kind.FILE and not steps
        return True

    def _add_parents(self, path: str) -> None:
        parent, _, _ = path.rpartition("/")
        while parent:
            kind = self._kinds.get(parent)
            if kind is Kind.DIRECTORY:
                return
            if kind is not None:
                raise UnsupportedEntryError(
                    path=path, reason=said("%(parent)s above it is no directory", parent=repr(parent))
                )
            self._kinds[parent] = Kind.DIRECTORY
            self._implied.add(parent)
            parent, _, _ = parent.rpartition("/")

    def _check_limits(self) -> None:
        if self.unpacked_size > self.limits.unpacked_size:
            raise PackageTooLargeError(what=said("bytes"), value=self.unpacked_size, limit=self.limits.unpacked_size)
        if len(self._kinds) > self.limits.entries:
            raise PackageTooLargeError(what=said("entries"), value=len(self._kinds), limit=self.limits.entries)


def entry_of_member(member: tarfile.TarInfo) -> Entry | None:
    """
    Return what a tar member stands for; None for the root itself (``./``), which every package has.

    Raises:
        UnsupportedEntryError: If it is a device, a hard link, a sparse file, or carries set-id bits.
    """
    path = member.name.removeprefix("./").rstrip("/")
    if path in {"", "."} and member.isdir():
        return None
    if member.isdir():
        return Entry(path=path, kind=Kind.DIRECTORY)
    if member.issym():
        return Entry(path=path, kind=Kind.SYMLINK, link=member.linkname)
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise UnsupportedEntryError(
            path=path, reason=_REFUSED_TYPES.get(member.type, said("its type is not supported"))
        )
    if member.mode & (stat.S_ISUID | stat.S_ISGID):
        raise UnsupportedEntryError(path=path, reason=said("it would run as another user (set-id bit)"))
    return Entry(path=path, kind=Kind.FILE, size=member.size, is_executable=bool(member.mode & stat.S_IXUSR))


_REFUSED_TYPES: Final = {
    tarfile.LNKTYPE: said("it is a hard link; package a copy or a symlink instead"),
    tarfile.CHRTYPE: said("it is a device"),
    tarfile.BLKTYPE: said("it is a device"),
    tarfile.FIFOTYPE: said("it is a named pipe"),
}


def _check_path(path: str) -> None:
    parts = path.split("/")
    if path.startswith("/"):
        raise UnsupportedEntryError(path=path, reason=said("it is absolute"))
    if not path or not {"", ".", ".."}.isdisjoint(parts):
        raise UnsupportedEntryError(path=path, reason=said("it is not a plain relative path"))
    if parts[0] == RESERVED_NAME:
        raise UnsupportedEntryError(path=path, reason=said("the name is reserved for the host"))
    if len(parts) > _DEPTH_LIMIT:
        raise UnsupportedEntryError(
            path=path, reason=said("it is more than %(limit)s directories deep", limit=_DEPTH_LIMIT)
        )
    encoded = _encoded(path, path=path)
    if len(encoded) > _PATH_BYTES_LIMIT or any(len(_encoded(part, path=path)) > _NAME_BYTES_LIMIT for part in parts):
        raise UnsupportedEntryError(
            path=path,
            reason=said("it is longer than %(limit)s bytes, or a name in it than 255", limit=_PATH_BYTES_LIMIT),
        )


def _check_link(entry: Entry) -> None:
    steps = entry.link.split("/")
    ups = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
    _encoded(entry.link, path=entry.path)
    if not entry.link or entry.link.startswith("/"):
        raise UnsupportedEntryError(
            path=entry.path, reason=said("the symlink's target %(link)s is not relative", link=repr(entry.link))
        )
    if ups > entry.path.count("/"):
        raise UnsupportedEntryError(
            path=entry.path, reason=said("the symlink's target %(link)s is outside the package", link=repr(entry.link))
        )
    if ".." in steps[ups:]:
        raise UnsupportedEntryError(
            path=entry.path,
            reason=said(
                "the symlink's target %(link)s goes up after it went down; write it shorter", link=repr(entry.link)
            ),
        )


def _encoded(text: str, *, path: str) -> bytes:
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
        raise UnsupportedEntryError(path=path, reason=said("a name in it has a control character"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedEntryError(path=path, reason=said("a name in it is not UTF-8")) from error
