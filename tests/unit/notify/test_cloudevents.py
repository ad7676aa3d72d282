"""What other systems are told of an event."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from rollwave.notify.cloudevents import cloudevents
from rollwave.ports.notifier import Message, Release, Told
from rollwave.store import codec

SETTLED = {"instance_id": 1, "standing": "failed", "stage": "verify", "progress": "failure"}
AT = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = {"code": "health.timeout", "message": "no answer", "stage": "verify", "log": "password=hunter2"}
RELEASE = Release(
    deployment_id=7, app="shop", environment="production", group="shop-prod", kind="rollout", version="2.0"
)


def test_what_programs_printed_on_hosts_is_sent_to_nobody():
    """Wherever in a fact it stands; everything else of the fact is there."""
    settled = {"settlements": [{**SETTLED, "failure": FAILURE}]}
    data = msgspec.json.encode(settled).decode()
    fact = codec.event("TargetsSettled", data)
    told = Told(seq=3, at=AT, kind="TargetsSettled", instance=None, data=data, fact=fact)
    message = Message(
        id="m", subscription="s", release=RELEASE, events=(told,), names={1: "shop/web1:80"}, language="en", at=AT
    )

    (event,) = cloudevents(message, source="rollwave")

    sent = event["data"]["fact"]
    assert "hunter2" not in msgspec.json.encode(event).decode()
    assert sent["settlements"][0]["failure"] == {name: FAILURE[name] for name in ("code", "message", "stage")}
