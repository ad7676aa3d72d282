from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollwave.executors.host_files import HostDiskFullError, HostFileChangedError, HostPathError, install_files
from rollwave.executors.plan_file import HashedFile

DRIVER, PLAN = HashedFile.of(b"driver"), HashedFile.of(b"plan")


def install(deploy_path, **other):
    return install_files(deploy_path, **({"driver": DRIVER, "plan": PLAN, "trusted_keys": {"k1": b"pem 1"}} | other))


def content_of(deploy_path):
    home = deploy_path / ".rollwave"
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_files_are_written_under_their_hash(tmp_path):
    files = install(tmp_path / "shop")

    assert files.driver.read_bytes() == b"driver"
    assert files.plan.read_bytes() == b"plan"
    assert content_of(tmp_path / "shop") == {
        f"drivers/{DRIVER.sha256}.py": b"driver",
        f"plans/{PLAN.sha256}.json": b"plan",
        "keys/k1.pem": b"pem 1",
    }


def test_what_is_there_is_never_written_again(tmp_path):
    files = install(tmp_path / "shop")

    def written() -> list[tuple[int, int]]:
        # Not when it was read: that is for the file system to keep.
        return [(found.st_ino, found.st_mtime_ns) for found in (files.driver.stat(), files.plan.stat())]

    before = written()
    install(tmp_path / "shop")

    assert written() == before


def test_many_at_once_write_the_same(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: install(tmp_path / "shop"), range(16)))

    assert len(content_of(tmp_path / "shop")) == 3


@pytest.mark.parametrize("which", ["driver", "plan"])
def test_a_changed_file_is_told_and_not_repaired(tmp_path, which):
    """Immutable means that a change is a finding: somebody has to look before anything runs."""
    path = getattr(install(tmp_path / "shop"), which)
    path.write_bytes(b"changed")

    with pytest.raises(HostFileChangedError) as caught:
        install(tmp_path / "shop")

    assert caught.value.facts == {"path": str(path)}
    assert path.read_bytes() == b"changed"


def test_a_host_trusts_exactly_the_given_keys(tmp_path):
    """A key that was taken back is not trusted any more, and a damaged one is put right."""
    install(tmp_path / "shop", trusted_keys={"k1": b"pem 1", "k2": b"pem 2"})
    (tmp_path / "shop" / ".rollwave" / "keys" / "k2.pem").write_bytes(b"other")

    install(tmp_path / "shop", trusted_keys={"k2": b"pem 2", "k3": b"pem 3"})

    keys = {name: data for name, data in content_of(tmp_path / "shop").items() if name.startswith("keys/")}
    assert keys == {"keys/k2.pem": b"pem 2", "keys/k3.pem": b"pem 3"}


def test_a_server_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(HostPathError, match="shop"):
        install(tmp_path / "missing" / "shop")


def test_a_full_disk_has_its_own_name_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space left on device")

    install(tmp_path / "shop")
    before = content_of(tmp_path / "shop")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(HostDiskFullError):
        install(tmp_path / "shop", plan=HashedFile.of(b"another plan"))

    assert content_of(tmp_path / "shop") == before
