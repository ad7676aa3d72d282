"""The file store when processes die in the middle, and when several push at once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from rollwave.packages.build import build_package
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import SigningKey, TrustedKeys

PUSH = """
import os, sys
from pathlib import Path
from rollwave.packages.file_store import FilePackages
from rollwave.packages.signing import TrustedKeys

folder, store, die_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
seen = 0

def dying(name):
    # Die like a killed process: no handler, no clean-up, right before the system call.
    real = getattr(os, name)
    def call(*arguments, **options):
        global seen
        seen += 1
        if seen == die_at:
            os._exit(99)
        return real(*arguments, **options)
    setattr(os, name, call)

for name in ("fsync", "replace", "unlink", "mkdir", "fchmod"):
    dying(name)
packages = FilePackages(store, trusted=TrustedKeys.from_directory(folder))
with (folder / "archive").open("rb") as archive:
    packages.put(
        archive,
        manifest=(folder / "manifest").read_bytes(),
        signature=(folder / "signature").read_bytes(),
        key_id=(folder / "key_id").read_text(),
    )
"""


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate()


@pytest.fixture
def upload(tmp_path, key):
    """A built package laid out in a folder, and the trusted key beside it."""

    def lay_out(name: str, content: str):
        folder = tmp_path / name
        (folder / "source").mkdir(parents=True)
        (folder / "source" / "app").write_text(content)
        with (folder / "archive").open("wb") as archive:
            built = build_package(
                folder / "source",
                archive,
                app="shop",
                version="1",
                key=key,
                created_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
        (folder / "manifest").write_bytes(built.manifest)
        (folder / "signature").write_bytes(built.signature)
        (folder / "key_id").write_text(built.key_id)
        (folder / "trusted.pub").write_bytes(key.public.pem)
        return folder

    return lay_out


def start_push(folder, store, *, die_at: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-c", PUSH, folder, store, str(die_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)


def test_a_push_that_dies_anywhere_leaves_all_or_nothing(upload, tmp_path, key):
    """At whatever system call it dies: the package is there whole or not at all, and pushing again succeeds."""
    folder = upload("one", "content")
    die_at = 0
    was_killed = True
    while was_killed:
        die_at += 1
        root = tmp_path / f"store-{die_at}"
        push = start_push(folder, root, die_at=die_at)
        _, errors = push.communicate(timeout=60)
        assert push.returncode in {0, 99}, errors
        was_killed = push.returncode == 99

        store = FilePackages(root, trusted=TrustedKeys.of([key.public]))
        for package in store.list():
            with store.open(package.app, package.version) as archive:
                assert archive.read() == (folder / "archive").read_bytes()
        with (folder / "archive").open("rb") as archive:
            store.put(
                archive,
                manifest=(folder / "manifest").read_bytes(),
                signature=(folder / "signature").read_bytes(),
                key_id=key.public.key_id,
            )
        store.prune(keep=1, in_use=())
        left = sorted(path.name for path in root.rglob("*") if path.is_file())
        assert left == sorted(["1.json", "lock", store.get("shop", "1").sha256])
    assert die_at > 10  # it did die at more than a few places


def test_of_two_different_pushes_at_once_one_wins(upload, tmp_path, key):
    """Whoever is second is told that the version is taken, and the winner's archive is the one that is kept."""
    folders = [upload("one", "first content"), upload("two", "second content")]
    pushes = [start_push(folder, tmp_path / "store") for folder in folders]
    errors = [push.communicate(timeout=60)[1].decode() for push in pushes]

    assert sorted(push.returncode for push in pushes) == [0, 1]
    winner = next(index for index, push in enumerate(pushes) if push.returncode == 0)
    assert "VersionTakenError" in errors[1 - winner]
    with FilePackages(tmp_path / "store", trusted=TrustedKeys.of([key.public])).open("shop", "1") as archive:
        assert archive.read() == (folders[winner] / "archive").read_bytes()
