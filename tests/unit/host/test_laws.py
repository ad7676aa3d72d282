"""Laws of the driver's small parts: retention, fence, substitution, ground truth's words."""

from __future__ import annotations

import json
import math
import os
import select
import tempfile
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from rollwave.host import driver

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

versions = st.lists(st.integers(0, 30).map(str), unique=True, max_size=15)


@given(newest_first=versions, protected=st.sets(st.integers(0, 30).map(str)), keep_count=st.integers(2, 8))
def test_retention_removes_only_what_nobody_needs(
    newest_first: list[str], protected: set[str], keep_count: int
) -> None:
    """I16: no protected version goes, the rest is no more than fits, and what goes is older than all that stays."""
    gone = driver.versions_to_remove(newest_first, protected, keep_count)
    kept = [version for version in newest_first if version not in gone]
    unprotected = [version for version in kept if version not in protected]

    assert not set(gone) & protected
    assert set(gone) <= set(newest_first)
    assert len(kept) <= keep_count or not unprotected
    assert not gone or len(kept) >= min(keep_count, len(newest_first))
    oldest_kept = max((newest_first.index(version) for version in unprotected), default=-1)
    assert all(newest_first.index(version) > oldest_kept for version in gone)
    assert driver.versions_to_remove(kept, protected, keep_count) == []


@settings(deadline=None)
@given(fences=st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_the_fence_only_rises(fences: list[int]) -> None:
    """I9: a fence passes exactly when none higher came before, whatever process asks."""
    with tempfile.TemporaryDirectory() as folder:
        layout = driver.Layout(folder)
        layout.prepare()
        highest = -1
        for fence in fences:
            ledger = driver.Ledger(layout)
            with ledger.hold():
                try:
                    ledger.raise_fence(fence)
                    passed = True
                except driver.RefusalError as refusal:
                    assert refusal.code == "host.fenced"  # noqa: PT017  either may be right
                    passed = False
            assert passed == (fence >= highest)
            highest = max(highest, fence)


@given(argument=st.text(), value=st.text())
def test_substitution_is_literal_and_happens_once(argument: str, value: str) -> None:
    """What is put in is never looked at again, and what is no placeholder stays."""
    replaced = driver.substituted(
        [argument, "{version}", "a{version}b{port}", "{other}"], {"version": value, "port": "1"}
    )

    if "{version}" not in argument and "{port}" not in argument:
        assert replaced[0] == argument
    assert replaced[1:] == [value, f"a{value}b1", "{other}"]


@given(body=st.binary(max_size=200))
def test_any_answer_is_a_version_or_none(body: bytes) -> None:
    """The app's own word is checked before it is believed."""
    version = driver.version_in(body)

    assert version is None or driver.VERSION_PATTERN.fullmatch(version)


def test_the_words_that_say_a_version() -> None:
    """JSON with a version, or plain text whose first line is it."""
    said = {b'{"version": "1.0"}': "1.0", b"1.0\n": "1.0", b" 1.0-rc.1 \nbuilt today": "1.0-rc.1"}

    assert {body: driver.version_in(body) for body in said} == said
    assert [driver.version_in(body) for body in (b"", b"{}", b"<html>", b'{"version": 1}')] == [None] * 4


def test_only_a_path_inside_a_release_names_a_version(tmp_path: Path) -> None:
    """Neither `current`, nor a partial, nor a neighbor whose name begins alike."""
    layout = driver.Layout(str(tmp_path))
    paths = {
        "releases/1.0/bin/app": "1.0",
        "releases/1.0": "1.0",
        "current/bin": None,
        "releases/.1.0.x.partial/a": None,
    }
    paths |= {"releases-old/1.0": None, "releases": None}

    assert {path: layout.version_at(str(tmp_path / path)) for path in paths} == paths


def test_the_last_word_about_a_wrong_command_line_is_what_is_wrong(capsys) -> None:
    """Whoever shows one line of what the driver printed shows the cause."""
    assert driver.main(["install", "plan.json", "--colour", "blue"]) == 2

    assert capsys.readouterr().err.splitlines()[-1] == "error: there is no option --colour"


@given(texts=st.lists(st.text(max_size=400), max_size=12))
def test_notes_are_few_and_short(texts: list[str]) -> None:
    """So many lines, so wide, each one line, in order; what was noted first is kept."""
    notes = driver.Notes()
    for text in texts:
        notes.add(text)

    assert len(notes.lines) == min(len(texts), driver.TOLD_LINES)
    assert all(len(line["text"]) <= driver.TOLD_CHARACTERS for line in notes.lines)
    assert all(line["text"].splitlines() in ([], [line["text"]]) for line in notes.lines)
    assert [line["after_ms"] for line in notes.lines] == sorted(line["after_ms"] for line in notes.lines)
    for line, text in zip(notes.lines, texts, strict=False):
        whole = " ".join(text.split())
        assert line["text"] == whole or (line["text"].endswith("...") and whole.startswith(line["text"][:-3]))


def test_a_worker_begins_when_nobody_has_it_below_them_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends the carrier with all that descends from it ends no verb, however slowly what forked it dies."""
    dying_r, dying_w = os.pipe()
    leave = os._exit

    def leave_slowly(code: int) -> None:
        # As long as the worker might need to begin; it is not to, so nothing is ever heard.
        select.select([dying_r], [], [], 0.2)
        leave(code)

    monkeypatch.setattr(os, "_exit", leave_slowly)

    def parent() -> dict[str, object]:
        os.write(dying_w, b".")
        return {"parent": os.getppid(), "session": os.getsid(0)}

    reply = json.loads(driver.read_reply(driver.detach(parent, str(tmp_path / "log")), math.inf))

    assert reply["parent"] != reply["session"]  # whoever forked it had begun the session
