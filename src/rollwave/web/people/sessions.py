"""Sessions: how long each may last, which ones somebody has, and the end of one."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import Http404
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.decorators import async_only_middleware
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from msgspec import Struct

from rollwave.web import origin
from rollwave.web.access import Permission, needs
from rollwave.web.context import services
from rollwave.web.people import accounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest, HttpResponse

IDLE: Final = timedelta(minutes=settings.SETTINGS.web.session_idle_minutes)
"""A session of which nothing was heard for so long is over. A page that renews itself is heard of."""

_RESOLUTION: Final = IDLE / 10
"""How exactly it is known when one was last heard of: a write with every request would cost more than it tells."""

_AGENT_CHARS: Final = 200


class Place(Struct, frozen=True, kw_only=True):
    """
    Where somebody is signed in.

    Attributes:
        mark: Names the session to whoever owns it; it opens nothing.
        began: When they signed in; None where nobody kept it.
        seen: When it was last heard of.
        address: From where they signed in.
        agent: The browser.
        is_this: It is the session of this request.
    """

    mark: str
    began: datetime | None
    seen: datetime | None
    address: str
    agent: str
    is_this: bool


@receiver(user_logged_in)
def begin(sender: Any, request: HttpRequest, user: User, **_more: Any) -> None:
    """Note where and when a session began, in whichever way; from then on its end stands, whatever is saved in it."""
    del sender, user
    now = timezone.now()
    request.session["began"] = request.session["seen"] = now.timestamp()
    request.session["address"] = origin.address_of(request)
    request.session["agent"] = request.headers.get("User-Agent", "")[:_AGENT_CHARS]
    request.session.set_expiry(now + timedelta(seconds=settings.SESSION_COOKIE_AGE))


@async_only_middleware
def idle_sessions(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Middleware: whoever was not heard of for a while has to sign in again."""

    async def answer(request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            await look(request.session, timezone.now())
        return await get_response(request)

    return answer


async def look(session: SessionBase, now: datetime) -> None:
    """End a session that was not heard of for too long; of any other, note that it was heard of now."""
    seen = await session.aget("seen")
    if seen is None:
        return
    silent = now.timestamp() - seen
    if silent > IDLE.total_seconds():
        await session.aflush()
    elif silent > _RESOLUTION.total_seconds():
        await session.aset("seen", now.timestamp())


def of_user(request: HttpRequest) -> list[Place]:
    """Return where whoever asks is signed in, this session first, then the newest."""
    places = [
        Place(
            mark=_mark(row.session_key),
            began=_moment(data.get("began")),
            seen=_moment(data.get("seen")),
            address=data.get("address", ""),
            agent=data.get("agent", ""),
            is_this=row.session_key == request.session.session_key,
        )
        for row, data in _rows(request.user.pk)
    ]
    return sorted(places, key=lambda one: (not one.is_this, -(one.began.timestamp() if one.began else 0)))


@require_POST
@needs(Permission.VIEW)
def end(request: HttpRequest, *, mark: str) -> HttpResponse:
    """End one of one's own sessions."""
    user: Any = request.user
    found = next((row for row, _data in _rows(user.pk) if _mark(row.session_key) == mark), None)
    if found is None:
        raise Http404
    found.delete()
    accounts.log("session_ended", user, actor=user.get_username(), now=services().clock.now())
    messages.success(request, _("That session is over."))
    return redirect("people:account")


def _rows(user_id: int | None) -> list[tuple[Any, dict[str, Any]]]:
    """Return the sessions of a user with what is in them: there are as many as people have devices, so all are read."""
    rows = ((row, row.get_decoded()) for row in Session.objects.filter(expire_date__gt=timezone.now()))
    return [(row, data) for row, data in rows if data.get("_auth_user_id") == str(user_id)]


def _moment(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, tz=timezone.get_default_timezone())


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]
