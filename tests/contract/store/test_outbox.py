"""
The outbox: at least once, in order for each deployment, nothing lost; for any crash and any channel that fails.

Receivers remember what they got, as the ground truth: whatever a worker believed when it died.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import BrakeCause, Kind, Phase, Progress, Stage
from rollwave.ports.notifier import ChannelError, Claim, Message, Parcel, Topic
from rollwave.ports.store import StageChanged
from rollwave.store import models, topics
from rollwave.store.dialect import pack
from rollwave.store.outbox import GIVE_UP_AFTER, DjangoOutbox, adopt, choose_again
from rollwave.store.parcels import GATHER_AT_MOST_S, MOST_EVENTS
from rollwave.store.sealing import SealBrokenError, seal, unseal
from tests.contract.store.crew import Crew, planned
from tests.contract.store.worlds import NOON, DjangoWorld

LEASE = timedelta(seconds=60)
BRAKED = facts.Braked(cause=BrakeCause.OPERATOR, reason="", actor="ann")
RELEASED = facts.BrakeReleased()
FAILED = facts.PhaseChanged(phase=Phase.FAILURE)
MOVED = facts.PhaseChanged(phase=Phase.ROLLING_OUT)
STAGE = StageChanged(slice=1, attempt=1, stage=Stage.VERIFY, progress=Progress.RUNNING)


class Bench:
    """A store with two deployments that go on, and a clock."""

    def __init__(self) -> None:
        self.world = DjangoWorld()
        self.outbox = DjangoOutbox()
        self.now = NOON
        self.goal = self.world.add_package("2.0")
        for group in ("shop", "blog"):
            self.world.add_group(group)
            self.world.add_instance(group, f"{group}-1")
        self.crews = [Crew.create(self.world, group, self.goal) for group in ("shop", "blog")]
        self.count = 0

    @property
    def deployments(self) -> list[int]:
        return [crew.id for crew in self.crews]

    def subscribe(self, *chosen: Topic, channel: str = "webhook", **fields: Any) -> models.Subscription:
        self.count += 1
        row = models.Subscription.objects.create(
            name=f"s{self.count}",
            channel=channel,
            address="",
            sealed=seal(b"{}"),
            topics=[one.value for one in chosen or [Topic.EVERYTHING]],
            created_at=self.now,
            due_at=self.now,
            **fields,
        )
        adopt(row, now=self.now, from_now_on=True)
        return row

    def happen(self, deployment_id: int, *events: Any) -> list[int]:
        """Append to the log as the engine would; return the numbers."""
        row = models.Deployment.objects.get(id=deployment_id)
        for number, event in enumerate(events, row.seq + 1):
            kind = "Transition" if isinstance(event, StageChanged) else type(event).__name__
            models.Event.objects.create(deployment=row, seq=number, at=self.now, kind=kind, data=pack(event))  # type: ignore[arg-type]
        models.Deployment.objects.filter(id=row.pk).update(seq=row.seq + len(events))
        return list(range(row.seq + 1, row.seq + 1 + len(events)))

    def begin_another(self) -> int:
        """A deployment that is over as soon as it began."""
        first = models.Deployment.objects.get(id=self.deployments[0])
        row = models.Deployment.objects.create(
            group=first.group,
            kind="rollout",
            goal=first.goal,
            config=first.config,
            initial=False,
            starts=True,
            phase="success",
            batches=[],
            actor="ann",
            created_at=self.now,
        )
        self.happen(row.pk, BRAKED, FAILED)
        return row.pk

    def claim(self, row: models.Subscription, owner: str = "w1") -> Claim | None:
        return self.outbox.claim(row.pk, owner=owner, now=self.now, lease_until=self.now + LEASE)

    def parcel(self, claim: Claim) -> Parcel | None:
        prepared = self.outbox.prepare(claim, now=self.now)
        return prepared.parcel if not prepared.marks or self.outbox.fix(claim, prepared) else None

    def pass_on(self, claim: Claim, parcel: Parcel) -> bool:
        return self.outbox.delivered(claim, parcel, now=self.now, took_s=0.1, said="ok")

    def fail(self, claim: Claim, parcel: Parcel, **how: Any) -> None:
        self.outbox.failed(claim, parcel, ChannelError("down", **how), now=self.now, took_s=0.1)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def everything(self, row: models.Subscription) -> list[Message]:
        """What a worker sends that nothing happens to."""
        sent: list[Message] = []
        claim = self.claim(row)
        while claim and (parcel := self.parcel(claim)):
            sent.append(parcel.message)
            self.pass_on(claim, parcel)
            if row.channel not in topics.FOR_SYSTEMS:
                self.wait(5)
        if claim:
            self.outbox.release(claim)
        return sent


@pytest.fixture
def bench(django_database) -> Bench:
    return Bench()


def seqs(messages: list[Message]) -> list[int]:
    return [event.seq for message in messages for event in message.events]


def test_a_new_subscription_hears_of_what_happens_from_now_on(bench):
    row = bench.subscribe()
    assert bench.outbox.due(now=bench.now) == []
    assert bench.everything(row) == []

    (seq,) = bench.happen(bench.deployments[0], BRAKED)
    assert bench.outbox.due(now=bench.now) == [row.pk]
    (message,) = bench.everything(row)
    assert seqs([message]) == [seq]
    assert message.release is not None
    assert (message.release.group, message.release.app, message.release.version) == ("shop", "shop", "2.0")
    assert bench.outbox.due(now=bench.now) == []


def test_a_deployment_that_was_over_before_anybody_looked_is_told_whole(bench):
    row = bench.subscribe()
    deployment_id = bench.begin_another()
    (message,) = bench.everything(row)
    assert message.release is not None
    assert (message.release.deployment_id, seqs([message])) == (deployment_id, [1, 2])


def test_cursors_of_what_is_over_are_not_kept(bench):
    row = bench.subscribe()
    bench.begin_another()
    bench.everything(row)
    bench.wait(3600)
    bench.happen(bench.deployments[0], BRAKED)
    assert seqs(bench.everything(row))
    assert set(row.cursors.values_list("deployment_id", flat=True)) == set(bench.deployments)
    assert bench.outbox.due(now=bench.now) == []


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({}, True),
        ({"groups": ["shop"]}, True),
        ({"groups": ["blog"]}, False),
        ({"apps": ["shop"], "environments": ["production"]}, True),
        ({"apps": ["shop"], "environments": ["test"]}, False),
        ({"apps": ["till"]}, False),
    ],
)
def test_groups_apps_and_environments_are_chosen(bench, fields, heard):
    row = bench.subscribe(**fields)
    bench.happen(bench.deployments[0], BRAKED)
    assert bool(bench.everything(row)) is heard
    assert bench.outbox.due(now=bench.now) == []


@pytest.mark.parametrize(
    ("topic", "event", "config", "is_wanted"),
    [
        (Topic.BRAKED, BRAKED, {}, True),
        (Topic.BRAKED, FAILED, {}, False),
        (Topic.FAILED, FAILED, {}, True),
        (Topic.FINISHED, facts.PhaseChanged(phase=Phase.ABORTED), {}, True),
        (Topic.WAITING, facts.PhaseChanged(phase=Phase.VERIFY_SUCCESS), {}, True),
        (Topic.WAITING, facts.PhaseChanged(phase=Phase.VERIFY_SUCCESS), {"bake_policy": "auto"}, False),
        (Topic.EVERYTHING, STAGE, {}, True),
    ],
)
def test_topics_are_chosen(bench, topic, event, config, is_wanted):
    row = bench.subscribe(topic)
    models.Deployment.objects.filter(id=bench.deployments[0]).update(config=config)
    bench.happen(bench.deployments[0], event)
    assert bool(bench.everything(row)) is is_wanted


@pytest.mark.parametrize(
    ("settings", "kind", "starts", "topic"),
    [
        ({}, Kind.ROLLOUT, True, Topic.STARTED),
        ({}, Kind.ROLLOUT, False, Topic.WAITING),
        ({"requires_approval": True}, Kind.ROLLOUT, True, Topic.WAITING),
        ({"requires_approval": True}, Kind.ROLLBACK, True, Topic.STARTED),
    ],
)
def test_what_was_planned_has_begun_or_waits_for_somebody(bench, settings, kind, starts, topic):
    fact = planned(bench.world, "shop", bench.goal, kind=kind, starts=starts, **settings)
    assert topics.topic_of(fact, fact.config) is topic
    assert topics.topic_of(facts.CommandAccepted(action=Action.APPROVE, actor="bob"), fact.config) is Topic.STARTED


def test_every_topic_has_its_events():
    """And no topic is empty; a step that is nobody's topic is only in everything."""
    config = DeploymentConfig()
    assert topics.topic_of(MOVED, config) is None
    for topic in Topic:
        assert topics.kinds_of([topic], channel="email")
    assert "Transition" not in topics.kinds_of([Topic.EVERYTHING], channel="email")
    assert "Transition" in topics.kinds_of([Topic.EVERYTHING], channel="amqp")


