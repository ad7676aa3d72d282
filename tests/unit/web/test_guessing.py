"""Guessing, forgetting: limits that need no server to be shown."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from asgiref.sync import async_to_sync
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import RequestFactory
from django.utils import timezone
from structlog.testing import capture_logs

from rollwave.store.models import App
from rollwave.web import origin
from rollwave.web.live.feed import HEARTBEAT_S
from rollwave.web.people import sessions
from rollwave.web.people.guessing import MOST, AddressLimit, ContextWords
from rollwave.web.people.sessions import IDLE, look
from rollwave.web.portal.live import stream_s

ADDRESS = "192.0.2.7"


def request_from(address: str, **headers: str):
    return RequestFactory().post("/login", REMOTE_ADDR=address, headers=headers)


@pytest.fixture
def guessed_at(django_database):
    """Say that an address has tried as many names as are too many."""

    def guess(address: str) -> None:
        now = timezone.now()
        for number in range(MOST // 5):
            AccessAttempt.objects.create(
                username=f"guess-{number}", ip_address=address, attempt_time=now, failures_since_start=5
            )

    return guess


def test_an_address_that_tries_many_names_has_to_wait(guessed_at):
    """Each name below its own limit, all of them together above that of the address; others are not kept out."""
    get_user_model().objects.create_user("guess-maria", password="correct horse battery")
    guessed_at(ADDRESS)
    maria = {"username": "guess-maria", "password": "correct horse battery"}

    stopped = request_from(ADDRESS)
    assert authenticate(stopped, **maria) is None
    assert stopped.axes_locked_out is True
    assert authenticate(request_from("192.0.2.8"), **maria) is not None
    AccessAttempt.objects.filter(ip_address=ADDRESS).update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert authenticate(request_from(ADDRESS), **maria) is not None


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::1", "10.0.0.2", "fd00::2", "::ffff:10.0.0.2", "100.64.0.2"])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_behind_a_proxy_that_is_not_trusted_nobody_waits_for_what_others_guessed(guessed_at, proxy, header):
    """Its address is everybody's: who keeps it busy would keep all people out. The log says what to set, once."""
    guessed_at(proxy)
    origin.warn_of_proxy.cache_clear()

    with capture_logs() as told:
        for _ in range(2):
            AddressLimit().authenticate(request_from(proxy, **{header: "192.0.2.8"}))

    (warning,) = told
    assert (warning["log_level"], warning["address"]) == ("warning", proxy)
    assert "[web] trusted_proxies" in warning["hint"]


@pytest.mark.parametrize(
    ("address", "headers", "trusted"),
    [
        ("10.0.0.7", {}, ()),  # somebody in the office, without a proxy
        ("1.1.1.1", {"X-Forwarded-For": "192.0.2.8"}, ()),  # no proxy of ours: it says so itself
        ("10.0.0.7", {"X-Forwarded-For": "10.0.0.7"}, ("127.0.0.1",)),  # as a proxy that is trusted has told us
    ],
)
def test_an_address_that_is_one_clients_has_to_wait_whatever_it_says(
    guessed_at, monkeypatch, address, headers, trusted
):
    """A header that anybody can write is no way around the limit."""
    web = msgspec.structs.replace(settings.SETTINGS.web, trusted_proxies=trusted)
    monkeypatch.setattr(settings, "SETTINGS", msgspec.structs.replace(settings.SETTINGS, web=web))
    guessed_at(address)

    with pytest.raises(PermissionDenied):
        AddressLimit().authenticate(request_from(address, **headers))


@pytest.mark.parametrize("password", ["rollwave2026!", "Checkout-2026", "checkoutrollwave", "checkout-prod-1"])
def test_a_password_of_words_that_everybody_here_knows_is_refused(django_database, password):
    App.objects.get_or_create(name="checkout")

    with pytest.raises(ValidationError):
        ContextWords().validate(password)


@pytest.mark.parametrize("password", ["correct horse battery", "my checkout is a shed in Kent"])
def test_a_password_with_more_than_such_a_word_is_taken(django_database, password):
    App.objects.get_or_create(name="checkout")

    ContextWords().validate(password)


def test_a_session_that_nothing_is_heard_of_ends_and_one_that_is_used_goes_on(django_database):
    """Use is noted now and then; its end after the sign-in is not put off by that."""
    now = timezone.now()
    session = SessionStore()
    session["seen"] = now.timestamp()
    end = now + timedelta(hours=12)
    session.set_expiry(end)
    session.save()

    async_to_sync(look)(session, now + IDLE / 2)
    async_to_sync(look)(session, now + IDLE * 5 / 4)
    assert session["seen"] == (now + IDLE * 5 / 4).timestamp()
    assert session.get_expiry_date() == end
    async_to_sync(look)(session, now + IDLE * 5 / 2)

    assert session.is_empty()


@pytest.mark.parametrize("idle", [timedelta(minutes=5), timedelta(hours=1)])
def test_a_session_in_which_somebody_watches_a_release_goes_on(django_database, monkeypatch, idle):
    """Nothing happens in it, so all that is heard of the page is that it opens its stream anew."""
    monkeypatch.setattr(sessions, "IDLE", idle)
    monkeypatch.setattr(sessions, "_RESOLUTION", idle / 10)
    now = timezone.now()
    session = SessionStore()
    session["seen"] = now.timestamp()
    session.save()

    for _ in range(20):
        now += timedelta(seconds=stream_s(idle) + HEARTBEAT_S)
        async_to_sync(look)(session, now)
        assert not session.is_empty()
