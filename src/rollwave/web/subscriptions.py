"""Subscriptions: who is told what. One way for API, pages and specs to read and to change them."""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from msgspec import Struct, to_builtins

from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.notify.config import from_sealed, read_config, reason_of, sealed_form
from rollwave.ports.notifier import ChannelError, Message, Topic
from rollwave.store import audit, outbox, topics
from rollwave.store.models import App, Group, Subscription
from rollwave.store.sealing import SealBrokenError, seal, unseal
from rollwave.web.access import EVERY, Permission, Place, Principal, check, may
from rollwave.web.context import services
from rollwave.web.problems import Problem
from rollwave.web.refusals import ForbiddenError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.store.models import Delivery
    from rollwave.words.language import Language

TEST_TIMEOUT_S: Final = 12.0


class Wanted(Struct, frozen=True, kw_only=True):
    """
    A subscription as somebody wants it.

    Attributes:
        channel: Kind of channel.
        settings: How it is reached; None: as before. Secrets that it does not name stay.
        keeps: What *settings* does not name stays, too, as long as it is reached by the same channel.
        is_own: It is that of the person who asks, and no team's.
        language: What its readers read.
        topics: Kinds of events.
        groups, apps, environments: Names; none: all of them.
        enabled: Whether anything is sent.
    """

    channel: str
    settings: Mapping[str, Any] | None
    is_own: bool
    language: Language
    topics: Sequence[Topic]
    groups: Sequence[str] = ()
    apps: Sequence[str] = ()
    environments: Sequence[str] = ()
    enabled: bool = True
    keeps: bool = False


def visible(principal: Principal) -> list[Subscription]:
    """Return the subscriptions that *principal* may see: their own, and those whose releases they manage."""
    return [row for row in Subscription.objects.all() if _is_own(row, principal) or _manages(row, principal)]


def find(principal: Principal, name: str) -> Subscription:
    """Return one that *principal* may see; raises NotFoundError, for what is not there and for what is not theirs."""
    row = Subscription.objects.filter(name=name).first()
    if row is None or not (_is_own(row, principal) or _manages(row, principal)):
        raise NotFoundError(kind="subscription", name=name)
    return row


def put(principal: Principal, name: str, wanted: Wanted) -> tuple[Subscription, str]:
    """
    Make a subscription, or bring it to what is wanted.

    Returns:
        It, and the secret of a new webhook that came without one; else nothing. Nobody can read that again.

    Raises:
        InvalidValueError, InvalidRequestError: If something cannot be used; names the field.
        ForbiddenError: If *principal* may not read what it tells, or a team's is not theirs to manage.
    """
    _check_names(wanted)
    places = places_of(wanted.groups, wanted.apps, wanted.environments)
    if wanted.is_own and wanted.channel in topics.FOR_SYSTEMS:
        raise InvalidValueError(
            field="channel",
            value=wanted.channel,
            expected=said("a chat or email: channels of systems belong to a team"),
        )
    if wanted.is_own and principal.user_id is None:
        raise InvalidValueError(field="own", value=True, expected=said("false: this token is nobody's"))
    check(principal, Permission.VIEW if wanted.is_own else Permission.MANAGE, places)
    with transaction.atomic():
        row = Subscription.objects.select_for_update().filter(name=name).first()
        if row is not None and not (_is_own(row, principal) or _manages(row, principal)):
            raise ForbiddenError(actor=principal.name, permission=Permission.MANAGE.value)
        return _written(principal, row, name, wanted)


def _written(principal: Principal, row: Subscription | None, name: str, wanted: Wanted) -> tuple[Subscription, str]:
    now = services().clock.now()
    before = shown(row) if row else {}
    is_new = row is None
    row = row or Subscription(name=name, created_at=now, due_at=now)
    secret = _set_channel(row, wanted, is_new=is_new)
    starts = wanted.enabled and (is_new or not row.enabled)
    row.person = principal.name if wanted.is_own else ""
    row.language = wanted.language.value
    row.topics = [topic.value for topic in wanted.topics]
    row.groups, row.apps, row.environments = list(wanted.groups), list(wanted.apps), list(wanted.environments)
    if starts or not wanted.enabled:
        row.failures, row.failing_since, row.disabled_reason, row.last_error, row.due_at = 0, None, "", "", now
    row.enabled = wanted.enabled
    row.save()
    if starts:
        outbox.adopt(row, now=now, from_now_on=True)
    else:
        outbox.choose_again(row)
    action = "subscription.create" if is_new else "subscription.update"
    data = {"before": before, "after": shown(row)}
    audit.append([_entry(principal, row, action, now=now, data=data)])
    return row, secret


def remove(principal: Principal, name: str) -> None:
    """Remove a subscription with its deliveries; raises NotFoundError."""
    row = find(principal, name)
    before = shown(row)
    with transaction.atomic():
        row.delete()
        now = services().clock.now()
        audit.append([_entry(principal, row, "subscription.delete", now=now, data={"before": before})])