def test_people_are_told_at_once_what_belongs_together(bench):
    """A message waits until it is quiet, but not for ever; then the chat gets a pause."""
    row = bench.subscribe(channel="slack")
    first = bench.happen(bench.deployments[0], BRAKED)
    assert bench.everything(row) == []
    bench.wait(1)
    second = bench.happen(bench.deployments[0], RELEASED)
    bench.wait(2)
    (message,) = bench.everything(row)
    assert seqs([message]) == first + second

    for _ in range(int(GATHER_AT_MOST_S) + 2):
        bench.happen(bench.deployments[0], BRAKED)
        bench.wait(1)
        if told := bench.everything(row):
            break
    assert told


def test_what_fails_is_tried_again_later_and_does_not_hold_up_other_deployments(bench):
    row = bench.subscribe()
    stuck, other = bench.deployments
    bench.happen(stuck, BRAKED)
    bench.happen(other, BRAKED)
    claim = bench.claim(row)
    parcel = bench.parcel(claim)
    bench.fail(claim, parcel)
    assert bench.parcel(claim) is None  # the receiver rests
    bench.outbox.release(claim)
    assert bench.claim(row) is None

    bench.wait(1)
    claim = bench.claim(row)
    after = bench.parcel(claim)
    assert {parcel.message.release.deployment_id, after.message.release.deployment_id} == {stuck, other}
    bench.pass_on(claim, after)
    again = bench.parcel(claim)
    assert (again.message, again.attempt) == (parcel.message, 2)


