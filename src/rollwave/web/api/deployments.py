"""Deployments: plan, start, read, command."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Body, Header, Query, Router
from ninja import Status as Answer
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.actions import open_actions
from rollwave.domain.budget import budget_of
from rollwave.domain.commands import Approve
from rollwave.domain.model import Kind, Standing, State, Target
from rollwave.domain.said import said
from rollwave.domain.status import Status, summarize
from rollwave.store.models import FINAL_PHASES, Deployment
from rollwave.web import commands
from rollwave.web.access import Permission, of_deployment, principal_of, within
from rollwave.web.api.auth import actor_of, check_group, needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time, found, value_of
from rollwave.web.context import services
from rollwave.web.fields import Flag, Input, Rule, Settings, Version, as_json, one_of, whole
from rollwave.web.insight.gate import gate
from rollwave.web.language import in_language, language_asked
from rollwave.web.live.outlook import outlook
from rollwave.web.refusals import InvalidRequestError, MalformedRequestError, TooLargeError
from rollwave.words.language import Language
from rollwave.words.standing import status_sentence

router = Router(tags=["releases"])

BODY_ERRORS = (MalformedRequestError, InvalidRequestError, TooLargeError)
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=180)]


class BrakeOut(Output):
    """Why nothing new starts."""

    cause: str
    reason: str


class AbortOut(Output):
    """Why it is being given up, and what follows."""

    reason: str
    rollback_to: str | None = Field(description="Version to which the group is rolled back.")


class BudgetOut(Output):
    """How much of the group may be out of traffic, and how much is."""

    eligible: int
    limit: int
    out: int


class BatchOut(Output):
    """Targets that roll together."""

    number: int
    canary: bool
    opened: bool
    released: bool
    due_at: Time | None = Field(description="When its pause ends.")
    counts: dict[str, int] = Field(description="Targets by standing, and in all.")


class DeploymentBrief(Output):
    """A deployment in a list."""

    id: int
    group: str
    app: str
    kind: str
    phase: str
    status: str = Field(description="pending, running, waiting, braked, failed, aborting, aborted or succeeded.")
    sentence: str | None = Field(description="Why, in one sentence; null in a list for those that are over.")
    brake: BrakeOut | None
    abort: AbortOut | None
    goal_version: str
    previous_version: str | None
    actor: str
    reason: str
    created_at: Time
    ended_at: Time | None
    followed_by: int | None = Field(
        description="Id of the rollback that followed an abort, or of what was deployed before it could."
    )
    seq: int = Field(description="Number of its newest event.")


class GateOut(Output):
    """What verify, bake and brake say now."""

    word: str
    tone: str = Field(description="good, wait, bad or none.")
    detail: str
    until: Time | None = Field(description="When what is waited for ends.")


class DeploymentOut(DeploymentBrief):
    """A deployment with all that a person needs to decide what to do."""

    config: dict[str, Any]
    approved_by: str | None = Field(description="Who approved it, where its settings want that.")
    initial: bool = Field(description="No instance of the group was in service when it was planned.")
    counts: dict[str, int]
    budget: BudgetOut
    batches: list[BatchOut]
    bake_due_at: Time | None
    gate: GateOut
    per_minute: float | None = Field(description="Targets settled a minute of work; null before enough were.")
    eta_s: int | None = Field(description="Seconds left at this pace, pauses included; null while nobody can say.")
    available_actions: list[str]


class DeploymentIn(Input):
    """What to release, where, and how."""

    group: str
    version: Version | None = Field(default=None, description="Needed for a rollout; else null means the stable one.")
    kind: Annotated[Kind, one_of(Kind)] = Kind.ROLLOUT
    config: Settings = Field(default_factory=Settings, description="Overlays the settings of the group.")
    reason: str = ""
    start: Flag = Field(default=True, description="Start at once; false waits for the action `start`.")


_SOMETHING = {"type": "string", "pattern": r"\S"}


class Approval(Input):
    """Why it may go ahead."""

    reason: Annotated[
        str, Rule(said("why it may go ahead"), lambda why: isinstance(why, str) and why.strip(), _SOMETHING)
    ]


class ActionIn(Input):
    """What an action needs beside its name."""

    reason: str = ""
    targets: list[str] | None = Field(default=None, description="retry: only these; null for all that failed.")
    cause: str | None = Field(
        default=None, description="retry: only those that failed for this cause, the code of a failure."
    )
    max_unavailable_percent: Annotated[int, whole(1, 50)] | None = Field(
        default=None, description="raise_limit: the new share."
    )
    version: Version | None = Field(default=None, description="rollback: null for the previous stable one.")


_PLAN_ERRORS = (
    errors.NotFoundError,
    errors.InvalidValueError,
    errors.EmptyGroupError,
    errors.NoStablePackageError,
    errors.NeverReleasedError,
    *BODY_ERRORS,
)


@router.get("", auth=needs(Permission.VIEW), response=answers(InvalidRequestError, ok=list[DeploymentBrief]))
def list_deployments(  # noqa: PLR0917  # query parameters, told apart by their names
    request: HttpRequest,
    group: str | None = None,
    app: str | None = None,
    version: str | None = None,
    active: bool | None = None,  # noqa: FBT001  # a query parameter
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> list[DeploymentBrief]:
    """List deployments, the newest first: of a group, an app, to a version; *before* an id for the next page."""
    seen = within(principal_of(request), Permission.VIEW, app="group__app__name", environment="group__environment")
    rows = _rows().filter(seen)
    if group is not None:
        rows = rows.filter(group__name=group)
    if app is not None:
        rows = rows.filter(group__app__name=app)
    if version is not None:
        rows = rows.filter(goal__version=version)
    if active is not None:
        rows = rows.exclude(phase__in=FINAL_PHASES) if active else rows.filter(phase__in=FINAL_PHASES)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [DeploymentBrief(**_brief(row), **_summary(row, language_asked(request))) for row in rows[:limit]]


@router.post(
    "",
    auth=needs(Permission.OPERATE),
    response=answers(*_PLAN_ERRORS, errors.DeploymentActiveError, errors.StateConflictError, created=DeploymentOut),
)
def create_deployment(
    request: HttpRequest, body: DeploymentIn, idempotency_key: IdempotencyKey = None
) -> Answer[DeploymentOut]:
    """Plan a deployment and start it. The same Idempotency-Key with the same request does it once."""
    check_group(request, Permission.OPERATE, body.group)
    key = commands.command_key(idempotency_key, request, body)
    deployment_id = commands.repeated(key)
    if deployment_id is None:
        planned = commands.plan(
            body.group,
            kind=body.kind,
            version=body.version,
            settings=as_json(body.config, body.config.model_fields_set),
            starts=body.start,
            actor=actor_of(request),
            reason=body.reason,
        )
        deployment_id = commands.create(planned, command=key)
    return Answer(201, detail(deployment_id, language_asked(request)))


@router.get(
    "/{int:deployment_id}",
    auth=needs(Permission.VIEW, of_deployment),
    response=answers(errors.NotFoundError, InvalidRequestError, ok=DeploymentOut),
)
def read_deployment(request: HttpRequest, deployment_id: int) -> DeploymentOut:
    """Read one deployment."""
    return detail(deployment_id, language_asked(request))


@router.post(
    "/{int:deployment_id}/actions/approve",
    auth=needs(Permission.APPROVE, of_deployment),
    response=answers(
        errors.NotFoundError,
        errors.InvalidValueError,
        errors.ActionNotAllowedError,
        errors.OwnApprovalError,
        errors.StateConflictError,
        errors.IdempotencyConflictError,
        *BODY_ERRORS,
        ok=DeploymentOut,
    ),
)
def approve(
    request: HttpRequest, deployment_id: int, body: Approval, idempotency_key: IdempotencyKey = None
) -> DeploymentOut:
    """Approve what somebody else has asked for, where the group wants that; it begins at once if it was to."""
    key = commands.command_key(idempotency_key, request, body)
    services().releases.load(deployment_id)
    if commands.repeated(key) is None:
        commands.act(deployment_id, Approve(actor=actor_of(request), reason=body.reason), key=key)
    return detail(deployment_id, language_asked(request))


@router.post(
    "/{int:deployment_id}/actions/{verb}",
    auth=needs(Permission.OPERATE, of_deployment),
    response=answers(
        errors.NotFoundError,
        errors.InvalidValueError,
        errors.ActionNotAllowedError,
        errors.NoStablePackageError,
        errors.NeverReleasedError,
        errors.StateConflictError,
        errors.IdempotencyConflictError,
        *BODY_ERRORS,
        ok=DeploymentOut,
    ),
)
def act(
    request: HttpRequest,
    deployment_id: int,
    verb: str,
    body: Annotated[ActionIn, Body(default_factory=ActionIn)],
    idempotency_key: IdempotencyKey = None,
) -> DeploymentOut:
    """
    Do an action: start, bake, rollout, next, brake, resume, retry, raise_limit, abort or rollback.

    ``promote`` does whatever a person has to approve next: bake, rollout or next. An action that is closed answers 409
    and names those that are open.
    """
    key = commands.command_key(idempotency_key, request, body)
    state = services().releases.load(deployment_id).state
    # Asked last: what an accepted command has changed is never seen without its key.
    if commands.repeated(key) is None:
        command = commands.build(
            verb,
            state,
            actor=actor_of(request),
            reason=body.reason,
            targets=body.targets,
            cause=body.cause,
            max_unavailable_percent=body.max_unavailable_percent,
            version=body.version,
        )
        commands.act(deployment_id, command, key=key)
    return detail(deployment_id, language_asked(request))


def detail(deployment_id: int, language: Language = Language.ENGLISH) -> DeploymentOut:
    """Return a deployment as it stands, with its sentence in *language*; raises NotFoundError."""
    state = services().releases.load(deployment_id).state
    row = found(_rows().filter(id=deployment_id).first(), kind="deployment", name=deployment_id)
    deployment = state.deployment
    summary = summarize(state)
    budget = budget_of(state)
    per_minute, eta_s = outlook(state, services().clock.now())
    brake, abort = deployment.brake, deployment.abort
    # The row was read after the state, and may be newer: what the status goes by is of one moment.
    of_the_state = {
        "phase": deployment.phase.value,
        "brake": brake and BrakeOut(cause=brake.cause.value, reason=brake.reason),
        "abort": abort
        and AbortOut(reason=abort.reason, rollback_to=abort.rollback_to.version if abort.rollback_to else None),
    }
    return DeploymentOut(
        **_brief(row) | of_the_state,
        status=summary.status.value,
        sentence=status_sentence(summary, language),
        config=as_json(deployment.config),
        approved_by=deployment.approved_by,
        initial=deployment.initial,
        counts=counts_of(state.targets.values()),
        budget=BudgetOut(eligible=budget.eligible_count, limit=budget.limit_count, out=budget.out_count),
        batches=[
            BatchOut(
                number=batch.number,
                canary=batch.canary,
                opened=batch.opened,
                released=batch.released,
                due_at=batch.due_at,
                counts=counts_of(state.in_batch(batch.number)),
            )
            for batch in deployment.batches
        ],
        bake_due_at=deployment.bake_due_at,
        gate=_gate(state, language),
        per_minute=per_minute,
        eta_s=eta_s,
        available_actions=[action.value for action in open_actions(state)],
    )


def _gate(state: State, language: Language) -> GateOut:
    with in_language(language):
        told = gate(state)
        return GateOut(word=told.word, tone=told.tone, detail=told.detail, until=told.until)


def counts_of(targets: Iterable[Target]) -> dict[str, int]:
    """Return how many targets have each standing, and how many there are."""
    counts = Counter(target.standing for target in targets)
    return {"total": counts.total(), **{standing.value: counts[standing] for standing in Standing}}


def _rows() -> Any:
    return Deployment.objects.select_related("group__app", "goal", "previous").order_by("-id")


def _brief(row: Deployment) -> dict[str, Any]:
    return {
        "id": row.pk,
        "group": row.group.name,
        "app": row.group.app.name,
        "kind": row.kind,
        "phase": row.phase,
        "brake": row.brake and BrakeOut.model_validate(row.brake),
        "abort": row.abort and _abort(row.abort),
        "goal_version": row.goal.version,
        "previous_version": row.previous.version if row.previous else None,
        "actor": row.actor,
        "reason": row.reason,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
        "followed_by": row.followed_by_id,
        "seq": row.seq,
    }


def _abort(stored: dict[str, Any]) -> AbortOut:
    rollback_to = stored.get("rollback_to")
    return AbortOut(reason=stored["reason"], rollback_to=rollback_to and rollback_to["version"])


def _summary(row: Deployment, language: Language) -> dict[str, Any]:
    """Return status and sentence; only one that is not over is read whole, and of those a group has one at most."""
    if row.phase in FINAL_PHASES:
        status = Status.SUCCEEDED if row.phase == "success" else Status.ABORTED
        return {"status": status.value, "sentence": None}
    summary = summarize(services().releases.load(row.pk).state)
    return {"status": value_of(summary.status), "sentence": status_sentence(summary, language)}
