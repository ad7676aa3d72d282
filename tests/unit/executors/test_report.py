from __future__ import annotations

import json

import pytest

from rollwave.executors.report import parse_report
from rollwave.ports.executor import CHARACTERS, LINES, HostReport, HostState, HostUnknownError, Line

GOOD = {
    "state": "failed",
    "code": "host.disk_full",
    "message": "the disk is full",
    "running_version": "0.9",
    "current_version": "0.9",
    "detail": {"needed_bytes": 5},
    "deployment": 7,
    "attempt": 2,
    "verb": "install",
    "fence": 3,
}


def parse(command, report, *, exit_code=0, before=b"", after=b"\n"):
    return parse_report(
        command, exit_code=exit_code, stdout=before + json.dumps(report).encode() + after, stderr=b"trouble"
    )


def test_a_report_keeps_every_fact(command):
    assert parse(command, GOOD) == HostReport(
        state=HostState.FAILED,
        code="host.disk_full",
        message="the disk is full",
        running_version="0.9",
        detail={"needed_bytes": 5, "current_version": "0.9"},
    )


def test_what_a_verb_did_comes_along(command):
    """So many lines, so wide; what is none spoils nothing, and a driver of an older version keeps none."""
    told = [{"after_ms": 5, "text": "current: 0.9 -> 1.0"}, {"after_ms": 12, "text": "x" * 1000}]
    garbage = [
        None,
        "line",
        {},
        {"after_ms": True, "text": ""},
        {"after_ms": -1, "text": ""},
        {"after_ms": 1, "text": 2},
    ]

    first, second = parse(command, GOOD | {"lines": told}).lines
    assert first == Line(after_ms=5, text="current: 0.9 -> 1.0")
    assert second == Line(after_ms=12, text="x" * CHARACTERS)
    assert len(parse(command, GOOD | {"lines": told * 50}).lines) == LINES
    for nothing in (garbage, None, "lines", {"after_ms": 5}):
        report = parse(command, GOOD | {"lines": nothing})
        assert (report.state, report.lines) == (HostState.FAILED, ())


@pytest.mark.parametrize(("before", "after"), [(b"warning: noise\n{}\n", b"\n"), (b"", b""), (b"\xff\n", b"\n\n")])
def test_only_the_last_line_counts(command, before, after):
    assert parse(command, GOOD, before=before, after=after).code == "host.disk_full"


def test_a_bug_of_the_driver_is_a_report_too(command):
    assert parse(command, GOOD | {"code": "host.driver_bug"}, exit_code=70).code == "host.driver_bug"


def test_a_driver_that_could_not_read_the_plan_names_no_deployment(command):
    assert parse(command, GOOD | {"deployment": None}).state is HostState.FAILED


@pytest.mark.parametrize(
    "change",
    [
        {"state": "done"},
        {"state": None},
        {"state": []},
        {"code": ""},
        {"code": None},
        {"state": "succeeded"},
        {"message": 5},
        {"running_version": 5},
        {"current_version": ["1"]},
        {"detail": None},
        {"attempt": 1},
        {"verb": "verify"},
        {"deployment": 8},
        {"deployment": []},
    ],
)
def test_a_report_that_is_not_in_order_tells_nothing(command, change):
    """A wrong field, or a report on another command, is no answer: the state is unknown, not failed."""
    with pytest.raises(HostUnknownError):
        parse(command, GOOD | change)


@pytest.mark.parametrize(
    "stdout", [b"", b"\n", b"garbage", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"state": "succ']
)
def test_garbage_is_unknown_with_what_was_printed(command, stdout):
    with pytest.raises(HostUnknownError) as caught:
        parse_report(command, exit_code=0, stdout=stdout, stderr=b"trouble")

    assert caught.value.facts["instance"] == "shop/web-1:8080"
    assert caught.value.facts["stderr"] == "trouble"
    assert caught.value.facts["stdout"] == stdout[-2000:].decode(errors="replace")


@pytest.mark.parametrize("exit_code", [1, 2, 126, -9])
def test_a_driver_that_did_not_end_by_itself_is_not_believed(command, exit_code):
    with pytest.raises(HostUnknownError, match=f"exit code {exit_code}"):
        parse(command, GOOD, exit_code=exit_code)


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        (b"usage: driver.py ...\nerror: there is no option --x\n", ": error: there is no option --x"),
        (b"Traceback ...\n  File ...\nMemoryError\n\n", ": MemoryError"),
        (b"\xff " + b"x" * 1000, f": \ufffd {'x' * 298}"),
        (b"", ""),
    ],
)
def test_why_a_driver_ended_is_in_the_message(command, stderr, told):
    """Its last words, which name the cause; no more than a line of them, for the facts have the rest."""
    with pytest.raises(HostUnknownError) as caught:
        parse_report(command, exit_code=2, stdout=b"", stderr=stderr)

    assert caught.value.message == f"install on shop/web-1:8080: the driver ended with exit code 2{told}"
