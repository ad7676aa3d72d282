"""
Every error that the domain raises on purpose.

One root with a stable dotted ``code``; the facts are attributes, so that a transport builds its own answer and nobody
parses prose. What is not under the root is a bug and crashes loudly.
"""

from __future__ import annotations

from typing import ClassVar

from rollwave.domain.said import Said, said


class RollwaveError(Exception):
    """
    Root of every expected error.

    Attributes:
        code: Stable, dotted, machine-readable name of the kind of error.
        facts: What the message was built from, JSON-serializable.
    """

    code: ClassVar[str] = "rollwave.error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class InvalidValueError(RollwaveError):
    """A field carries a value that is out of range or of the wrong form."""

    code = "input.invalid_value"

    def __init__(self, *, field: str, value: object, expected: Said, **facts: object) -> None:
        super().__init__(
            said("%(name)s is %(value)s; expected %(expected)s", name=field, value=repr(value), expected=expected),
            field=field,
            value=value,
            expected=expected,
            **facts,
        )


class NotFoundError(RollwaveError):
    """Something was named that does not exist."""

    code = "input.not_found"

    def __init__(self, *, kind: str, name: object, hint: str = "") -> None:
        super().__init__(f"no {kind} {name!r}" + (f"; {hint}" if hint else ""), kind=kind, name=str(name), hint=hint)


class EmptyGroupError(RollwaveError):
    """A deployment was asked for, and no instance of the group can take part."""

    code = "group.empty"

    def __init__(self, *, group: str, hint: str) -> None:
        super().__init__(f"group {group!r} has no instance to release to; {hint}", group=group, hint=hint)


class DeploymentActiveError(RollwaveError):
    """The group already has a deployment that is not finished."""

    code = "deployment.active"

    def __init__(self, *, group: str, deployment_id: int, phase: str) -> None:
        super().__init__(
            f"group {group!r} already has deployment {deployment_id} in phase {phase}; "
            f"finish it, abort it or roll it back first",
            group=group,
            deployment_id=deployment_id,
            phase=phase,
        )


class ActionNotAllowedError(RollwaveError):
    """An action was asked for that is not open now."""

    code = "deployment.action_not_allowed"

    def __init__(self, *, action: str, phase: str, reason: str, available: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"cannot {action} now: {reason}" + (f"; open now: {', '.join(available)}" if available else ""),
            action=action,
            phase=phase,
            reason=reason,
            available=list(available),
        )


class OwnApprovalError(RollwaveError):
    """Who asked for a deployment cannot approve it."""

    code = "deployment.own_approval"

    def __init__(self, *, actor: str) -> None:
        super().__init__(f"{actor} asked for it; somebody else has to approve it", actor=actor)


class NoStablePackageError(RollwaveError):
    """A rollback or a scale-out needs a package that was released with success before, and there is none."""

    code = "group.no_stable_package"

    def __init__(self, *, group: str, hint: str) -> None:
        super().__init__(f"group {group!r} has no earlier stable package; {hint}", group=group, hint=hint)


class NeverReleasedError(RollwaveError):
    """A rollback was asked for to a package that was never released to the group with success: that is a rollout."""

    code = "group.never_released"

    def __init__(self, *, group: str, version: str, possible: list[str]) -> None:
        ways = ", ".join(possible) if possible else "none, since nothing was"
        super().__init__(
            f"{version} was never released to group {group!r} with success, so it is no version to roll back to; "
            f"possible: {ways}; a rollout brings a version that is new",
            group=group,
            version=version,
            possible=possible,
        )


class StateConflictError(RollwaveError):
    """Somebody else committed first; load again and decide again."""

    code = "state.conflict"


class FencedError(RollwaveError):
    """A worker lost its slice to another; it may neither record nor start anything."""

    code = "slice.fenced"

    def __init__(self, *, deployment_id: int, slice_number: int) -> None:
        super().__init__(
            f"slice {slice_number} of deployment {deployment_id} is closed or held by another worker",
            deployment_id=deployment_id,
            slice_number=slice_number,
        )
        self.key = (deployment_id, slice_number)


class RecalledError(RollwaveError):
    """An operator held a target of this slice; look which, and let it leave."""

    code = "slice.recalled"

    def __init__(self, *, deployment_id: int, slice_number: int) -> None:
        super().__init__(
            f"targets of slice {slice_number} of deployment {deployment_id} were recalled",
            deployment_id=deployment_id,
            slice_number=slice_number,
        )
        self.key = (deployment_id, slice_number)


class CommandRepeatedError(RollwaveError):
    """A command with this key was accepted before; what it did stands."""

    code = "command.repeated"

    def __init__(self, *, key: str, deployment_id: int | None) -> None:
        super().__init__(f"command {key!r} was accepted before", key=key, deployment_id=deployment_id)
        self.deployment_id = deployment_id


class IdempotencyConflictError(RollwaveError):
    """An idempotency key was used before for another request."""

    code = "command.key_conflict"

    def __init__(self, *, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for another request; choose a new key", key=key)
