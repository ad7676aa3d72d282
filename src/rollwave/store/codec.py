"""Values of the domain as JSON, in the event log and in columns that only the domain reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from rollwave.domain.config import DeploymentConfig
from rollwave.domain.facts import FACTS
from rollwave.domain.model import Abort, Batch, Brake, Failure
from rollwave.ports.store import StageChanged as StageChanged  # noqa: PLC0414  # what the log holds, for its readers

if TYPE_CHECKING:
    from rollwave.domain.facts import Fact

V = TypeVar("V")

STAGE_CHANGED: Final = "Transition"
"""Kind under which the log stores a `StageChanged`."""


def to_json(value: object) -> Any:
    """Return what a JSON column stores for *value*; None stays None."""
    return None if value is None else msgspec.to_builtins(value)


def from_json(stored: Any, kind: type[V]) -> V:
    """Return the value that a JSON column stores."""
    return msgspec.convert(stored, kind)


def config(stored: Any) -> DeploymentConfig:
    """Return the settings of a deployment, or of a group where only some differ from the default."""
    return from_json(stored, DeploymentConfig)


def brake(stored: Any) -> Brake | None:
    """Return the brake of a deployment; None where it has none."""
    return None if stored is None else from_json(stored, Brake)


def abort(stored: Any) -> Abort | None:
    """Return the abort of a deployment; None where there was none."""
    return None if stored is None else from_json(stored, Abort)


def batches(stored: Any) -> tuple[Batch, ...]:
    """Return the batches of a deployment."""
    return from_json(stored, tuple[Batch, ...])


def failure(stored: str) -> Failure:
    """Return the failure of a target, from its JSON text."""
    return msgspec.json.decode(stored, type=Failure)


def event(kind: str, data: str) -> Fact | StageChanged:
    """
    Return what an event of the log says.

    Raises:
        msgspec.ValidationError: If the text is not of that kind; the log was changed by hand.
    """
    wanted: Any = StageChanged if kind == STAGE_CHANGED else FACTS[kind]
    found: Fact | StageChanged = msgspec.json.decode(data, type=wanted)
    return found
