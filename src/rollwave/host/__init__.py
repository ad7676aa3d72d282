"""The host driver: one file that runs on servers, and how the controller gets hold of it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

DRIVER_PATH: Final = Path(__file__).with_name("driver.py")
"""The driver's source. It runs with the server's own Python (3.8 or newer) and imports nothing of Rollwave."""

PORTER_PATH: Final = Path(__file__).with_name("porter.py")
"""The porter's source: what runs the driver on a server that is reached through SSH, and brings what is missing."""


def driver_source() -> bytes:
    """Return the exact bytes that are written once on a server, under their content hash."""
    return DRIVER_PATH.read_bytes()


SALT_MODULE_PATH: Final = Path(__file__).with_name("salt_module.py")
"""The source of Salt's execution module ``rollwave``. It runs in Salt's own Python and imports nothing of ours."""


def salt_module_source() -> bytes:
    """Return what is installed on a Salt master or minion as ``_modules/rollwave.py``."""
    return SALT_MODULE_PATH.read_bytes()


def porter_source() -> str:
    """Return the program that is sent along with every command over SSH, without what only people read."""
    tree = ast.parse(PORTER_PATH.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            node.body = node.body[1:] or [ast.Pass()]  # each begins with its docstring
    return ast.unparse(ast.fix_missing_locations(tree))
