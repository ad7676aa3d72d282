"""What the API answers: read from rows and values by name."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict

from rollwave.domain.errors import NotFoundError


class Output(BaseModel):
    """One JSON object of an answer."""

    model_config = ConfigDict(from_attributes=True)


Time = datetime
"""ISO 8601 in UTC, ending in Z."""


def value_of(member: Enum | None) -> Any:
    """Return an enum's value; None stays None."""
    return None if member is None else member.value


def found(row: Any, *, kind: str, name: object, hint: str = "") -> Any:
    """Return *row*; raise NotFoundError where it is None."""
    if row is None:
        raise NotFoundError(kind=kind, name=name, hint=hint)
    return row
