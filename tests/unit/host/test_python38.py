"""The driver, the porter and the Salt module run on servers whose Python is older than ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rollwave.host import DRIVER_PATH, PORTER_PATH, SALT_MODULE_PATH, porter_source

SETTINGS = Path(__file__).with_name("driver.ruff.toml")


@pytest.fixture(params=[DRIVER_PATH, PORTER_PATH, SALT_MODULE_PATH], ids=["driver", "porter", "salt module"])
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_the_syntax_is_that_of_python_38(path: Path) -> None:
    """Neither match statements nor anything else that came later."""
    ast.parse(path.read_bytes(), feature_version=(3, 8))


def test_only_the_standard_library_of_python_38_is_imported(path: Path) -> None:
    """Except what is tried and done without where it is missing."""
    tree = ast.parse(path.read_bytes())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in imports} <= sys.stdlib_module_names
    assert not imports & {"tomllib", "zoneinfo", "graphlib", "compression"}


def test_no_annotation_is_evaluated(path: Path) -> None:
    """Annotations use today's spelling, which is sound on 3.8 as long as nothing evaluates them."""
    tree = ast.parse(path.read_bytes())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert isinstance(tree.body[1], ast.ImportFrom)
    assert tree.body[1].module == "__future__"
    assert not names & {"get_type_hints", "dataclass"}


def test_every_rule_of_its_own_settings_holds(path: Path) -> None:
    """Ruff, with Python 3.8 as the target; also that it is formatted."""
    for check in (["check", "--output-format", "concise"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", "--config", str(SETTINGS), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_sent_of_the_porter_is_the_program_without_its_docstrings() -> None:
    """It goes along with every command, and a shell and a process list see it."""
    sent = porter_source()

    ast.parse(sent, feature_version=(3, 8))
    functions = [node for node in ast.walk(ast.parse(sent)) if isinstance(node, ast.FunctionDef)]
    assert functions
    assert not any(ast.get_docstring(function) for function in functions)
    assert len(sent) < len(PORTER_PATH.read_bytes())
