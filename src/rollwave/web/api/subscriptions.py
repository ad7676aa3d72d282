"""Subscriptions over HTTP: who is told what, by which channel, and how that went."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.notify.config import KINDS
from rollwave.ports.notifier import Topic
from rollwave.store.models import Delivery, Subscription
from rollwave.web import subscriptions
from rollwave.web.access import Permission, principal_of
from rollwave.web.api.auth import needs
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.fields import Flag, Input, like, one_of
from rollwave.web.refusals import InvalidRequestError
from rollwave.web.subscriptions import Wanted
from rollwave.words.language import Language

router = Router(tags=["notifications"])

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
Kind = Annotated[str, like("|".join(KINDS), said("one of %(values)s", values=", ".join(KINDS)))]


class SubscriptionOut(Output):
    """Who is told what, and how that goes; nothing of what is secret."""

    name: str
    channel: str
    address: str = Field(description="Where it goes, as far as that is no secret.")
    person: str | None = Field(description="Whose it is; null: a team's.")
    language: str
    topics: list[str]
    groups: list[str] = Field(description="Empty: all of them.")
    apps: list[str] = Field(description="Empty: all of them.")
    environments: list[str] = Field(description="Empty: all of them.")
    enabled: bool
    disabled_reason: str = Field(description="Why it was disabled, where nobody did it.")
    failures: int = Field(description="Attempts that failed in a row.")
    failing_since: Time | None
    last_error: str
    delivered_at: Time | None


class MadeSubscription(SubscriptionOut):
    """A subscription that was just written."""

    secret: str | None = Field(description="That signs a new webhook, shown this once; null where none was made.")


class SubscriptionIn(Input):
    """A subscription as somebody wants it."""

    channel: Kind
    settings: dict[str, Any] | None = Field(
        default=None,
        description="How it is reached: url, secret, to, stream, ... (docs/notifications.md). null: as before.",
    )
    own: Flag = Field(default=False, description="One's own, for chats and e-mail; else a team's.")
    language: Annotated[Language, one_of(Language)] = Language.ENGLISH
    topics: list[Annotated[Topic, one_of(Topic)]]
    groups: list[str] = Field(default_factory=list)
    apps: list[str] = Field(default_factory=list)
    environments: list[str] = Field(default_factory=list)
    enabled: Flag = True


class DeliveryOut(Output):
    """One attempt to send a message."""

    id: int
    message_id: str = Field(description="The same at every attempt.")
    deployment: int | None = Field(description="null: it was a test.")
    first_seq: int
    until_seq: int
    events: int
    attempt: int
    at: Time
    took_ms: int
    arrived: bool
    said: str = Field(description="What the receiver said, or what went wrong.")


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[SubscriptionOut]))
def list_subscriptions(request: HttpRequest) -> list[SubscriptionOut]:
    """List one's own subscriptions, and those of teams whose releases one manages."""
    return [_shown(row) for row in subscriptions.visible(principal_of(request))]


@router.get("/{name}", auth=needs(Permission.VIEW), response=answers(NotFoundError, ok=SubscriptionOut))
def read_subscription(request: HttpRequest, name: str) -> SubscriptionOut:
    """Read one subscription."""
    return _shown(subscriptions.find(principal_of(request), name))


@router.put(
    "/{name}", auth=needs(Permission.VIEW), response=answers(InvalidValueError, *BODY_ERRORS, ok=MadeSubscription)
)
def put_subscription(request: HttpRequest, name: str, body: SubscriptionIn) -> MadeSubscription:
    """
    Make a subscription, or bring it to what is wanted. What happens from now on is told.

    A webhook without a secret gets one; this answer is the only place that shows it.
    """
    row, secret = subscriptions.put(principal_of(request), checked(name), wanted_of(body))
    return MadeSubscription(**_shown(row).model_dump(), secret=secret or None)


@router.delete("/{name}", auth=needs(Permission.VIEW), response=answers(NotFoundError) | {204: None})
def delete_subscription(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a subscription."""
    subscriptions.remove(principal_of(request), name)
    response = HttpResponse(status=204)
    # Nothing is of no type.
    del response["Content-Type"]
    return response


@router.post("/{name}/test", auth=needs(Permission.VIEW), response=answers(NotFoundError, ok=DeliveryOut))
def test_subscription(request: HttpRequest, name: str) -> DeliveryOut:
    """Send a test, wait until it has arrived or has not, and tell which."""
    return delivery(subscriptions.send_test(principal_of(request), name))


@router.get(
    "/{name}/deliveries",
    auth=needs(Permission.VIEW),
    response=answers(NotFoundError, InvalidRequestError, ok=list[DeliveryOut]),
)
def list_deliveries(
    request: HttpRequest, name: str, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[DeliveryOut]:
    """List the attempts to send something, the newest first."""
    row = subscriptions.find(principal_of(request), name)
    return [delivery(one) for one in row.deliveries.order_by("-id")[:limit]]


def checked(name: str) -> str:
    """Return *name*; raises InvalidValueError where no subscription can be called so."""
    rule = like(NAME, said("letters, digits and . _ -, at most 63"))
    if not rule.is_good(name):
        raise InvalidValueError(field="name", value=name, expected=rule.expected)
    return name


def wanted_of(body: SubscriptionIn) -> Wanted:
    """Return what a request asks for."""
    return Wanted(
        channel=body.channel,
        settings=body.settings,
        is_own=body.own,
        language=body.language,
        topics=list(dict.fromkeys(body.topics)),
        groups=body.groups,
        apps=body.apps,
        environments=body.environments,
        enabled=body.enabled,
    )


def _shown(row: Subscription) -> SubscriptionOut:
    return SubscriptionOut(
        **subscriptions.shown(row),
        disabled_reason=row.disabled_reason,
        failures=row.failures,
        failing_since=row.failing_since,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
    )


def delivery(row: Delivery) -> DeliveryOut:
    """Return an attempt as the API shows it."""
    return DeliveryOut(
        id=row.pk,
        message_id=row.message_id,
        deployment=row.deployment_id,
        first_seq=row.first_seq,
        until_seq=row.until_seq,
        events=row.events,
        attempt=row.attempt,
        at=row.at,
        took_ms=row.took_ms,
        arrived=row.arrived,
        said=row.said,
    )
