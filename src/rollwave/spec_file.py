"""A spec as a person wrote it: YAML that remembers where everything stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from rollwave.domain.said import Said, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ruamel.yaml.error import StringMark
    from ruamel.yaml.nodes import Node

_TAG: Final = "tag:yaml.org,2002:"
_TEXT_TAGS: Final = frozenset({f"{_TAG}str", f"{_TAG}timestamp"})
"""A date is the text that was written: JSON has no dates."""

DEEPEST: Final = 40
"""Levels of mappings and lists: a spec needs six, and reading goes down step by step."""

MOST_REPEATS: Final = 10_000
"""Values that aliases may repeat in all: aliases of aliases would make gigabytes of some hundred characters."""

LONGEST_PATH: Final = 500
"""Characters of a path: it is noted for every value below it."""

_VALUE_TAGS: Final = frozenset({f"{_TAG}{name}" for name in ("int", "float", "bool", "null")})


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """
    Where something stands in the file.

    Attributes:
        line: From 1.
        column: From 1.
        length: Characters to underline, at least 1.
    """

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecProblem:
    """
    One mistake and its place.

    Attributes:
        message: What is wrong, and what would be right; `Said` where this module or the server's own process says it.
        place: Where.
        path: The place in the document, such as ``groups[1].config``; empty where YAML itself is broken.
    """

    message: str
    place: Place
    path: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """
    What a file says.

    Attributes:
        document: The content, JSON-serializable; None where the file cannot be read as YAML at all.
        problems: Mistakes in the YAML, in the order of the file.
        places: Place of every key and every list item by its path.
    """

    document: Any
    problems: tuple[SpecProblem, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)

    def place_of(self, path: str) -> Place:
        """Return the place of *path*, or of the closest thing around it that is there: a missing key has no place."""
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, Place(line=1, column=1))

    def placed(self, found: Iterable[tuple[str, str]]) -> list[SpecProblem]:
        """Return problems that somebody else found, as path and message, at their places, in the order of the file."""
        problems = [SpecProblem(message=message, place=self.place_of(path), path=path) for path, message in found]
        return sorted(problems, key=lambda one: (one.place.line, one.place.column))


def read_spec(text: str) -> Spec:
    """Return what *text* says, with every mistake in it; never raises for a mistake of the writer."""
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    try:
        root = yaml.compose(text)
    except MaxDepthExceededError as error:
        message = said("this is nested too deep; a spec has at most %(levels)s levels", levels=DEEPEST)
        return Spec(document=None, problems=(SpecProblem(message=message, place=_place_of_mark(error.problem_mark)),))
    except MarkedYAMLError as error:
        return Spec(document=None, problems=(_syntax_problem(error),))
    except ReaderError as error:
        return Spec(document=None, problems=(_character_problem(error, text),))
    except YAMLError as error:
        return Spec(
            document=None,
            problems=(
                SpecProblem(message=said("this is not YAML: %(reason)s", reason=error), place=Place(line=1, column=1)),
            ),
        )
    reader = _Reader(yaml)
    try:
        document = None if root is None else reader.read(root, path="", around=())
    except _TooMuchError as error:
        return Spec(document=None, problems=(error.problem,))
    if document is None:
        document = {}
    if not isinstance(document, dict):
        reader.complain(said("a spec is a mapping with keys such as `apps`, `servers` and `groups`"), root)
    problems = sorted(reader.problems, key=lambda one: (one.place.line, one.place.column))
    return Spec(document=document, problems=tuple(problems), places=reader.places)


class _TooMuchError(Exception):
    """The text stands for more than is read."""

    def __init__(self, problem: SpecProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Reader:
    """One walk over the nodes: values, places and problems."""

    def __init__(self, yaml: YAML) -> None:
        self.places: dict[str, Place] = {}
        self.problems: list[SpecProblem] = []
        self._construct = yaml.constructor.construct_object
        self._seen: set[int] = set()
        self._repeats = 0
        self._repeated = 0
        # What an alias repeats stands where its anchor does: this is the last place outside of all of them.
        self._reached = Place(line=1, column=1)

    def complain(self, message: Said, node: Node, *, path: str = "") -> None:
        """Note a problem at *node*."""
        self.problems.append(SpecProblem(message=message, place=_place(node.start_mark, node.end_mark), path=path))

    def read(self, node: Node, *, path: str, around: tuple[int, ...]) -> Any:
        """Return the value of *node*, which stands inside the nodes *around*."""
        if id(node) in around:
            self.complain(said("%(path)s contains itself", path=path), node, path=path)
            return None
        if id(node) in self._seen:
            return self._again(node, path, around)
        self._seen.add(id(node))
        return self._value(node, path, around)

    def _again(self, node: Node, path: str, around: tuple[int, ...]) -> Any:
        self._repeats += 1
        if self._repeats > MOST_REPEATS:
            message = said(
                "aliases (*) repeat more than %(most)s values up to here; write out what is meant",
                most=f"{MOST_REPEATS:,}",
            )
            raise _TooMuchError(SpecProblem(message=message, place=self._reached, path=path))
        self._repeated += 1
        value = self._value(node, path, around)
        self._repeated -= 1
        return value

    def _value(self, node: Node, path: str, around: tuple[int, ...]) -> Any:
        inside = (*around, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, SequenceNode):
            return [self._item(item, f"{path}[{index}]", inside) for index, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: str, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag == f"{_TAG}merge":
                is_merge = isinstance(key, ScalarNode)
                self.complain(
                    said("merge keys (<<) are not supported; write the keys out")
                    if is_merge
                    else said("a key is a plain text"),
                    key,
                    path=path,
                )
                continue
            name = key.value
            inner = f"{path}.{name}" if path else name
            if len(inner) > LONGEST_PATH:
                message = said(
                    "%(path)s… has %(count)s characters; a path has at most %(most)s",
                    path=inner[:40],
                    count=f"{len(inner):,}",
                    most=LONGEST_PATH,
                )
                self.complain(message, key, path=path)
                continue
            if name in first_lines:
                self.complain(
                    said("%(path)s is there twice; the first is on line %(line)s", path=inner, line=first_lines[name]),
                    key,
                    path=inner,
                )
                continue
            first_lines[name] = key.start_mark.line + 1
            is_beside = isinstance(value, ScalarNode) and value.end_mark.line == key.start_mark.line
            self.places[inner] = _place(key.start_mark, value.end_mark if is_beside else key.end_mark)
            self._reach(inner)
            result[name] = self.read(value, path=inner, around=inside)
        return result

    def _item(self, node: Node, path: str, inside: tuple[int, ...]) -> Any:
        self.places[path] = _place(node.start_mark, node.end_mark)
        if id(node) not in self._seen:
            self._reach(path)
        return self.read(node, path=path, around=inside)

    def _reach(self, path: str) -> None:
        if not self._repeated:
            self._reached = self.places[path]

    def _scalar(self, node: ScalarNode, path: str) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _VALUE_TAGS:
            self.complain(
                said("%(path)s: the tag %(tag)s is not supported", path=path, tag=str(node.tag).replace(_TAG, "!!")),
                node,
                path=path,
            )
            return None
        try:
            value = self._construct(node, deep=True)
        except (YAMLError, ValueError) as error:
            self.complain(
                said(
                    "%(path)s is %(value)s, which cannot be read: %(error)s",
                    path=path,
                    value=repr(node.value),
                    error=error,
                ),
                node,
                path=path,
            )
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.complain(
                said("%(path)s is %(value)s; expected a finite number", path=path, value=node.value), node, path=path
            )
            return None
        return value


def _place(start: StringMark, end: StringMark) -> Place:
    # Something longer than a line is underlined by its first character.
    length = end.column - start.column if end.line == start.line else 1
    return Place(line=start.line + 1, column=start.column + 1, length=max(1, length))


def _syntax_problem(error: MarkedYAMLError) -> SpecProblem:
    message = " ".join(part for part in (error.context, error.problem) if part)
    place = _place_of_mark(error.problem_mark or error.context_mark)
    return SpecProblem(message=said("this is not YAML: %(reason)s", reason=message), place=place)


def _place_of_mark(mark: StringMark | None) -> Place:
    return Place(line=mark.line + 1, column=mark.column + 1) if mark else Place(line=1, column=1)


def _character_problem(error: ReaderError, text: str) -> SpecProblem:
    before = text[: error.position]
    place = Place(line=before.count("\n") + 1, column=len(before) - (before.rfind("\n") + 1) + 1)
    return SpecProblem(
        message=said("this is not YAML: %(reason)s (U+%(code)s)", reason=error.reason, code=f"{error.character:04X}"),
        place=place,
    )