def send_test(principal: Principal, name: str) -> Delivery:
    """Send a test, wait for what comes of it, and return that; raises NotFoundError."""
    row = find(principal, name)
    rollwave = services()
    began = rollwave.clock.now()
    message = Message(
        id=f"test_{secrets.token_hex(8)}",
        subscription=row.name,
        release=None,
        events=(),
        names={},
        language=row.language,
        at=began,
    )
    try:
        channel = rollwave.channels.open(unseal(row.sealed))
        said, arrived = asyncio.run(asyncio.wait_for(channel.send(message), TEST_TIMEOUT_S)), True
    except ChannelError as error:
        said, arrived = error.reason, False
    except TimeoutError:
        said, arrived = f"no end after {TEST_TIMEOUT_S:g} s", False
    except ValueError as error:
        said, arrived = str(error), False
    took_s = (rollwave.clock.now() - began).total_seconds()
    audit.append([_entry(principal, row, "subscription.test", now=began, data={"arrived": arrived})])
    return outbox.record(row, message, at=began, took_s=took_s, arrived=arrived, said=said)


def shown(row: Subscription) -> dict[str, Any]:
    """Return what anybody who may see a subscription is shown: nothing of how it is reached but its address."""
    return {
        "name": row.name,
        "channel": row.channel,
        "address": row.address,
        "person": row.person or None,
        "language": row.language,
        "topics": row.topics,
        "groups": row.groups,
        "apps": row.apps,
        "environments": row.environments,
        "enabled": row.enabled,
    }


def places_of(groups: Sequence[str], apps: Sequence[str], environments: Sequence[str]) -> list[Place]:
    """Return what a subscription tells about."""
    if groups:
        rows = Group.objects.filter(name__in=groups).values_list("app__name", "environment")
        return [Place(app, environment) for app, environment in sorted(set(rows))]
    return [Place(app, environment) for app in apps or [EVERY] for environment in environments or [EVERY]]


def _is_own(row: Subscription, principal: Principal) -> bool:
    # A token that is nobody's has nothing of its own, whatever it is called.
    return principal.user_id is not None and row.person == principal.name


def _manages(row: Subscription, principal: Principal) -> bool:
    places = places_of(row.groups, row.apps, row.environments) or [Place()]
    return all(
        may(principal, Permission.MANAGE, app=place.app, environment=place.environment or EVERY) for place in places
    )


def _check_names(wanted: Wanted) -> None:
    if not wanted.topics:
        raise InvalidValueError(
            field="topics",
            value=[],
            expected=said("at least one of %(values)s", values=", ".join(topic.value for topic in Topic)),
        )
    known: dict[str, tuple[Sequence[str], Any]] = {"groups": (wanted.groups, Group), "apps": (wanted.apps, App)}
    for field, (names, model) in known.items():
        there = set(model.objects.filter(name__in=names).values_list("name", flat=True))
        if missing := [one for one in names if one not in there]:
            raise InvalidValueError(
                field=field, value=missing, expected=said("names of %(field)s that there are", field=field)
            )


def _set_channel(row: Subscription, wanted: Wanted, *, is_new: bool) -> str:
    """Seal how it is reached; return the secret that was made for it, if any."""
    if wanted.settings is None:
        if is_new or row.channel != wanted.channel:
            raise InvalidValueError(
                field="settings", value=None, expected=said("how to reach %(channel)s", channel=wanted.channel)
            )
        return ""
    given, made = completed(row, wanted.channel, wanted.settings, keeps=wanted.keeps), ""
    if wanted.channel == "webhook" and not given.get("secret"):
        given["secret"] = made = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    try:
        config = read_config(wanted.channel, given)
    except ValueError as error:
        # Not the value: what is wrong with it may be a secret that was put into another field.
        message = said("%(path)s: %(error)s", path="settings", error=reason_of(error))
        raise InvalidRequestError([Problem(path="settings", value=sorted(given), message=message)]) from error
    row.channel, row.address = wanted.channel, config.address[:300]
    row.sealed = seal(sealed_form(config))
    return made


def completed(
    row: Subscription | None, channel: str, settings: Mapping[str, Any], *, keeps: bool = False
) -> dict[str, Any]:
    """
    Return *settings* with what they do not name, as it was until now: the secret; with *keeps* all of it.

    An empty secret of a chat is one that is named: none. A webhook always has one.
    """
    kept = _kept(row, channel)
    named = {name: value for name, value in settings.items() if name != "secret" or value or channel != "webhook"}
    return {**{name: value for name, value in kept.items() if keeps or name == "secret"}, **named}


def _kept(row: Subscription | None, channel: str) -> dict[str, Any]:
    if row is None or row.channel != channel or not row.sealed:
        return {}
    try:
        found = to_builtins(from_sealed(unseal(row.sealed)))
    except (SealBrokenError, ValueError):
        return {}
    return {name: value for name, value in found.items() if name != "kind"}


def _entry(
    principal: Principal, row: Subscription, action: str, *, now: datetime, data: Mapping[str, Any]
) -> audit.Entry:
    return audit.Entry(
        at=now.astimezone(UTC),
        actor=principal.name,
        action=action,
        subject=f"subscription/{row.name}",
        group=row.groups[0] if len(row.groups) == 1 else "",
        data=data,
    )
