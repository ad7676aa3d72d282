"""Every channel: what is sent arrives whole, in order and recognizable; what does not is told, without a secret."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from rollwave.domain import facts
from rollwave.domain.model import BrakeCause, Failure, Progress, Stage
from rollwave.notify.config import KINDS
from rollwave.ports.notifier import ChannelError, Message, Release, Told
from rollwave.ports.store import StageChanged
from rollwave.store.dialect import pack
from tests.contract.notify.receivers import run

AT = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
SYSTEMS = ["webhook", "redis", "amqp"]
PEOPLE = ["dingtalk", "wecom", "feishu", "slack", "email"]
ALL = ["fake", *PEOPLE, *SYSTEMS]
EVENTS = [
    facts.Braked(cause=BrakeCause.FAILURES, reason="", actor="engine", failed_count=2, limit_count=2),
    facts.BrakeReleased(),
    facts.AbortRequested(reason='<b>&"odd"', rollback_to=None),
]


def told(seq, fact):
    return Told(seq=seq, at=AT, kind=type(fact).__name__, instance=None, data=pack(fact), fact=fact)


def message(*events, language="en", start=7):
    return Message(
        id=f"msg_1_5_{start}_9",
        subscription="team",
        release=Release(
            deployment_id=5, group="shop-prod", app="shop", environment="production", kind="rollout", version="1.2"
        ),
        events=tuple(told(start + place, one) for place, one in enumerate(events or EVENTS)),
        names={},
        language=language,
        at=AT,
    )


TEST = Message(id="test_1", subscription="team", release=None, events=(), names={}, language="en", at=AT)

every_receiver = pytest.mark.parametrize("receiver", ALL, indirect=True)
people = pytest.mark.parametrize("receiver", PEOPLE, indirect=True)
systems = pytest.mark.parametrize("receiver", SYSTEMS, indirect=True)


def test_every_kind_has_its_receiver():
    assert set(KINDS) == {*SYSTEMS, *PEOPLE}


@every_receiver
def test_what_is_sent_arrives(receiver):
    assert run(receiver.channel, message())
    assert receiver.got()


@every_receiver
def test_a_test_arrives(receiver):
    """In the same way, so that it proves what it is for; an exchange routes it by its own key."""
    assert run(receiver.channel, TEST)


@systems
def test_systems_get_every_event_in_order_and_can_tell_what_comes_twice(receiver):
    for _ in range(2):
        run(receiver.channel, message())
    got = receiver.got()
    bodies = [json.loads(body) for _, body in got]
    events = [event for body in bodies for event in (body if isinstance(body, list) else [body])]
    assert [event["id"] for event in events] == ["5/7", "5/8", "5/9"] * 2
    assert [event["type"].rpartition(".")[2] for event in events[:3]] == ["Braked", "BrakeReleased", "AbortRequested"]
    first = events[0]
    assert first["subject"] == "deployments/5"
    assert first["time"] == "2026-01-01T12:30:00Z"
    assert first["data"]["group"] == "shop-prod"
    assert first["data"]["fact"]["cause"] == "failures"
    assert first["data"]["sentence"] == "engine braked (failures): 2 failed, 2 allowed"
    identities = [identity for identity, _ in got]
    assert identities[: len(identities) // 2] == identities[len(identities) // 2 :]


@people
def test_people_read_sentences_in_their_language(receiver):
    run(receiver.channel, message())
    run(receiver.channel, message(language="zh-Hans"))
    (_, english), (_, chinese) = receiver.got()
    assert "engine braked (failures): 2 failed, 2 allowed" in english
    assert english.rindex("engine braked") < english.rindex("The brake was released") < english.rindex("being given up")
    assert "https://rollwave.example/deployments/5" in english or "Open the release" in english
    assert "刹车已解除" in chinese
    assert "braked" not in chinese


@people
def test_a_message_that_is_too_long_keeps_its_end(receiver):
    long = [facts.AbortRequested(reason=f"{place} {'x' * 900}", rollback_to=None) for place in range(30)]
    run(receiver.channel, message(*long, start=1))
    ((_, text),) = receiver.got()
    assert "29 xxx" in text


@people
def test_nothing_that_somebody_wrote_is_taken_for_markup(receiver):
    """A reason is no link, mentions nobody, and begins no header."""
    odd = facts.AbortRequested(reason="<@all> [click](http://evil.example)\nBcc: x@example.com", rollback_to=None)
    run(receiver.channel, message(odd))
    ((_, text),) = receiver.got()
    assert "[click](http" not in text or type(receiver).__name__ in ("Slack", "Feishu", "Mail")


@every_receiver
def test_a_refusal_is_told_without_a_secret(receiver):
    receiver.refuse()
    with pytest.raises(ChannelError) as caught:
        run(receiver.channel, message())
    assert caught.value.reason
    assert not [secret for secret in receiver.secrets if secret in caught.value.reason]


@every_receiver
def test_a_receiver_that_is_not_there_is_told_without_a_secret(receiver):
    receiver.vanish()
    with pytest.raises(ChannelError) as caught:
        run(receiver.channel, message())
    assert not [secret for secret in receiver.secrets if secret in caught.value.reason]


@every_receiver
def test_any_event_can_be_sent(receiver):
    failure = Failure(code="host.disk_full", message="no space left", stage=Stage.DOWNLOAD)
    changed = StageChanged(slice=1, attempt=2, stage=Stage.DOWNLOAD, progress=Progress.FAILURE, failure=failure)
    told = Told(seq=7, at=AT, kind="Transition", instance="shop-prod/s1:80", data=pack(changed), fact=changed)
    one = message()
    sent = Message(
        id=one.id,
        subscription=one.subscription,
        release=one.release,
        events=(told,),
        names={},
        language="en",
        at=AT,
    )
    run(receiver.channel, sent)
    ((_, text),) = receiver.got()
    assert "no space left" in text


@pytest.mark.parametrize("receiver", ["webhook"], indirect=True)
def test_a_webhook_that_asks_for_a_pause_is_heard_and_one_that_is_gone_is_told(receiver):
    receiver.answer = (410, b"")
    with pytest.raises(ChannelError) as caught:
        asyncio.run(receiver.channel.send(message()))
    assert caught.value.is_gone


@pytest.mark.parametrize("receiver", ["wecom"], indirect=True)
def test_a_chat_that_has_heard_too_much_gets_a_pause(receiver):
    receiver.refuse()
    with pytest.raises(ChannelError) as caught:
        run(receiver.channel, message())
    assert caught.value.retry_after_s == 600
