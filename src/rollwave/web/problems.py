"""Problems of an input: which place, which value, and what would be right there."""

from __future__ import annotations

import difflib
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from rollwave.domain.said import Said, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import ValidationError

_EXPECTED: Final = {
    "list_type": said("a list"),
    "string_type": said("a text"),
    "int_type": said("a whole number"),
    "bool_type": said("true or false"),
    "dict_type": said("a mapping"),
    "model_type": said("a mapping"),
    "model_attributes_type": said("a mapping"),
    "too_short": said("at least one"),
    "datetime_type": said("a time such as 2026-01-31T12:00:00Z"),
    "datetime_parsing": said("a time such as 2026-01-31T12:00:00Z"),
    "datetime_from_date_parsing": said("a time such as 2026-01-31T12:00:00Z"),
    "timezone_aware": said("a time with a time zone"),
}
"""What would be right, by pydantic's name of what is wrong; a `Rule` says it itself."""

_NOTHING: Final = {"missing"}
"""Kinds of problems where there is no value to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """
    One thing that is wrong with an input.

    Attributes:
        path: Where, for example ``groups[1].config.max_unavailable_percent``; empty for the input as a whole.
        value: What stands there; None where nothing does.
        message: What would be right, as a sentence that begins with the path.
    """

    path: str
    value: object
    message: Said

    def to_json(self) -> dict[str, object]:
        """Return it as the API shows it."""
        return {"path": self.path, "value": self.value, "message": self.message}


def wrong(path: str, value: object, message: Said) -> Problem:
    """Return the problem that what stands at *path* is none of what may: *message* says why."""
    text = said("%(path)s is %(value)s: %(message)s", path=path, value=repr(value), message=message)
    return Problem(path=path, value=value, message=text)


def path_of(location: Iterable[str | int]) -> str:
    """Return *location* as a path: names joined by dots, indexes in brackets."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name that is closest, else the names that there are."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return said("; did you mean %(name)s?", name=repr(close[0]))
    return said("; known: %(names)s", names=", ".join(names)) if names else ""


def problems_of(
    error: ValidationError, model: type[BaseModel], *, prefix: Sequence[str | int] = (), skip: int = 0
) -> list[Problem]:
    """
    Return every problem that pydantic found.

    Args:
        error: What it found.
        model: What was validated: tells which keys there are where one is unknown.
        prefix: Where in the whole input the validated part stands.
        skip: How many leading parts of a location are the framework's own and mean nothing to the client.
    """
    found = []
    for detail in error.errors(include_url=False, include_context=True):
        location = detail["loc"]
        path = path_of((*prefix, *location[skip:]))
        name = path or said("the request")
        kind, value = detail["type"], None if detail["type"] in _NOTHING else detail["input"]
        if kind == "missing":
            message = said("%(name)s is missing", name=name)
        elif kind == "extra_forbidden":
            known = _model_at(model, location[:-1]).model_fields
            message = said("%(name)s is not a known key%(hint)s", name=name, hint=did_you_mean(location[-1], known))
        else:
            expected = _EXPECTED.get(kind) or detail.get("ctx", {}).get("expected") or _of_pydantic(detail["msg"])
            message = said(
                "%(name)s is %(value)s; expected %(expected)s", name=name, value=_shown(value), expected=expected
            )
        found.append(Problem(path=path, value=value, message=message))
    return found


def _of_pydantic(message: str) -> Said:
    return said("%(reason)s", reason=message.removeprefix("Input should be "))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _model_at(model: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
