"""Download: nothing gets its name under releases/ unless it is the signed package, whole."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.host.site import Site, finish, member, pack, tar_of
from tests.integration.host.web import PackageServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def assert_nothing_published(site: Site) -> None:
    assert site.releases == set()


def path_with(tmp_path: Path, *programs: str) -> dict[str, str]:
    """Return an environment whose PATH has only these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return {"PATH": str(folder)}


def test_a_version_that_is_there_is_not_fetched_again(site: Site) -> None:
    """Prestage: a later attempt's download only proves that the version is complete; the source may be gone."""
    package = site.build("1.0")
    first = site.run("download", site.plan(package))
    package.archive.unlink()
    again = site.run("download", site.plan(package), attempt=2)

    assert (first["detail"]["fetched"], again["detail"]["fetched"]) == (True, False)
    assert again["state"] == "succeeded"
    (line,) = again["lines"]
    assert line["text"] == f"1.0 is complete on this host already, sha256 {package.fields['sha256'][:12]}"


def test_a_key_that_the_server_does_not_trust_is_refused(site: Site) -> None:
    """Who may sign is decided on the server: a plan cannot bring its own key."""
    package = site.build("1.0")
    (site.state / "keys" / f"{site.key_id}.pem").unlink()

    report = site.run("download", site.plan(package))

    assert report["code"] == "package.unknown_key"
    assert_nothing_published(site)


def test_a_key_under_another_keys_name_is_refused(site: Site) -> None:
    """The file must hold the key that its name says."""
    stranger = Site(root=site.root / "stranger")
    ours, theirs = (place.state / "keys" / f"{place.key_id}.pem" for place in (site, stranger))
    ours.write_bytes(theirs.read_bytes())

    assert site.run("download", site.plan(site.build("1.0")))["code"] == "package.unknown_key"


@pytest.mark.parametrize("field", ["manifest", "signature"])
def test_a_single_changed_bit_breaks_the_signature(site: Site, field: str) -> None:
    """Neither the manifest nor its signature can be touched."""
    plan = site.plan(site.build("1.0"))
    content = bytearray(base64.b64decode(plan["package"][field]))
    content[10] ^= 1
    plan["package"][field] = base64.b64encode(content).decode()

    report = site.run("download", plan)

    assert report["code"] == "package.bad_signature"
    assert "push it under a new version" in report["message"]
    assert_nothing_published(site)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("app", "other"),
        ("version", "6.6"),
        ("sha256", "0" * 64),
        ("size", 7),
        ("unpacked_size", "7"),
        ("file_count", None),
    ],
)
def test_a_manifest_about_something_else_is_refused(site: Site, field: str, value: object) -> None:
    """A validly signed manifest of another package does not vouch for this one."""
    report = site.run("download", site.plan(site.build("1.0", **{field: value})))

    assert report["code"] == "package.manifest_mismatch"
    assert field in report["message"]


@pytest.mark.parametrize("spoil", [lambda body: body[:-1] + b"?", lambda body: body + b"?"])
def test_an_archive_that_is_not_the_signed_one_is_refused_and_deleted(site: Site, spoil: Any) -> None:
    """Changed or prolonged on its way: refused, and no partial is left to be resumed."""
    package = site.build("1.0")
    package.archive.write_bytes(spoil(package.archive.read_bytes()))

    report = site.run("download", site.plan(package))

    assert report["code"] == "package.checksum_mismatch"
    assert "retry" in report["message"]
    parts = list((site.state / "downloads").iterdir())
    assert [part.stat().st_size for part in parts] in ([], [0])
    assert_nothing_published(site)


