"""
How much the domain's own tests notice: ``./dev mutate [MODULE ...]``.

The domain and its unit tests are copied to ``build/mutate``, mutmut makes one small mistake after the other there, and
each has to fail a test. What survives is printed; the last line of stdout is one JSON object, and the exit code is 1
where fewer than `WANTED_PERCENT` were noticed. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutate"
DOMAIN = Path("src/rollwave/domain")
TESTS = Path("tests/unit/domain")
READ = (Path("src/rollwave/words"), Path("src/rollwave/ports"))
"""What tests of the domain read beside it; not changed (`do_not_mutate` in ``pyproject.toml``)."""

WANTED_PERCENT = 90


class Undecorate(cst.CSTTransformer):
    """
    Take ``@property`` and ``@generic.register`` off: the same is said after the function instead.

    mutmut leaves out whatever is decorated. Here that is the heart of it: what a command means, and the fold.
    """

    def leave_FunctionDef(  # noqa: N802  # the name that libcst calls
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ):
        match updated_node.decorators:
            case [cst.Decorator(decorator=cst.Name(value="property"))]:
                name = updated_node.name.value
                said = f"{name} = property({name})"
            case [
                cst.Decorator(decorator=cst.Attribute(value=cst.Name(value=generic), attr=cst.Name(value="register")))
            ]:
                first = updated_node.params.params[0].annotation
                kind = cst.ensure_type(first.annotation, cst.Attribute).attr.value
                name = f"{generic}_{kind}"
                said = f"{generic}.register({name})"
            case _:
                return updated_node
        plain = updated_node.with_changes(name=cst.Name(name), decorators=())
        return cst.FlattenSentinel([plain, cst.parse_statement(said)])


def copy() -> None:
    """Lay out what is mutated and what tests it, with nothing left of an earlier run."""
    shutil.rmtree(COPY, ignore_errors=True)
    for part in (DOMAIN, TESTS, *READ):
        shutil.copytree(ROOT / part, COPY / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (DOMAIN.parent / "__init__.py", Path("pyproject.toml")):
        shutil.copyfile(ROOT / file, COPY / file)
    for file in (COPY / DOMAIN).glob("*.py"):
        file.write_text(cst.parse_module(file.read_text()).visit(Undecorate()).code)


def mutmut(*arguments: str) -> str:
    """Run mutmut in the copy and return what it answers."""
    done = subprocess.run(["mutmut", *arguments], cwd=COPY, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def verdicts() -> Iterator[tuple[str, str]]:
    """Yield every mutant that was tried, and how it ended: killed, timeout, or anything else for survived."""
    for line in mutmut("results", "--all", "true").splitlines():
        name, _, verdict = line.strip().rpartition(": ")
        if verdict != "not checked":
            yield name, verdict if verdict in ("killed", "timeout") else "survived"


def main() -> int:
    """Run as told by the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="./dev mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as 'budget'; the whole domain without")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="mutants tried at once")
    options = parser.parse_args()
    copy()
    wanted = (f"rollwave.domain.{module}.*" for module in options.modules)
    subprocess.run(
        ["mutmut", "run", "--max-children", str(options.processes), *wanted], cwd=COPY, check=True, stdout=sys.stderr
    )
    found = dict(verdicts())
    for name, verdict in sorted(found.items()):
        if verdict == "survived":
            print(mutmut("show", name), flush=True)
    counts = Counter(found.values())
    # A mutant that never ends is noticed too.
    percent = 100 * (counts["killed"] + counts["timeout"]) / len(found)
    answer = {
        "mutants": len(found),
        **{verdict: counts[verdict] for verdict in ("killed", "timeout", "survived")},
        "killed_percent": round(percent, 1),
    }
    print(json.dumps(answer))
    return percent < WANTED_PERCENT


if __name__ == "__main__":
    sys.exit(main())
