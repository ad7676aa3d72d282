"""Guessing, forgetting: limits that need no server to be shown."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from axes.models import AccessAttempt
from django.contrib.auth import authenticate, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from django.utils import timezone

from rollwave.store.models import App
from rollwave.web.people.guessing import MOST, ContextWords
from rollwave.web.people.sessions import IDLE, look

ADDRESS = "192.0.2.7"


def request_from(address: str):
    return RequestFactory().post("/login", REMOTE_ADDR=address)


def test_an_address_that_tries_many_names_has_to_wait(django_database):
    """Each name below its own limit, all of them together above that of the address; others are not kept out."""
    get_user_model().objects.create_user("guess-maria", password="correct horse battery")
    now = timezone.now()
    for number in range(MOST // 5):
        AccessAttempt.objects.create(
            username=f"guess-{number}", ip_address=ADDRESS, attempt_time=now, failures_since_start=5
        )
    maria = {"username": "guess-maria", "password": "correct horse battery"}

    stopped = request_from(ADDRESS)
    assert authenticate(stopped, **maria) is None
    assert stopped.axes_locked_out is True
    assert authenticate(request_from("192.0.2.8"), **maria) is not None
    AccessAttempt.objects.filter(ip_address=ADDRESS).update(attempt_time=now - timedelta(minutes=16))
    assert authenticate(request_from(ADDRESS), **maria) is not None


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