def test_a_receiver_that_asks_for_a_pause_gets_it(bench):
    row = bench.subscribe()
    bench.happen(bench.deployments[0], BRAKED)
    claim = bench.claim(row)
    bench.fail(claim, bench.parcel(claim), retry_after_s=120)
    bench.outbox.release(claim)
    bench.wait(119)
    assert bench.outbox.due(now=bench.now) == []
    bench.wait(1)
    assert bench.outbox.due(now=bench.now) == [row.pk]


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_receiver_that_is_gone_or_fails_for_days_is_disabled_and_that_is_noted(bench, is_gone):
    row = bench.subscribe()
    bench.happen(bench.deployments[0], BRAKED)
    claim = bench.claim(row)
    bench.fail(claim, bench.parcel(claim), is_gone=is_gone)
    bench.outbox.release(claim)
    if not is_gone:
        bench.wait(GIVE_UP_AFTER.total_seconds())
        claim = bench.claim(row)
        bench.fail(claim, bench.parcel(claim))
    row.refresh_from_db()
    assert not row.enabled
    assert "down" in row.disabled_reason
    assert models.AuditEntry.objects.get(action="subscription.disabled").subject == f"subscription/{row.name}"
    bench.wait(1000)
    assert bench.outbox.due(now=bench.now) == []


def test_a_worker_that_lost_its_lease_records_nothing(bench):
    row = bench.subscribe()
    bench.happen(bench.deployments[0], BRAKED)
    slow = bench.claim(row, "slow")
    parcel = bench.parcel(slow)
    assert bench.claim(row, "other") is None
    bench.wait(LEASE.total_seconds())
    other = bench.claim(row, "other")
    assert not bench.pass_on(slow, parcel)
    assert bench.parcel(slow) is None
    assert bench.parcel(other).message == parcel.message
    bench.outbox.release(slow)
    assert bench.claim(row, "third") is None


def test_what_was_prepared_and_is_out_of_date_is_not_sent(bench):
    """Another has sent it meanwhile, or the choice was changed: nothing is fixed, so nothing goes out."""
    row = bench.subscribe()
    bench.happen(bench.deployments[0], BRAKED)
    slow = bench.claim(row, "slow")
    prepared = bench.outbox.prepare(slow, now=bench.now)
    bench.wait(LEASE.total_seconds())
    assert bench.everything(row)
    assert not bench.outbox.fix(slow, prepared)

    bench.happen(bench.deployments[0], BRAKED)
    claim = bench.claim(row)
    prepared = bench.outbox.prepare(claim, now=bench.now)
    row.refresh_from_db()
    row.groups = ["blog"]
    row.save()
    choose_again(row)
    assert not bench.outbox.fix(claim, prepared)
    assert bench.parcel(claim) is None


def test_a_message_whose_topics_were_changed_between_two_attempts_is_another_one(bench):
    """The same id always means the same events."""
    row = bench.subscribe()
    bench.happen(bench.deployments[0], BRAKED, STAGE)
    claim = bench.claim(row)
    first = bench.parcel(claim).message
    models.Subscription.objects.filter(id=row.pk).update(topics=["braked"])
    second = bench.parcel(claim).message
    assert (len(first.events), len(second.events)) == (2, 1)
    assert first.id != second.id


