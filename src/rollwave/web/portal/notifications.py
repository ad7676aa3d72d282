"""Notifications: who is told what, by which channel, and how that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from rollwave.domain.errors import InvalidValueError, RollwaveError
from rollwave.domain.said import said
from rollwave.ports.notifier import Topic
from rollwave.store.models import App, Group, Subscription
from rollwave.web import subscriptions
from rollwave.web.access import Permission, may_somewhere, principal_of, within
from rollwave.web.api.subscriptions import checked
from rollwave.web.language import language_shown
from rollwave.web.portal.page import attempt, page
from rollwave.web.told import told
from rollwave.words.language import Language, language_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest, HttpResponse

    from rollwave.web.access import Principal

CHANNELS: Final[Mapping[str, Any]] = {
    "email": gettext_lazy("E-mail"),
    "slack": "Slack",
    "feishu": gettext_lazy("Feishu"),
    "dingtalk": gettext_lazy("DingTalk"),
    "wecom": gettext_lazy("WeCom"),
    "webhook": gettext_lazy("Signed webhook"),
    "amqp": gettext_lazy("AMQP exchange"),
    "redis": gettext_lazy("Redis stream"),
}

TOPICS: Final[Mapping[Topic, Any]] = {
    Topic.STARTED: gettext_lazy("Started"),
    Topic.WAITING: gettext_lazy("Waits for a person"),
    Topic.BRAKED: gettext_lazy("Braked"),
    Topic.FAILED: gettext_lazy("Failed"),
    Topic.FINISHED: gettext_lazy("Finished"),
    Topic.EVERYTHING: gettext_lazy("Everything"),
}

LANGUAGES: Final = {Language.ENGLISH: "English", Language.CHINESE: "简体中文"}

_PLACES: Final = {"amqp": "exchange", "redis": "stream"}
_WITH_SECRET: Final = ("webhook", "dingtalk", "feishu")
_DELIVERIES: Final = 50


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the subscriptions that somebody may see; make one."""
    principal = principal_of(request)
    form: dict[str, Any] = {"errors": {}, "values": _empty()}
    if request.method == "POST":
        made = _put(request, lambda: checked(request.POST.get("name", "").strip()), form)
        if made is not None:
            row, secret = made
            if not secret:
                return HttpResponseRedirect(reverse("portal:notification", args=[row.name]))
            # Not through a redirect: nothing may keep it on the way.
            return _one(request, row, {"errors": {}, "values": _values(row)}, secret=secret)
    rows = [_line(row) for row in subscriptions.visible(principal)]
    context = {"rows": rows, "form": form, **_choices(principal)}
    return render(request, "portal/notifications.html", context)


@page(Permission.VIEW)
def show_one(request: HttpRequest, name: str) -> HttpResponse:
    """Show one subscription with what was sent; change it."""
    row = subscriptions.find(principal_of(request), name)
    form: dict[str, Any] = {"errors": {}, "values": _values(row)}
    if request.method == "POST":
        if _put(request, lambda: name, form) is not None:
            messages.success(request, _("Subscription %(name)s was changed") % {"name": name})
            return HttpResponseRedirect(reverse("portal:notification", args=[name]))
        row.refresh_from_db()
    return _one(request, row, form)


@require_POST
@page(Permission.VIEW)
def test(request: HttpRequest, name: str) -> HttpResponse:
    """Send a test, and tell what came of it."""
    delivery = subscriptions.send_test(principal_of(request), name)
    if delivery.arrived:
        messages.success(request, _("The test has arrived: %(said)s") % {"said": delivery.said})
    else:
        messages.error(request, _("The test has not arrived: %(said)s") % {"said": delivery.said})
    return HttpResponseRedirect(reverse("portal:notification", args=[name]))


