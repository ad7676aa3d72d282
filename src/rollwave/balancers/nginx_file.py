"""
The file of one pool of nginx: an ordinary ``upstream`` block, in which Rollwave switches ``down`` on and off.

What else stands in the block stays as it is. Below it Rollwave keeps a tiny server that names the generation: what
nginx answers there is what it has loaded.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK: Final = "# Kept by Rollwave, which reads here what nginx has loaded. Nothing below is yours."
"""The line that ends what people may edit."""

GENERATION_PATH: Final = "/rollwave/generation"
"""Where the tiny server names the generation."""

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What a pool may be called: it becomes a file, an upstream and a server name."""

DIAL: Final = re.compile(r"[A-Za-z0-9_.:\[\]-]+:[0-9]+")
"""What an address may look like: nothing that could end a directive."""

_SERVER: Final = re.compile(r"^(?P<head>\s*server\s+)(?P<dial>[^\s;]+)(?P<options>[^;#]*);(?P<rest>.*)$")

_NOBODY: Final = "  # nobody is in traffic: clients get 503"


class PoolFileError(ValueError):
    """The file is not what it has to be; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolFile:
    """
    The content of one file.

    Attributes:
        pool: Name of the pool.
        body: All above the mark, which is what people and Rollwave edit.
        written: The generation that the file names, "" where it names none.
    """

    pool: str
    body: str
    written: str

    @classmethod
    def parse(cls, pool: str, text: str) -> PoolFile:
        """
        Read *text*.

        Raises:
            PoolFileError: If there is no block ``upstream <pool>`` in it that can be edited.
        """
        body, _, rest = text.partition(MARK)
        named = re.search(rf'return 200 "{re.escape(pool)} ([0-9a-f]+)', rest)
        read = cls(pool=pool, body=body.rstrip() + "\n", written=named[1] if named else "")
        read._block()
        return read

    @property
    def generation(self) -> str:
        """What names this very content."""
        return hashlib.sha256(self.body.encode()).hexdigest()[:16]

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody else has changed it since Rollwave wrote it, or Rollwave never did."""
        return self.written != self.generation

    @property
    def dials(self) -> frozenset[str]:
        """The addresses in traffic."""
        begin, end = self._block()
        found = (_SERVER.match(line) for line in self.body.splitlines()[begin:end])
        return frozenset(
            one["dial"] for one in found if one and not _is_down(one["options"]) and one["rest"] != _NOBODY
        )

    def with_members(self, wanted: Mapping[str, bool], *, status: str) -> PoolFile:
        """
        Return it with the addresses in *wanted* in (True) or out of traffic.

        Who goes out keeps its line, so that its options are there when it comes back. Who is in gets a line where there
        is none. *status* stands in where nobody is left, since nginx would answer 502 instead of 503.
        """
        begin, end = self._block()
        lines = self.body.splitlines()
        block, seen = list[str](), set[str]()
        for line in lines[begin:end]:
            one = _SERVER.match(line)
            if one and one["rest"] == _NOBODY:
                continue
            if one and one["dial"] in wanted:
                seen.add(one["dial"])
                line = _switched(one, is_in=wanted[one["dial"]])  # noqa: PLW2901  # the line that takes its place
            block.append(line)
        block += [f"    server {dial};" for dial, is_in in wanted.items() if is_in and dial not in seen]
        after = _with_body(self, [*lines[:begin], *block, *lines[end:]])
        if after.dials:
            return after
        return _with_body(self, [*lines[:begin], *block, f"    server {status};{_NOBODY}", *lines[end:]])

    def render(self, *, status: str) -> str:
        """Return the text to write, whose tiny server listens on *status*."""
        return (
            f"{self.body}\n{MARK}\n"
            f"server {{\n    listen {status};\n    server_name {self.pool};\n    access_log off;\n"
            f'    location = {GENERATION_PATH} {{ return 200 "{self.pool} {self.generation}"; }}\n'
            f"    location / {{ return 503; }}\n}}\n"
        )

    def _block(self) -> tuple[int, int]:
        """Return where the lines within the upstream block begin and end."""
        lines = self.body.splitlines()
        opens = re.compile(rf"\s*upstream\s+{re.escape(self.pool)}\s*\{{\s*(#.*)?$")
        begin = next((number + 1 for number, line in enumerate(lines) if opens.match(line)), None)
        if begin is None:
            raise PoolFileError(f'it has no line "upstream {self.pool} {{"')
        end = next((begin + number for number, line in enumerate(lines[begin:]) if line.strip().startswith("}")), None)
        if end is None:
            raise PoolFileError(f'no line with "}}" ends its upstream {self.pool}')
        crowded = [line.strip() for line in lines[begin:end] if "server" in line.partition("#")[0].partition(";")[2]]
        if crowded:
            raise PoolFileError(f"each server of its upstream needs a line of its own: {crowded[0]!r}")
        return begin, end


def _is_down(options: str) -> bool:
    return "down" in options.split()


def _switched(line: re.Match[str], *, is_in: bool) -> str:
    options = [word for word in line["options"].split() if word != "down"]
    words = " ".join([line["dial"], *options, *([] if is_in else ["down"])])
    return f"{line['head']}{words};{line['rest']}"


def _with_body(before: PoolFile, lines: list[str]) -> PoolFile:
    body = "\n".join(lines) + "\n"
    return PoolFile(pool=before.pool, body=body, written=before.written)
