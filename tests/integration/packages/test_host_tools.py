"""What hosts do with packages, done with the tools of a host: openssl, zstd and tar."""

from __future__ import annotations

import io
import subprocess
from datetime import UTC, datetime

import pytest

from rollwave.packages.build import build_package
from rollwave.packages.signing import SigningKey


@pytest.fixture
def key():
    return SigningKey.generate()


@pytest.fixture
def built(tmp_path, key):
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "serve").write_text("#!/bin/sh\n")
    (source / "bin" / "serve").chmod(0o755)
    (source / "run").symlink_to("bin/serve")
    archive = io.BytesIO()
    built = build_package(
        source, archive, app="shop", version="1", key=key, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    (tmp_path / "archive").write_bytes(archive.getvalue())
    return built


def openssl_verdict(tmp_path, key, *, manifest: bytes, signature: bytes) -> subprocess.CompletedProcess:
    for name, content in (("pem", key.public.pem), ("manifest", manifest), ("signature", signature)):
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pem", "-rawin", "-in", "manifest"]
    command += ["-sigfile", "signature"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)


def test_openssl_accepts_our_signature_and_no_other(tmp_path, key, built):
    good = openssl_verdict(tmp_path, key, manifest=built.manifest, signature=built.signature)
    bad = openssl_verdict(tmp_path, key, manifest=built.manifest + b" ", signature=built.signature)

    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0


def test_a_key_made_by_openssl_signs_packages(tmp_path):
    """A team that keeps its keys elsewhere brings a PEM of openssl's own."""
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    key = SigningKey.load(tmp_path / "key")

    assert openssl_verdict(tmp_path, key, manifest=b"m", signature=key.sign(b"m")).returncode == 0


def test_zstd_and_tar_unpack_our_archive(tmp_path, built):
    plain = subprocess.run(["zstd", "-dc", tmp_path / "archive"], check=True, capture_output=True, timeout=60).stdout
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["tar", "-xf", "-", "-C", tmp_path / "out"], input=plain, check=True, capture_output=True, timeout=60
    )

    assert (tmp_path / "out" / "run").read_text() == "#!/bin/sh\n"
    assert (tmp_path / "out" / "bin" / "serve").stat().st_mode & 0o777 == 0o755
