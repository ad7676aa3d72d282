"""The page about security names tests that are there; and two laws that need no server."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from django.conf import settings
from django.contrib.auth.hashers import identify_hasher, make_password

from rollwave.settings_file import WebSettings
from rollwave.web import access
from rollwave.web.access import Grant, Permission, Place, Principal, Role
from rollwave.web.people.guessing import MOST
from rollwave.web.refusals import ForbiddenError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "security.md"


def test_every_test_that_the_page_names_is_there():
    """A requirement is covered by what runs, not by what somebody once wrote."""
    named = re.findall(r"`((?:unit|integration|contract)/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())

    missing = [
        (file, test)
        for file, test in named
        if not (ROOT / "tests" / file).exists() or (test and f"def {test}(" not in (ROOT / "tests" / file).read_text())
    ]
    assert len(named) > 50
    assert missing == []


def test_passwords_are_stretched():
    """Whoever reads the database has a million rounds to go for each guess."""
    stored = make_password("correct horse battery")

    assert identify_hasher(stored).algorithm == "pbkdf2_sha256"
    assert int(stored.split("$")[1]) >= 600_000


def test_what_is_refused_is_logged():
    """With who asked, and what was missing."""
    viewer = Principal(name="maria", limits=((Grant(role=Role.VIEWER),),), token="ci")

    with structlog.testing.capture_logs() as lines, pytest.raises(ForbiddenError):
        access.check(viewer, Permission.OPERATE, [Place("shop", "production")])

    (line,) = lines
    assert (line["event"], line["actor"], line["token"], line["permission"]) == (
        "access_denied",
        "maria",
        "ci",
        "operate",
    )


def test_what_accounts_say_of_sessions_is_what_is_set():
    """Their length, and what is too many guesses: the page and the settings say the same."""
    text = " ".join((ROOT / "docs" / "accounts.md").read_text().split())

    assert f"They last {WebSettings().session_hours} hours from the sign-in" in text
    assert f"after {WebSettings().session_idle_minutes} minutes without a request" in text
    assert (10, timedelta(minutes=15), 100) == (settings.AXES_FAILURE_LIMIT, settings.AXES_COOLOFF_TIME, MOST)
    assert "Ten wrong passwords for a name from an address close that pair for a quarter of an hour" in text
    assert "a hundred from one address" in text