@require_POST
@page(Permission.VIEW)
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a subscription."""
    done = _("Subscription %(name)s is gone") % {"name": name}
    attempt(request, lambda: subscriptions.remove(principal_of(request), name), done=done)
    return HttpResponseRedirect(reverse("portal:notifications"))


def _one(request: HttpRequest, row: Subscription, form: Mapping[str, Any], *, secret: str = "") -> HttpResponse:
    context = {
        "one": _line(row),
        "form": form,
        "secret": secret,
        "deliveries": row.deliveries.order_by("-id")[:_DELIVERIES],
        **_choices(principal_of(request)),
    }
    return render(request, "portal/notification.html", context)


def _put(request: HttpRequest, name_of: Callable[[], str], form: dict[str, Any]) -> tuple[Subscription, str] | None:
    """Make or change a subscription as a form says; return it and its new secret, None where *form* tells why not."""
    form["values"] = _given(request)
    try:
        return subscriptions.put(principal_of(request), name_of(), _wanted(form["values"]))
    except RollwaveError as error:
        field = str(error.facts.get("field") or "")
        form["errors"] = {"address" if field == "settings" else field: told(error)}
    return None


def _given(request: HttpRequest) -> dict[str, Any]:
    texts = ("name", "channel", "address", "secret", "place", "environments", "language")
    values: dict[str, Any] = {name: request.POST.get(name, "").strip() for name in texts}
    values |= {name: request.POST.getlist(name) for name in ("topics", "groups", "apps")}
    values |= {name: request.POST.get(name) == "on" for name in ("own", "enabled")}
    return values


def _wanted(values: Mapping[str, Any]) -> subscriptions.Wanted:
    channel = values["channel"]
    if channel not in CHANNELS:
        raise InvalidValueError(
            field="channel", value=channel, expected=said("one of %(values)s", values=", ".join(CHANNELS))
        )
    # What is left empty stays: the page shows nothing of how it is reached that could be sent back.
    settings: dict[str, Any] = {}
    if values["address"] and channel == "email":
        settings["to"] = values["address"].replace(",", " ").split()
    elif values["address"]:
        settings["url"] = values["address"]
    if channel in _WITH_SECRET and values["secret"]:
        settings["secret"] = values["secret"]
    if channel in _PLACES and values["place"]:
        settings[_PLACES[channel]] = values["place"]
    return subscriptions.Wanted(
        channel=channel,
        settings=settings or None,
        keeps=True,
        is_own=values["own"],
        language=language_of(values["language"]) or Language.ENGLISH,
        topics=[topic for topic in Topic if topic.value in values["topics"]],
        groups=values["groups"],
        apps=values["apps"],
        environments=values["environments"].replace(",", " ").split(),
        enabled=values["enabled"],
    )


def _empty() -> dict[str, Any]:
    usual = [topic.value for topic in Topic if topic is not Topic.EVERYTHING]
    return {"topics": usual, "enabled": True, "language": language_shown().value, "groups": [], "apps": []}


def _values(row: Subscription) -> dict[str, Any]:
    shown = subscriptions.shown(row)
    return {**shown, "address": "", "own": bool(row.person), "environments": ", ".join(row.environments)}


def _choices(principal: Principal) -> dict[str, Any]:
    of_group = within(principal, Permission.VIEW, app="app__name", environment="environment")
    of_app = within(principal, Permission.VIEW, app="name")
    return {
        "channels": CHANNELS,
        "topics": {topic.value: label for topic, label in TOPICS.items()},
        "languages": {language.value: label for language, label in LANGUAGES.items()},
        "groups": list(Group.objects.filter(of_group).values_list("name", flat=True)),
        "apps": list(App.objects.filter(of_app).values_list("name", flat=True)),
        "manages": may_somewhere(principal, Permission.MANAGE),
    }


def _line(row: Subscription) -> dict[str, Any]:
    about = [*row.groups, *row.apps, *row.environments]
    return {
        "row": row,
        "channel": CHANNELS.get(row.channel, row.channel),
        "topics": [TOPICS[Topic(one)] for one in row.topics],
        "about": ", ".join(about),
        "language": LANGUAGES[Language(row.language)],
    }
