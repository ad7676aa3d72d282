"""The driver runs on servers whose Python is older than ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from rollwave.host import DRIVER_PATH, driver_source

SETTINGS = Path(__file__).with_name("driver.ruff.toml")


def test_the_syntax_is_that_of_python_38() -> None:
    """Neither match statements nor anything else that came later."""
    ast.parse(driver_source(), feature_version=(3, 8))


def test_only_the_standard_library_of_python_38_is_imported() -> None:
    """Except what is tried and done without where it is missing."""
    tree = ast.parse(driver_source())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in imports} <= sys.stdlib_module_names
    assert not imports & {"tomllib", "zoneinfo", "graphlib", "compression"}


def test_no_annotation_is_evaluated() -> None:
    """Annotations use today's spelling, which is sound on 3.8 as long as nothing evaluates them."""
    tree = ast.parse(driver_source())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert isinstance(tree.body[1], ast.ImportFrom)
    assert tree.body[1].module == "__future__"
    assert not names & {"get_type_hints", "dataclass"}


def test_every_rule_of_its_own_settings_holds() -> None:
    """Ruff, with Python 3.8 as the target; also that it is formatted."""
    for check in (["check", "--output-format", "concise"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", "--config", str(SETTINGS), str(DRIVER_PATH)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
