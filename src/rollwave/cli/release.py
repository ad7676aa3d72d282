"""A deployment and its targets, as the API tells them: checked by type, and nothing added."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from rollwave.cli.errors import NotRollwaveError
from rollwave.domain.model import Phase, Progress, Stage, Standing  # noqa: TC001  # the same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.cli.client import Client


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a stage failed."""

    code: str
    message: str
    stage: Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One instance inside the deployment; the fields are those of the API."""

    instance: str
    server: str
    batch: int
    standing: Standing
    status: str
    attempt: int
    site: str = ""
    port: int | None = None
    stage: Stage | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    restored: bool = False
    version: str | None = None
    in_traffic: bool | None = None

    @property
    def name(self) -> str:
        """Server and port: short, and unique inside a group."""
        return f"{self.server}:{self.port}" if self.port is not None else self.server


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One batch; the fields are those of the API."""

    number: int
    canary: bool = False
    opened: bool = False
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How many may be out of traffic, and how many are."""

    eligible: int
    limit: int
    out: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A deployment without its targets; the fields are those of the API."""

    id: int
    group: str
    app: str
    kind: str
    phase: Phase
    status: str
    sentence: str
    goal_version: str
    previous_version: str | None
    batches: tuple[Batch, ...]
    available_actions: tuple[str, ...]
    created_at: datetime
    actor: str = ""
    reason: str = ""
    ended_at: datetime | None = None
    budget: Budget | None = None
    followed_by: int | None = None
    seq: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self.phase.is_final


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A deployment with its targets, both from the same moment or close to it."""

    head: Head
    targets: tuple[Target, ...]

    def by_batch(self) -> Mapping[int, Sequence[Target]]:
        """Return the targets of every batch that has any, by its number."""
        batches: defaultdict[int, list[Target]] = defaultdict(list)
        for target in self.targets:
            batches[target.batch].append(target)
        return batches


_T = TypeVar("_T")
_TARGETS: Final = tuple[Target, ...]


def load_head(client: Client, deployment_id: int) -> tuple[Head, Any]:
    """Return a deployment, as a value and as the document it came in."""
    document = client.get("deployments", deployment_id)
    return convert(client, document, Head), document


def load_release(client: Client, deployment_id: int) -> tuple[Release, dict[str, Any]]:
    """Return a deployment with its targets, as a value and as one document of both."""
    head, document = load_head(client, deployment_id)
    targets = client.get("deployments", deployment_id, "targets")
    return Release(head=head, targets=convert(client, targets, _TARGETS)), {**document, "targets": targets}


def convert(client: Client, document: object, kind: type[_T]) -> _T:
    """
    Return *document* as a *kind*.

    Raises:
        NotRollwaveError: If it is not one: something else answers, or another version of it.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise NotRollwaveError(endpoint=client.endpoint, status=200, reason=str(error)) from error
