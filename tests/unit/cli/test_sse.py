"""Server-sent events."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rollwave.cli.sse import Message, parse_messages

texts = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
words = st.text("abcdefXYZ", min_size=1)


@given(st.lists(st.tuples(st.integers(0, 10**6), words, st.lists(texts, min_size=1))))
def test_what_is_written_is_read_back(sent):
    """Every message arrives once, in order, with its id, kind and all of its data lines."""
    lines = []
    for number, kind, data in sent:
        lines += [f"id: {number}", f"event: {kind}", *(f"data: {line}" for line in data), ": heartbeat", ""]

    assert [(one.id, one.event, one.data) for one in parse_messages(lines)] == [
        (str(number), kind, "\n".join(data)) for number, kind, data in sent
    ]


def test_a_message_that_is_cut_off_is_dropped():
    """Half a message is none: it comes again with the next connection."""
    lines = ["id: 1", "data: a", "", "id: 2", "data: b"]

    assert [one.id for one in parse_messages(lines)] == ["1"]


def test_comments_unknown_fields_and_empty_messages_are_nothing():
    """Heartbeats and a `retry` line bring no message, and reset nothing but an event's name."""
    lines = [": hello", "", "retry: 1000", "", "event: lonely", "", "id: 7", "data:x", ""]

    assert list(parse_messages(lines)) == [Message(id="7", event="message", data="x")]


def test_an_id_lasts_until_the_next():
    """The standard says so: a message without an id has the last one."""
    lines = ["id: 3", "data: a", "", "data: b", ""]

    assert [one.id for one in parse_messages(lines)] == ["3", "3"]


def test_json_survives():
    """One event of the API is one data line."""
    document = {"sentence": "日本 — 50 %", "data": {"a": [1, None]}}

    (message,) = parse_messages([f"data: {json.dumps(document, ensure_ascii=False)}", ""])

    assert json.loads(message.data) == document
