"""The exit code is the answer that a script reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollwave.cli import errors as cli_errors
from rollwave.cli.exits import MEANINGS, Exit, exit_of, exit_of_status
from rollwave.domain import errors
from rollwave.domain.status import Status
from rollwave.packages import errors as package_errors


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("input.invalid_value", Exit.USAGE),
        ("input.not_found", Exit.NOT_FOUND),
        ("deployment.active", Exit.REFUSED),
        ("deployment.action_not_allowed", Exit.REFUSED),
        ("group.no_stable_package", Exit.REFUSED),
        ("group.never_released", Exit.REFUSED),
        ("command.key_conflict", Exit.REFUSED),
        ("auth.unauthorized", Exit.DENIED),
        ("package.unknown_key", Exit.DENIED),
        ("package.version_taken", Exit.REFUSED),
        ("package.empty", Exit.USAGE),
        ("spec.invalid", Exit.USAGE),
        ("request.invalid", Exit.USAGE),
        ("api.unreachable", Exit.UNREACHABLE),
        ("release.timed_out", Exit.TIMED_OUT),
        ("release.interrupted", Exit.INTERRUPTED),
        ("server.internal_error", Exit.FAILED),
        ("something.new", Exit.FAILED),
        ("inputs.not_found", Exit.FAILED),
    ],
)
def test_a_code_has_the_number_of_its_longest_known_prefix(code, expected):
    """Parts are whole words between dots; what the table does not know is 1."""
    assert exit_of(code) is expected


def test_no_expected_error_of_people_looks_like_a_crash():
    """Whatever a person can cause has a number of its own, or is for an administrator to look at."""
    kinds = [
        kind
        for module in (errors, package_errors, cli_errors)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, errors.RollwaveError) and kind is not errors.RollwaveError
    ]
    plain = {kind.code for kind in kinds if exit_of(kind.code) is Exit.FAILED}

    assert plain <= {"slice.fenced", "slice.recalled", "package.store_damaged", "package.store_full", "rollwave.error"}


@pytest.mark.parametrize("status", Status)
def test_every_coarse_status_is_a_result_or_moves_by_itself(status):
    """What ends or waits for a person has an exit code; what moves has none."""
    moves = {Status.PENDING, Status.RUNNING, Status.ABORTING}

    assert (exit_of_status(status.value) is None) == (status in moves)


def test_every_number_is_explained():
    """No code without words for it."""
    assert set(MEANINGS) == set(Exit)


def test_the_documentation_has_the_same_table():
    """Nobody has to guess which of the two is right."""
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()

    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |\n" in text
