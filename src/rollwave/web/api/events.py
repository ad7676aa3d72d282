"""The event log of a deployment over HTTP."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router
from pydantic import Field

from rollwave.domain.errors import NotFoundError
from rollwave.store.models import Deployment
from rollwave.web import stream
from rollwave.web.access import Permission, of_deployment
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time, found
from rollwave.web.context import bell, services
from rollwave.web.json_text import encode
from rollwave.web.language import language_asked
from rollwave.web.refusals import InvalidRequestError, MalformedRequestError
from rollwave.web.typed import number

router = Router(tags=["releases"])

_EVENT_STREAM = "text/event-stream"


class EventOut(Output):
    """One change of a deployment."""

    seq: int = Field(description="From 1 and without a gap.")
    at: Time
    kind: str = Field(description="Name of the fact; Transition for one stage of one target.")
    instance: str | None = Field(description="For a Transition: whose stage.")
    data: dict[str, Any] = Field(description="The fact itself; of a Transition, `lines` are what the stage did.")
    sentence: str = Field(description="The fact for a person.")


@router.get(
    "/{int:deployment_id}/events",
    auth=needs(Permission.VIEW, of_deployment),
    response=answers(NotFoundError, MalformedRequestError, InvalidRequestError, ok=list[EventOut]),
    openapi_extra={
        "responses": {200: {"content": {_EVENT_STREAM: {"schema": {"type": "string"}}}}},
        "parameters": [
            {
                "in": "header",
                "name": "Last-Event-ID",
                "schema": {"type": "integer"},
                "required": False,
                "description": "Wins over `since`; browsers send it when they open a stream again.",
            }
        ],
    },
)
def read_events(
    request: HttpRequest,
    deployment_id: int,
    since: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = stream.PAGE,
) -> HttpResponse | StreamingHttpResponse:
    """
    Read the events after *since*, oldest first.

    With ``Accept: text/event-stream`` the answer is a stream that goes on until the deployment is over: ``id`` is seq,
    ``event`` is the kind, ``data`` is the event as JSON; the last one is ``event: end``.
    """
    found(Deployment.objects.filter(id=deployment_id).first(), kind="deployment", name=deployment_id)
    since, language = _last_event_id(request, since), language_asked(request)
    if _EVENT_STREAM not in request.headers.get("Accept", ""):
        events = stream.page(deployment_id, since=since, limit=limit, language=language)
        return HttpResponse(encode(events), content_type="application/json")
    rollwave = services()
    events_ahead = stream.follow(
        deployment_id,
        since=since,
        bell=bell,
        stopping=rollwave.stopping,
        offload=rollwave.offload,
        language=language,
    )
    # A proxy that gathers an answer before it passes it on would make a live stream a dead one.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events_ahead, content_type=_EVENT_STREAM, headers=headers)


def _last_event_id(request: HttpRequest, since: int) -> int:
    given = request.headers.get("Last-Event-ID")
    if given is None:
        return since
    last = number(given, digits=18)
    if last is None:
        raise MalformedRequestError(reason=f"Last-Event-ID is {given!r}, not a number", field="Last-Event-ID")
    return last