def test_a_long_log_is_told_in_pieces(bench):
    row = bench.subscribe()
    wanted = bench.happen(bench.deployments[0], *[BRAKED, RELEASED] * MOST_EVENTS)
    messages = bench.everything(row)
    assert len(messages) == 2
    assert seqs(messages) == wanted


def test_what_was_sealed_is_read_by_nobody_else(bench, monkeypatch):
    row = bench.subscribe()
    assert unseal(row.sealed) == b"{}"
    bench.happen(bench.deployments[0], BRAKED)
    monkeypatch.setattr("django.conf.settings.NOTIFY_KEY", "another")
    with pytest.raises(SealBrokenError):
        unseal(row.sealed)
    assert bench.claim(row) is None
    row.refresh_from_db()
    assert not row.enabled
    assert "enter them again" in row.disabled_reason


@pytest.mark.parametrize(
    ("grant", "is_active", "is_told"),
    [
        ({"app": "*", "environment": "*"}, True, True),
        ({"app": "shop", "environment": "production"}, True, True),
        ({"app": "*", "environment": "*"}, False, False),
        ({"app": "till", "environment": "*"}, True, False),
        ({"app": "shop", "environment": "test"}, True, False),
        (None, True, False),
    ],
)
def test_a_person_is_told_what_they_may_still_see(bench, grant, is_active, is_told):
    """Whoever lost a role, or left, hears nothing more; what they miss is not told later."""
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create(username="ann", is_active=is_active)
    if grant:
        models.Grant.objects.create(user=user, role="viewer", **grant)
    row = bench.subscribe(person="ann")
    bench.happen(bench.deployments[0], BRAKED)
    assert bool(bench.everything(row)) is is_told
    assert bench.outbox.due(now=bench.now) == []


def test_nobody_is_told_for_somebody_who_is_gone(bench):
    row = bench.subscribe(person="bob")
    bench.happen(bench.deployments[0], BRAKED)
    assert bench.everything(row) == []


class Steps:
    """What may happen, in any order: see the law below."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.row = bench.subscribe()
        self.claims: list[Claim] = []
        self.got: list[Message] = []
        self.wanted: defaultdict[int, list[int]] = defaultdict(list)

    def happen(self, which: int) -> None:
        deployment_id = self.bench.deployments[which % 2]
        self.wanted[deployment_id] += self.bench.happen(deployment_id, BRAKED, STAGE)

    def begin(self, _: int) -> None:
        self.wanted[self.bench.begin_another()] += [1, 2]

    def claim(self, which: int) -> None:
        claim = self.bench.claim(self.row, f"w{which}")
        if claim is not None:
            self.claims.append(claim)

    def send(self, which: int) -> None:
        """One step of whoever believes to hold it: the message arrives or not, and the worker learns of it or dies."""
        if not self.claims:
            return
        claim = self.claims[-1]
        parcel = self.bench.parcel(claim)
        if parcel is None:
            return
        arrives, fate = which % 2, which // 2 % 3
        if arrives:
            self.got.append(parcel.message)
        if fate == 0 and arrives:
            self.bench.pass_on(claim, parcel)
        elif fate == 1:
            self.bench.fail(claim, parcel)  # perhaps it had arrived, and the answer was lost
        else:
            self.claims.clear()  # it died in between, and its lease will run out

    def give_back(self, _: int) -> None:
        while self.claims:
            self.bench.outbox.release(self.claims.pop())

    def pass_time(self, which: int) -> None:
        self.bench.wait([1, 30, 61, 700][which % 4])


MOVES = ["happen", "happen", "begin", "claim", "claim", "send", "send", "send", "give_back", "pass_time"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 11)), max_size=40))
def test_for_any_crash_and_any_failing_channel_nothing_is_lost_and_order_is_kept(bench, steps):
    """And what arrives twice arrives under the same id, with the same events."""
    run = Steps(bench)
    for move, which in steps:
        getattr(run, move)(which)
    bench.wait(1000)
    run.got += bench.everything(run.row)

    first: dict[str, Message] = {}
    told: defaultdict[int, list[int]] = defaultdict(list)
    for message in run.got:
        if message.id in first:
            assert message == first[message.id]
            continue
        first[message.id] = message
        assert message.release is not None
        told[message.release.deployment_id] += seqs([message])
    assert told == run.wanted
