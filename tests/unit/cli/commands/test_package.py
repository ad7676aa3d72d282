"""`package`: building, signing, pushing, fetching."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx

from rollwave.cli.exits import Exit
from tests.unit.cli.commands.answers import PACKAGE


def test_a_push_builds_signs_and_uploads(fleet, cli, tmp_path):
    """The server gets the archive, the signed manifest and the signature of the key that keygen made."""
    import base64

    from rollwave.packages.manifest import Manifest
    from rollwave.packages.signing import PublicKey

    source = tmp_path / "site"
    source.mkdir()
    (source / "index.html").write_text("hello")
    fleet.on("PUT", "packages/shop/1.4.2", PACKAGE, status=201)

    made = cli("package", "keygen", "--json").document
    result = cli("package", "push", source, "--app", "shop", "--version", "1.4.2", "--commit", "c0ffee")

    request = fleet.requests[-1]
    manifest = base64.b64decode(request.headers["Rollwave-Manifest"])
    parsed = Manifest.parse(manifest)
    key = PublicKey.from_pem((tmp_path / ".rollwave" / "keys" / "signing.key.pub").read_bytes())
    key.verify(manifest, base64.b64decode(request.headers["Rollwave-Signature"]))
    assert result.code == Exit.OK
    assert made["key_id"] == key.key_id == request.headers["Rollwave-Key-Id"]
    assert (parsed.app, parsed.version, parsed.size) == ("shop", "1.4.2", len(request.content))
    assert parsed.provenance.commit == "c0ffee"


def test_a_push_without_a_key_says_how_to_make_one(fleet, cli, tmp_path):
    """The file that is missing is named."""
    result = cli("package", "push", tmp_path, "--app", "shop", "--version", "1")

    assert result.code == Exit.USAGE
    assert "signing.key" in result.err
    assert "rollwave package keygen" in result.err


def test_keygen_never_overwrites(cli):
    """A key that is gone orphans every package that it signed."""
    assert cli("package", "keygen").code == Exit.OK
    assert cli("package", "keygen").code == Exit.USAGE


def test_an_archive_is_kept_only_if_it_is_what_was_signed(fleet, cli, tmp_path):
    """Whatever came half or changed leaves no file behind."""
    content = b"archive" * 1000
    path = tmp_path / "shop.tar.zst"
    package = {**PACKAGE, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    fleet.on("GET", "packages/shop/1.4.2", package)
    fleet.on("GET", "packages/shop/1.4.2/archive", lambda _: httpx.Response(200, content=content[:-1]))

    result = cli("package", "fetch", "shop", "1.4.2", "-o", path)
    assert "does not match" in result.err
    assert list(tmp_path.iterdir()) == []
    fleet.on("GET", "packages/shop/1.4.2/archive", lambda _: httpx.Response(200, content=content))
    assert cli("package", "fetch", "shop", "1.4.2", "-o", path).code == 0
    assert path.read_bytes() == content


def test_a_package_is_built_and_left_here_for_a_page_to_take(fleet, cli, tmp_path):
    """The archive, and beside it what names and signs it; nothing is sent."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.txt").write_text("hello")
    cli("package", "keygen", tmp_path / "k")
    archive = tmp_path / "shop.tar.zst"

    result = cli(
        "package", "build", source, "--app", "shop", "--version", "1.4.2", "--key", tmp_path / "k", "-o", archive
    )

    assert result.code == 0, result.err
    signed = json.loads((tmp_path / "shop.tar.zst.signed.json").read_text())
    manifest = json.loads(base64.b64decode(signed["manifest"]))
    assert (manifest["app"], manifest["version"]) == ("shop", "1.4.2")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in str(manifest)
    assert fleet.requests == []