def test_a_source_that_is_gone_is_a_failed_fetch(site: Site) -> None:
    """The message names the address."""
    package = site.build("1.0")
    package.archive.unlink()

    report = site.run("download", site.plan(package))

    assert report["code"] == "package.fetch_failed"
    assert package.archive.as_uri() in report["message"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_transfer_is_resumed(site: Site, knows_ranges: bool) -> None:
    """After a cut the rest is asked for; a server that cannot resume begins again, and the result is the same."""
    package = site.build("1.0", files={"noise": os.urandom(300_000)})
    server = PackageServer(package.archive.read_bytes(), cuts=(100_000,), knows_ranges=knows_ranges)
    plan = site.plan(package)
    plan["package"]["url"] = server.url

    with server.serving():
        report = site.run("download", plan)

    assert report["state"] == "succeeded", report
    assert server.ranges == ["", "bytes=100000-"]
    assert site.content("1.0") == package.files


def test_a_later_attempt_goes_on_where_the_last_one_gave_up(site: Site) -> None:
    """What was fetched is not fetched again."""
    package = site.build("1.0", files={"noise": os.urandom(300_000)})
    server = PackageServer(package.archive.read_bytes(), cuts=(100_000, 50_000, 50_000))
    plan = site.plan(package)
    plan["package"]["url"] = server.url

    with server.serving():
        given_up = site.run("download", plan)
        report = site.run("download", plan, attempt=2)

    assert given_up["code"] == "package.fetch_failed"
    assert report["state"] == "succeeded"
    assert server.ranges[-1] == "bytes=200000-"


def test_a_signed_archive_that_reaches_outside_is_refused(site: Site) -> None:
    """A signature vouches for who made it, not for what it does."""
    tar = tar_of(member("evil", kind=tarfile.SYMTYPE, link="../../.."), member("evil/passwd", content=b"root"))

    report = site.run("download", site.plan(site.sign("1.0", tar)))

    assert report["code"] == "package.unsafe_archive"
    assert "push it under a new version" in report["message"]
    assert "evil" in report["message"]
    assert_nothing_published(site)


def test_a_signed_archive_that_is_no_archive_is_refused(site: Site) -> None:
    """Signed garbage is named as such, and leaves nothing."""
    package = site.sign("1.0", b"no tar archive at all" * 100)

    assert site.run("download", site.plan(package))["code"] == "package.corrupt_archive"
    assert_nothing_published(site)


def test_another_package_under_the_same_version_is_refused(site: Site) -> None:
    """A version never changes its content."""
    site.run("download", site.plan(site.build("1.0")))
    site.deployment_id += 1

    report = site.run("download", site.plan(site.build("1.0", files={"more": b"!"})))

    assert report["code"] == "host.version_conflict"
    assert "more" not in site.content("1.0")


def test_a_server_without_zstd_says_so(site: Site, tmp_path: Path) -> None:
    """The message says what to install."""
    program = "import runpy, sys; sys.modules['zstandard'] = None; sys.argv.pop(0)"
    program += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = site.argv("download", site.plan(site.build("1.0")))
    command[3:3] = ["-c", program]
    done = subprocess.run(command, env=path_with(tmp_path, "openssl"), check=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout)

    assert report["code"] == "host.no_zstd"
    assert_nothing_published(site)


def test_a_server_without_openssl_refuses(site: Site, tmp_path: Path) -> None:
    """What cannot be checked is not trusted."""
    report = site.run("download", site.plan(site.build("1.0")), env=path_with(tmp_path, "zstd"))

    assert report["code"] == "host.no_openssl"
    assert_nothing_published(site)


def test_leftovers_of_killed_workers_are_removed(site: Site) -> None:
    """Partials, trash and foreign parts go at the next download; what people put there stays."""
    releases = site.deploy_path / "releases"
    for name in (".1.0.abcd.partial", ".0.9.abcd.trash", "by-hand"):
        (releases / name / "lib").mkdir(parents=True)
    (site.state / "downloads").mkdir()
    (site.state / "downloads" / ("0" * 64 + ".part")).write_bytes(b"half")

    site.run("download", site.plan(site.build("1.0")))

    assert site.releases == {"by-hand", "1.0"}
    assert list((site.state / "downloads").iterdir()) == []


def test_a_package_that_cannot_fit_is_refused_before_anything_is_fetched(site: Site) -> None:
    """The message says how much is needed, how much is free, and where."""
    plan = site.plan(site.build("1.0", size=2**60))
    plan["package"]["size"] = 2**60

    report = site.run("download", plan)

    assert report["code"] == "host.disk_full"
    assert str(site.deploy_path / "releases") in report["message"]
    assert report["detail"]["needed_bytes"] > report["detail"]["free_bytes"] > 0
    assert list((site.state / "downloads").iterdir()) == []


def test_a_disk_that_fills_up_while_fetching_gets_its_room_back(site: Site) -> None:
    """Other troubles keep the part for the next try; this one must not. (/dev/full is the kernel's own full disk.)"""
    plan = site.plan(site.build("1.0"))
    (site.state / "downloads").mkdir()
    (site.state / "downloads" / f"{plan['package']['sha256']}.part").symlink_to("/dev/full")

    report = site.run("download", plan)

    assert report["code"] == "host.disk_full"
    assert list((site.state / "downloads").iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(site: Site) -> None:
    """What the operating system refuses while unpacking (here: a file beyond the process's limit) is a report."""
    plan = site.plan(site.build("1.0", files={"zeros": bytes(600_000)}))
    limited = ["/bin/sh", "-c", 'ulimit -f 800; exec "$@"', "sh", *site.argv("download", plan)]

    report = finish(subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    assert report["code"] == "host.io_error"
    assert_nothing_published(site)


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[bool]:
    """Mount a small file system at *path*; yield whether this machine lets us."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options.encode()) == 0
    try:
        yield mounted
    finally:
        if mounted:
            libc.umount2(os.fsencode(path), 2)


def test_a_disk_that_fills_up_while_unpacking_gets_its_room_back(site: Site) -> None:
    """Nothing is published, nothing is left. (Inodes are not counted beforehand: this disk has too few of them.)"""
    plan = site.plan(site.build("1.0", files={f"{number}/x": b"" for number in range(90)}))
    releases = site.deploy_path / "releases"
    releases.mkdir()
    with small_disk(releases, "size=2m,nr_inodes=60") as mounted:
        if not mounted:
            pytest.skip("mounts are forbidden here; the two tests above state the law without one")
        report = site.run("download", plan)

        assert report["code"] == "host.disk_full"
        assert_nothing_published(site)
        assert list((site.state / "downloads").iterdir()) == []


def test_a_member_is_written_with_plain_permissions(site: Site) -> None:
    """Executables stay executable; nothing is set-user-id, whatever the archive says."""
    tar = tar_of(member("run", content=b"#!", mode=0o6777), member("data", content=b"", mode=0o666))

    site.run("download", site.plan(site.sign("1.0", tar)))

    modes = {name: (site.deploy_path / "releases/1.0" / name).stat().st_mode & 0o7777 for name in ("run", "data")}
    assert modes == {"run": 0o755, "data": 0o644}


def test_the_python_module_stands_in_for_the_zstd_program(site: Site, tmp_path: Path) -> None:
    """A server without the program unpacks with Python's zstandard module where that is installed."""
    package = site.build("1.0")
    command = site.argv("download", site.plan(package))
    subprocess.run(command, env=path_with(tmp_path, "openssl"), check=True, stdout=subprocess.PIPE)

    assert site.content("1.0") == package.files


def test_an_archive_of_zeros_cannot_fill_the_disk(site: Site) -> None:
    """What a package unpacks to is bounded by what it is: a thousand times its size, beyond the first 64 MiB."""
    package = site.sign("1.0", pack({"zeros": bytes(80 << 20)}), unpacked_size=80 << 20)

    assert site.run("download", site.plan(package))["code"] == "package.unsafe_archive"
    assert_nothing_published(site)
