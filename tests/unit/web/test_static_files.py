"""Static files: gathered once, served under names that say their content."""

from __future__ import annotations

import asyncio
import re

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import AsyncRequestFactory, override_settings

from rollwave.web import static_files


@pytest.fixture
def gathered(tmp_path):
    with override_settings(STATIC_ROOT=str(tmp_path / "static" / "version")):
        yield static_files.collect()


def test_every_name_says_its_content_also_inside_of_files(gathered):
    """Modules import each other, and style sheets their typefaces, by hashed names."""
    (portal,) = (one for one in gathered.glob("rollwave/js/portal.*.js") if len(one.name.split(".")) == 3)
    (base,) = (one for one in gathered.glob("rollwave/css/base.*.css") if len(one.name.split(".")) == 3)

    imports = re.findall(r'from "(.*?)"|import "(.*?)"', portal.read_text())

    assert imports
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", one or other) for one, other in imports)
    assert re.search(r"Geist\[wght\]\.[0-9a-f]{12}\.ttf", base.read_text())


def test_only_what_is_served_is_gathered(gathered):
    """Packages bring more than we use."""
    assert {one.name for one in gathered.iterdir()} == {"rollwave", "geist", "geist-mono", "htmx", "staticfiles.json"}
    assert not list(gathered.glob("htmx/*4*.js"))


def test_what_is_there_is_not_gathered_again(gathered):
    """The folder is named after the version of all files, so it never changes."""
    marker = gathered / "staticfiles.json"
    before = marker.stat().st_mtime_ns

    assert static_files.collect() == gathered
    assert marker.stat().st_mtime_ns == before


def test_another_version_has_another_folder(tmp_path, monkeypatch):
    """Two versions can serve over one data directory."""
    (tmp_path / "one.css").write_text("a {}")
    monkeypatch.setattr(static_files, "_OURS", tmp_path)
    before = static_files.root(tmp_path)
    (tmp_path / "one.css").write_text("a { color: red }")

    assert static_files.root(tmp_path) != before


def test_a_hashed_file_may_be_kept_for_ever_and_nothing_else(gathered):
    """Whoever asks with an Accept-Encoding gets it compressed; what is no file goes on to the pages."""
    (tokens,) = (one for one in gathered.glob("rollwave/css/tokens.*.css") if len(one.name.split(".")) == 3)

    async def page(_request):
        return HttpResponse("a page")

    async def ask(path, **headers):
        return await static_files.static_files(page)(AsyncRequestFactory().get(path, headers=headers))

    hashed = asyncio.run(ask(f"/static/rollwave/css/{tokens.name}", accept_encoding="gzip"))
    plain = asyncio.run(ask("/static/rollwave/css/tokens.css"))

    assert "immutable" in hashed["Cache-Control"]
    assert hashed["Content-Encoding"] == "gzip"
    assert hashed["Content-Type"].startswith("text/css")
    assert "immutable" not in plain["Cache-Control"]
    assert asyncio.run(ask("/static/../settings.py")).content == b"a page"
    assert asyncio.run(ask("/")).content == b"a page"
    assert settings.STATIC_URL == "/static/"
