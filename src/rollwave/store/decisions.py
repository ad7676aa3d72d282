"""What of a deployment's log is in the audit log, too: what people, policies and the engine decided, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rollwave.domain import facts
from rollwave.store import audit, codec
from rollwave.store.models import Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.domain.model import Deployment

DECISIONS: Final = (
    facts.Planned,
    facts.CommandAccepted,
    facts.BakeApproved,
    facts.BakeCondemned,
    facts.Braked,
)
"""The facts that name who brought them about."""

_ACTIONS: Final[dict[type, str]] = {
    facts.Planned: "planned",
    facts.BakeApproved: "bake_approved",
    facts.BakeCondemned: "bake_condemned",
    facts.Braked: "braked",
}


def append(
    decided: Sequence[Fact], *, before: Deployment | None, after: Deployment, deployment_id: int, at: datetime
) -> None:
    """Add the decisions among *decided* to the audit log; to be called last in their transaction."""
    ours = [fact for fact in decided if isinstance(fact, DECISIONS)]
    if ours:
        audit.append(list(_entries(ours, before=before, after=after, deployment_id=deployment_id, at=at)))


def _entries(
    ours: Iterable[Any], *, before: Deployment | None, after: Deployment, deployment_id: int, at: datetime
) -> Iterable[audit.Entry]:
    group = Group.objects.select_related("app").get(name=after.group)
    for fact in ours:
        yield audit.Entry(
            at=at,
            actor=fact.actor,
            action=f"deployment.{action_of(fact)}",
            subject=f"deployment/{deployment_id}",
            reason=getattr(fact, "reason", ""),
            app=group.app.name,
            environment=group.environment,
            group=group.name,
            data={
                "kind": type(fact).__name__,
                "fact": _told(fact),
                "before": None if before is None else _standing(before),
                "after": _standing(after),
            },
        )


def action_of(fact: Any) -> str:
    """Return the word for a decision: the action that was asked for, or what the engine decided."""
    return str(fact.action.value) if isinstance(fact, facts.CommandAccepted) else _ACTIONS[type(fact)]


def _standing(deployment: Deployment) -> dict[str, Any]:
    """Return what a decision may have changed of a deployment."""
    return {
        "phase": deployment.phase.value,
        "brake": codec.to_json(deployment.brake),
        "abort": codec.to_json(deployment.abort),
        "max_unavailable_percent": deployment.config.max_unavailable_percent,
    }


def _told(fact: Any) -> Any:
    """Return a fact as JSON values; of the batches of a plan, only how large they are."""
    told = codec.to_json(fact)
    return told | {"batches": [len(batch) for batch in fact.batches]} if isinstance(fact, facts.Planned) else told


def fact_of(kind: str, told: dict[str, Any]) -> Fact:
    """Return the fact that an entry was made of; instances of a plan have no names any more."""
    if kind == facts.Planned.__name__:
        told = told | {"batches": [[0] * size for size in told["batches"]]}
    found: Fact = codec.from_json(told, facts.FACTS[kind])
    return found
