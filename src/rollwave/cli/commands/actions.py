"""What a person may do to a release that is under way."""

from typing import Annotated, Any

import typer

from rollwave.cli.arguments import DeploymentName, Key, Reason
from rollwave.cli.commands.deploy import show_plan
from rollwave.cli.lookup import find_deployment, is_id
from rollwave.cli.session import Session, command, new_key
from rollwave.domain.model import Kind

PANEL = "Steer a release"


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    for verb, help_text in _PLAIN.items():
        _register_plain(app, verb, help_text)
    command(app, "retry", rich_help_panel=PANEL)(retry)
    command(app, "raise-limit", rich_help_panel=PANEL)(raise_limit)
    command(app, "rollback", rich_help_panel=PANEL)(rollback)


_PLAIN = {
    "approve": "Let begin what somebody else has asked for; --reason says why it may.",
    "start": "Start what was planned with `deploy --no-start`.",
    "bake": "Give the verified canary production traffic.",
    "rollout": "Roll out the rest, after the bake.",
    "next": "Let the next batch go, where batches wait for a person.",
    "promote": "Approve whatever waits for a person: bake, rollout or next.",
    "brake": "Start nothing new; what is in flight finishes.",
    "resume": "Go on after a brake.",
    "abort": "Give the release up, for good; what is in flight finishes.",
}

_DONE = {
    "approve": "approved",
    "start": "started",
    "bake": "the canary goes into traffic",
    "rollout": "the rest rolls out",
    "next": "the next batch goes",
    "promote": "approved",
    "brake": "braked, nothing new starts",
    "resume": "goes on",
    "abort": "given up",
    "retry": "the failed targets run again",
    "raise_limit": "the limit is raised",
    "rollback": "rolls back",
}


DryRun = Annotated[bool, typer.Option("--dry-run", help="Say in figures what it would do, and do nothing.")]


def _register_plain(app: typer.Typer, verb: str, help_text: str) -> None:
    def run(
        session: Session, deployment: DeploymentName, *, reason: Reason = "", dry_run: DryRun = False, key: Key = None
    ) -> None:
        if dry_run:
            _foresee(session, deployment, verb)
        else:
            _act(session, deployment, verb, key, reason=reason)

    command(app, verb, help=help_text, rich_help_panel=PANEL)(run)


def retry(
    session: Session,
    deployment: DeploymentName,
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INSTANCE",
            help="Only this one (SERVER or SERVER:PORT); may be given again.",
            show_default=False,
        ),
    ] = None,
    cause: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Only those that failed for this cause, such as health.timeout.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    key: Key = None,
) -> None:
    """Run the failed targets again; good ones are proven good and skipped."""
    if dry_run:
        _foresee(session, deployment, "retry", target=target, cause=cause)
        return
    _act(session, deployment, "retry", key, reason=reason, targets=target or None, cause=cause)


def raise_limit(
    session: Session,
    deployment: DeploymentName,
    percent: Annotated[
        int,
        typer.Argument(
            metavar="PERCENT",
            min=1,
            max=50,
            help="Largest share that may be out of traffic, 1 to 50.",
            show_default=False,
        ),
    ],
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    key: Key = None,
) -> None:
    """Let a larger share of the group be out of traffic."""
    if dry_run:
        _foresee(session, deployment, "raise_limit", max_unavailable_percent=percent)
        return
    _act(session, deployment, "raise_limit", key, reason=reason, max_unavailable_percent=percent)


def rollback(
    session: Session,
    deployment: DeploymentName,
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Where to; by default the last good version.", show_default=False),
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    key: Key = None,
) -> None:
    """
    Bring a group back to its last good version: no download, two batches.

    A release that is under way is given up first; the rollback follows as soon as nothing is in flight.
    """
    if dry_run:
        if is_id(deployment) or session.client.get("deployments", group=deployment, active=True):
            _foresee(session, deployment, "rollback", version=to)
        else:
            show_plan(session, {"group": deployment, "version": to, "kind": Kind.ROLLBACK.value})
        return
    if is_id(deployment):
        _act(session, deployment, "rollback", key, reason=reason, version=to)
        return
    body = {"version": to, "reason": reason}
    document = session.client.send("POST", "groups", deployment, "rollback", key=key or new_key(), body=body)
    _tell(session, document, "rollback")


def _act(session: Session, name: str, verb: str, key: str | None, **body: object) -> None:
    deployment_id = find_deployment(session.client, name)
    said = {field: value for field, value in body.items() if value not in (None, "")}
    document = session.client.send(
        "POST", "deployments", deployment_id, "actions", verb, key=key or new_key(), body=said
    )
    _tell(session, document, verb)


def _foresee(session: Session, name: str, verb: str, **query: object) -> None:
    deployment_id = find_deployment(session.client, name)
    document = session.client.get("deployments", deployment_id, "consequences", verb, **query)
    session.output.show(document)
    for sentence in (document["title"], *document["sentences"]):
        session.output.say(sentence)
    if document["closed"]:
        session.output.say(f"not open now: {document['closed']}")


def _tell(session: Session, document: dict[str, Any], verb: str) -> None:
    session.output.show(document)
    session.output.say(what_happened(document, verb))
    if document["available_actions"]:
        names = ", ".join(action.replace("_", "-") for action in document["available_actions"])
        session.output.say(f"open now: {names}")


def what_happened(document: dict[str, Any], verb: str) -> str:
    """Return one sentence: which deployment, what was done to it, where it stands."""
    abort = document.get("abort") or {}
    where = f"{document['group']} (deployment {document['id']})"
    if document["kind"] == "rollback" and verb == "rollback":
        done = f"rolls back to {document['goal_version']}"
    elif abort.get("rollback_to") and document["followed_by"] is not None:
        done = f"given up, and followed by deployment {document['followed_by']}"
    elif abort.get("rollback_to"):
        done = f"given up; the rollback to {abort['rollback_to']} follows as soon as nothing is in flight"
    else:
        done = _DONE[verb]
    return f"{where}: {done}. {document['sentence']}"
