from __future__ import annotations

import itertools
import tarfile
from contextlib import nullcontext

import pytest

from rollwave.packages.errors import PackageTooLargeError, UnsupportedEntryError
from rollwave.packages.tree import Entry, Kind, Limits, Tree, entry_of_member


def file(path: str, size: int = 0) -> Entry:
    return Entry(path=path, kind=Kind.FILE, size=size)


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, link=target)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "../up", "a/../../up", "a/./b", "a//b", "a/", "bad\nname", "bad\x00", "x\udcff"]
)
def test_a_path_that_is_not_plain_is_refused_by_name(path):
    with pytest.raises(UnsupportedEntryError) as caught:
        Tree().add(file(path))

    assert caught.value.facts["path"] == path


@pytest.mark.parametrize("path", ["x" * 256, "é" * 128, "/".join(["d" * 200] * 6)])
def test_a_path_that_a_host_cannot_hold_is_refused(path):
    with pytest.raises(UnsupportedEntryError, match="longer"):
        Tree().add(file(path))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/etc"),
        ("a", ""),
        ("a", ".."),
        ("a", "../x"),
        ("d/a", "../../x"),
        ("d/a", "../.."),
        ("d/a", "b/../c"),
        ("d/a", "./../../x"),
        ("d/a", "//etc"),
    ],
)
def test_a_symlink_never_leads_outside(path, target):
    with pytest.raises(UnsupportedEntryError, match="symlink"):
        Tree().add(link(path, target))


@pytest.mark.parametrize(
    ("path", "target"), [("a", "b"), ("a", "."), ("d/a", ".."), ("d/a", "../b/c"), ("d/e/a", "../../b")]
)
def test_a_symlink_inside_is_fine(path, target):
    Tree().add(link(path, target))


CONFLICTS = [
    (file("a"), file("a")),
    (file("a"), file("a/b")),
    (link("a", "b"), file("a/b")),
    (file("a"), Entry(path="a", kind=Kind.DIRECTORY)),
    (link("d/a", "."), file("d/a/b/c")),
]


@pytest.mark.parametrize("pair", [order for pair in CONFLICTS for order in itertools.permutations(pair)])
def test_two_entries_never_claim_one_place(pair):
    """Nothing is there twice, and nothing lies beneath a file or a symlink, whatever comes first."""
    tree = Tree()
    tree.add(pair[0])

    with pytest.raises(UnsupportedEntryError):
        tree.add(pair[1])


def test_directories_that_nobody_names_are_implied():
    tree = Tree()
    tree.add(file("a/b/c"))
    tree.add(Entry(path="a", kind=Kind.DIRECTORY))

    assert [entry.path for entry in tree.implied_directories()] == ["a/b"]


def test_limits_count_every_entry_and_every_byte():
    tree = Tree(limits=Limits(unpacked_size=10, entries=2))
    tree.add(file("a", 10))
    with pytest.raises(PackageTooLargeError, match="11 bytes"):
        tree.add(file("b", 1))

    tree = Tree(limits=Limits(unpacked_size=10, entries=2))
    tree.add(file("a"))
    with pytest.raises(PackageTooLargeError, match="3 entries"):
        tree.add(file("d/b"))


@pytest.mark.parametrize(
    ("kind", "mode", "reason"),
    [
        (tarfile.LNKTYPE, 0o644, "hard link"),
        (tarfile.CHRTYPE, 0o644, "device"),
        (tarfile.BLKTYPE, 0o644, "device"),
        (tarfile.FIFOTYPE, 0o644, "pipe"),
        (tarfile.GNUTYPE_SPARSE, 0o644, "type"),
        (tarfile.REGTYPE, 0o4755, "set-id"),
        (tarfile.REGTYPE, 0o2755, "set-id"),
    ],
)
def test_a_member_that_is_no_plain_file_is_refused_by_name(kind, mode, reason):
    member = tarfile.TarInfo("./x")
    member.type, member.mode = kind, mode

    with pytest.raises(UnsupportedEntryError, match=reason) as caught:
        entry_of_member(member)

    assert caught.value.facts["path"] == "x"


def test_what_the_host_adds_itself_is_reserved():
    with pytest.raises(UnsupportedEntryError, match="reserved"):
        Tree().add(file(".rollwave-package"))

    Tree().add(file("sub/.rollwave-package"))


def test_a_path_that_is_too_deep_for_hosts_is_refused():
    with pytest.raises(UnsupportedEntryError, match="deep"):
        Tree().add(file("/".join(["d"] * 65)))


@pytest.mark.parametrize(
    "links",
    [
        {"a": "missing"},
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"a": "file/below"},
        {"d/a": "../file/."},
        {"a": "b/file", "b": "d"},
        {"a": "d/up/missing", "d/up": ".."},
    ],
)
def test_a_symlink_that_leads_to_nothing_is_refused(links):
    """Dangling, in a circle, or through a file: the host would refuse it, so the build does."""
    tree = Tree()
    for entry in (file("file"), file("d/inner"), *(link(path, target) for path, target in links.items())):
        tree.add(entry)

    with pytest.raises(UnsupportedEntryError, match="not in the package"):
        tree.close()


@pytest.mark.parametrize(
    "links",
    [{"a": "file"}, {"a": "d"}, {"a": "."}, {"a": "b", "b": "file"}, {"a": "b/inner", "b": "d"}, {"d/a": "../file"}],
)
def test_a_symlink_that_leads_to_something_is_fine(links):
    tree = Tree()
    for entry in (file("file"), file("d/inner"), *(link(path, target) for path, target in links.items())):
        tree.add(entry)

    tree.close()


@pytest.mark.parametrize(
    ("packed", "unpacked", "is_fine"), [(1, 10, True), (1, 11, False), (6, 12, True), (6, 13, False)]
)
def test_a_package_that_unfolds_like_a_bomb_is_refused(packed, unpacked, is_fine):
    """Small packages may be as dense as they like; large ones within the ratio that hosts accept."""
    limits = Limits(ratio=2, ratio_free_size=10)

    with nullcontext() if is_fine else pytest.raises(PackageTooLargeError):
        limits.check_sizes(packed_size=packed, unpacked_size=unpacked)
