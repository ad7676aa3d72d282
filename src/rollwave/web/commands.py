"""Commands of people: each reaches the engine's use cases at most once, whoever asks again (I22)."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from structlog.contextvars import bind_contextvars

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions, retryable
from rollwave.domain.commands import Action
from rollwave.domain.config import RANGES
from rollwave.domain.errors import (
    ActionNotAllowedError,
    InvalidValueError,
    NoStablePackageError,
    NotFoundError,
)
from rollwave.domain.model import BrakeCause, Kind, PackageRef
from rollwave.domain.said import said
from rollwave.ports.store import CommandKey
from rollwave.store import audit
from rollwave.store.models import FINAL_PHASES, Deployment, Group, Package
from rollwave.web import access
from rollwave.web.context import services
from rollwave.web.fields import merged, whole
from rollwave.web.lineage import Holder, check_other
from rollwave.web.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest
    from pydantic import BaseModel

    from rollwave.domain.commands import Command
    from rollwave.domain.facts import Planned
    from rollwave.domain.model import Instance, State, Target

PROMOTE: Final = "promote"
"""Whatever a person has to approve next."""

NO_CAUSE: Final = "none"
"""Stands for the cause where there was no failure."""

_PROMOTIONS: Final = (Action.BAKE, Action.ROLLOUT, Action.NEXT)

_PLAIN: Final[Mapping[Action, type[cmd.Approve | cmd.Start | cmd.Bake | cmd.RollOut | cmd.NextBatch | cmd.Resume]]] = (
    MappingProxyType(
        {
            Action.APPROVE: cmd.Approve,
            Action.START: cmd.Start,
            Action.BAKE: cmd.Bake,
            Action.ROLLOUT: cmd.RollOut,
            Action.NEXT: cmd.NextBatch,
            Action.RESUME: cmd.Resume,
        }
    )
)
"""Commands that need nothing but who and why."""


def command_key(key: str | None, request: HttpRequest, body: BaseModel | None) -> CommandKey | None:
    """Return what makes this request happen at most once; None where the client named no key."""
    if key is None:
        return None
    actor = access.principal_of(request).name
    content = "" if body is None else body.model_dump_json(exclude_unset=True)
    parts = "\n".join((actor, str(request.method), request.path, content))
    return CommandKey(key=key, digest=hashlib.sha256(parts.encode()).hexdigest())


def repeated(command: CommandKey | None) -> int | None:
    """
    Return the deployment that a command with this key was about; None where the key is new.

    Raises:
        IdempotencyConflictError: If the key stands for another request.
    """
    return None if command is None else services().store.accepted(command)


def plan(
    group: str,
    *,
    kind: Kind,
    version: str | None,
    settings: Mapping[str, object],
    starts: bool,
    actor: str,
    reason: str,
) -> Planned:
    """
    Return the plan of a deployment by the group's settings, overlaid by *settings*; nothing is recorded.

    Raises:
        NotFoundError: If there is no such group or package.
        InvalidValueError: If a rollout names no version.
        NoStablePackageError, NeverReleasedError, EmptyGroupError: See `Releases.plan`.
    """
    row = _group(group)
    if version is None and kind is Kind.ROLLOUT:
        raise InvalidValueError(field="version", value=None, expected=said("the version to release"))
    config = merged(row.config, settings)
    if not config.requires_approval and merged(row.config).requires_approval:
        raise InvalidValueError(
            field="config.requires_approval", value=False, expected=said("true, which the group asks for, or nothing")
        )
    return services().releases.plan(
        group,
        kind=kind,
        config=config,
        goal=None if version is None else package_ref(row.app.name, version),
        starts=starts,
        actor=actor,
        reason=reason,
    )


def create(planned: Planned, *, command: CommandKey | None) -> int:
    """Record a plan as a deployment; return its id. Raises what `Releases.create` raises."""
    rollwave = services()
    deployment_id = rollwave.releases.create(planned, now=rollwave.clock.now(), command=command)
    bind_contextvars(deployment=deployment_id)
    return deployment_id


def act(deployment_id: int, command: Command, *, key: CommandKey | None) -> None:
    """
    Do *command*, unless it was done before under this key.

    Raises:
        OwnApprovalError: For an approval by whoever asked, or by a token that one of them made.
        RollwaveError: What `Releases.act` raises.
    """
    rollwave = services()
    bind_contextvars(deployment=deployment_id)
    if isinstance(command, cmd.Approve):
        check_other(deployment_id, Holder(command.actor, audit.origin.get().token))
    rollwave.releases.act(deployment_id, command, now=rollwave.clock.now(), command=key)


def build(
    verb: str,
    state: State,
    *,
    actor: str,
    reason: str,
    targets: Sequence[str] | None,
    max_unavailable_percent: int | None,
    version: str | None,
    cause: str | None = None,
) -> Command:
    """
    Return the command that *verb* names.

    Raises:
        NotFoundError: If there is no such verb or package.
        InvalidValueError: If a value is missing, or names a target that cannot be retried.
        ActionNotAllowedError: If nothing waits to be promoted.
        NoStablePackageError: If there is no package to roll back to.
    """
    action = action_named(verb, state)
    match action:
        case Action.BRAKE:
            return cmd.ApplyBrake(cause=BrakeCause.OPERATOR, actor=actor, reason=reason)
        case Action.RETRY:
            return cmd.Retry(instance_ids=retried(state, targets, cause), actor=actor, reason=reason)
        case Action.RAISE_LIMIT:
            if max_unavailable_percent is None:
                field = "max_unavailable_percent"
                raise InvalidValueError(field=field, value=None, expected=whole(*RANGES[field]).expected)
            return cmd.RaiseLimit(max_unavailable_percent=max_unavailable_percent, actor=actor, reason=reason)
        case Action.ABORT:
            return cmd.GiveUp(actor=actor, reason=reason)
        case Action.ROLLBACK:
            return cmd.GiveUp(rollback_to=_rollback_goal(state, version), actor=actor, reason=reason)
    return _PLAIN[action](actor=actor, reason=reason)


def action_named(verb: str, state: State) -> Action:
    """Return the action that *verb* names now; raises NotFoundError, and ActionNotAllowedError where nothing waits."""
    if verb == PROMOTE:
        return _promotion(state)
    verbs = [one.value for one in Action]
    if verb not in verbs:
        raise NotFoundError(kind="action", name=verb, hint=did_you_mean(verb, [*verbs, PROMOTE]).removeprefix("; "))
    return Action(verb)


def retried(state: State, names: Sequence[str] | None, cause: str | None) -> frozenset[int] | None:
    """
    Return the instances that a retry of targets by *names*, by *cause* or both runs again; None for all that failed.

    Raises:
        InvalidValueError: If a name or the cause is of nothing that can be retried.
    """
    if names is None and cause is None:
        return None
    failed = [target for target in retryable(state) if cause is None or cause_of(target) == cause]
    if not failed and cause is not None:
        known = sorted({cause_of(target) for target in retryable(state)})
        expected = said("a cause that targets failed for: %(names)s", names=", ".join(known) or said("none"))
        raise InvalidValueError(field="cause", value=cause, expected=expected)
    instances = [state.fleet[target.instance_id] for target in failed]
    if names is None:
        return frozenset(one.id for one in instances)
    wanted = set()
    for name in names:
        matching = {one.id for one in instances if _is_called(one, name)}
        if not matching:
            expected = said(
                "targets that failed: %(names)s", names=", ".join(one.name for one in instances) or said("none")
            )
            raise InvalidValueError(field="targets", value=name, expected=expected)
        wanted |= matching
    return frozenset(wanted)


def names_of(state: State, wanted: Sequence[str]) -> list[str]:
    """Return the full names of the instances that somebody calls so: by name, by server and port, or by server."""
    return [one.name for one in state.fleet.values() if any(_is_called(one, name) for name in wanted)]


def _is_called(instance: Instance, name: str) -> bool:
    return name in (instance.name, instance.name.split("/", 1)[-1], instance.server)


def roll_back_group(group: str, *, version: str | None, actor: str, reason: str, command: CommandKey | None) -> int:
    """
    Roll a group back by whatever is right; return the deployment that rolls back, or the one that ends before it.

    Raises:
        NotFoundError: If there is no such group or package.
        NoStablePackageError: If no version is named and none is known to be good.
        NeverReleasedError: If the version was never released to the group with success.
        ActionNotAllowedError: If the active deployment is being given up already.
    """
    row = _group(group)
    active = Deployment.objects.filter(group=row).exclude(phase__in=FINAL_PHASES).values_list("id", flat=True).first()
    # Asked last: what an accepted command has changed is never seen without its key.
    earlier = repeated(command)
    if earlier is not None:
        return earlier
    if active is None:
        planned = plan(group, kind=Kind.ROLLBACK, version=version, settings={}, starts=True, actor=actor, reason=reason)
        return create(planned, command=command)
    goal = _rollback_goal(services().releases.load(active).state, version)
    act(active, cmd.GiveUp(rollback_to=goal, actor=actor, reason=reason), key=command)
    return active


def package_ref(app: str, version: str) -> PackageRef:
    """
    Return a package of *app*.

    Raises:
        NotFoundError: If there is no such package; names versions that are close.
    """
    row = Package.objects.filter(app__name=app, version=version).values_list("id", flat=True).first()
    if row is None:
        newest = Package.objects.filter(app__name=app).values_list("version", flat=True)[:20]
        hint = did_you_mean(version, newest).removeprefix("; ") or f"no version of {app} was pushed yet"
        raise NotFoundError(kind="package", name=f"{app} {version}", hint=hint)
    return PackageRef(id=row, version=version)


def _group(name: str) -> Group:
    row = Group.objects.select_related("app").filter(name=name).first()
    if row is None:
        hint = did_you_mean(name, Group.objects.values_list("name", flat=True)).removeprefix("; ")
        raise NotFoundError(kind="group", name=name, hint=hint)
    return row


def _promotion(state: State) -> Action:
    available = open_actions(state)
    action = next((one for one in _PROMOTIONS if one in available), None)
    if action is None:
        raise ActionNotAllowedError(
            action=PROMOTE,
            phase=state.deployment.phase.value,
            reason=said("nothing waits to be promoted"),
            available=tuple(one.value for one in available),
        )
    return action


def cause_of(target: Target) -> str:
    """Return why a target failed: the code of its failure; `NO_CAUSE` where it has none, since it left the plan."""
    return target.failure.code if target.failure else NO_CAUSE


def _rollback_goal(state: State, version: str | None) -> PackageRef:
    deployment = state.deployment
    if version is not None:
        return package_ref(_group(deployment.group).app.name, version)
    if deployment.previous is None:
        raise NoStablePackageError(group=deployment.group, hint="name the version to go back to, or abort")
    return deployment.previous
