"""Events as other systems read them: CloudEvents 1.0, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from rollwave.words.language import Language, language_of
from rollwave.words.story import Names, sentence

if TYPE_CHECKING:
    from rollwave.ports.notifier import Message

BATCH_TYPE = "application/cloudevents-batch+json"
ONE_TYPE = "application/cloudevents+json"


def cloudevents(message: Message, *, source: str) -> list[dict[str, Any]]:
    """
    Return the events of *message*, oldest first; of a test the one that says so.

    ``source`` and ``id`` together name an event for ever, however often and in whatever message it comes.
    """
    release = message.release
    if release is None:
        return [_event(message.id, "rollwave.test", source, f"subscriptions/{message.subscription}", message.at, {})]
    names = Names(message.names, language_of(message.language) or Language.ENGLISH)
    about = msgspec.to_builtins(release)
    return [
        _event(
            f"{release.deployment_id}/{told.seq}",
            f"rollwave.deployment.{told.kind}",
            source,
            f"deployments/{release.deployment_id}",
            told.at,
            {
                **about,
                "seq": told.seq,
                "instance": told.instance,
                "sentence": sentence(told.fact, names),
                "fact": _without_output(msgspec.json.decode(told.data)),
            },
        )
        for told in message.events
    ]


def _without_output(fact: Any) -> Any:
    """Return *fact* without what programs printed on hosts: anything may stand there, for those who see the release."""
    if isinstance(fact, dict):
        return {name: _without_output(value) for name, value in fact.items() if name != "log"}
    return [_without_output(value) for value in fact] if isinstance(fact, list) else fact


def _event(  # noqa: PLR0917  # in the order of the answer
    identity: str, kind: str, source: str, subject: str, at: Any, data: dict[str, Any]
) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }
