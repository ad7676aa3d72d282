from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rollwave.packages.errors import ManifestInvalidError
from rollwave.packages.manifest import Manifest, Provenance

GOOD = Manifest(
    app="shop",
    version="1.2.3+build.4",
    sha256="ab" * 32,
    size=10,
    unpacked_size=20,
    file_count=2,
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    provenance=Provenance(commit="c0ffee", branch="main"),
)


def changed(**fields: object) -> bytes:
    document = json.loads(GOOD.to_bytes()) | fields
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_manifest_survives_its_bytes():
    assert Manifest.parse(GOOD.to_bytes()) == GOOD


def test_the_signed_bytes_are_canonical():
    """Sorted keys, no spaces, UTC, and only the provenance that somebody stated."""
    assert GOOD.to_bytes() == (
        b'{"app":"shop","created_at":"2026-01-02T03:04:05Z","file_count":2,"provenance":{"branch":"main","commit":"c0ffee"},'
        b'"sha256":"' + b"ab" * 32 + b'","size":10,"unpacked_size":20,"version":"1.2.3+build.4"}'
    )


def test_a_time_of_another_zone_is_written_in_utc():
    local = datetime(2026, 1, 2, 11, 4, 5, tzinfo=timezone(timedelta(hours=8)))
    manifest = Manifest(app="a", version="1", sha256="0" * 64, size=0, unpacked_size=0, file_count=0, created_at=local)

    assert b'"2026-01-02T03:04:05Z"' in manifest.to_bytes()


def test_a_manifest_may_grow():
    """A key that a newer Rollwave adds does not stop an older one."""
    assert Manifest.parse(changed(zz_new="fact")) == GOOD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'"' + b"x" * 70_000 + b'"',
        b" " + GOOD.to_bytes(),
        GOOD.to_bytes().replace(b'"app":"shop"', b'"app":"other","app":"shop"'),
        GOOD.to_bytes().replace(b'"size":10', b'"size":NaN'),
        GOOD.to_bytes().replace(b"shop", b"sh\\u006fp"),
    ],
)
def test_what_is_not_canonical_json_is_refused(data):
    """Signed bytes have one meaning: no doubled key, no other spelling, no excess."""
    with pytest.raises(ManifestInvalidError):
        Manifest.parse(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("app", "Shop"),
        ("app", "../shop"),
        ("app", None),
        ("version", "../1"),
        ("version", ".1"),
        ("version", "1/2"),
        ("version", "1\n"),
        ("version", "x" * 101),
        ("sha256", "AB" * 32),
        ("sha256", "ab"),
        ("size", -1),
        ("size", "10"),
        ("size", True),
        ("size", 1.5),
        ("file_count", None),
        ("created_at", "yesterday"),
        ("created_at", 5),
        ("provenance", []),
        ("provenance", {"commit": 7}),
    ],
)
def test_a_field_of_the_wrong_form_is_named(field, value):
    with pytest.raises(ManifestInvalidError) as caught:
        Manifest.parse(changed(**{field: value}))

    assert field in caught.value.message or "commit" in caught.value.message


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ManifestInvalidError, match="created_at"):
        Manifest(
            app="a",
            version="1",
            sha256="0" * 64,
            size=0,
            unpacked_size=0,
            file_count=0,
            created_at=datetime(2026, 1, 1),
        )
