"""Server-sent events."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.cli.sse import Message, parse_messages, split_lines

LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No law has to be quick: the machine may be busy."""

texts = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
words = st.text("abcdefXYZ", min_size=1)


@LAW
@given(st.lists(st.tuples(st.integers(0, 10**6), words, st.lists(texts, min_size=1))))
def test_what_is_written_is_read_back(sent):
    """Every message arrives once, in order, with its id, kind and all of its data lines."""
    lines = []
    for number, kind, data in sent:
        lines += [f"id: {number}", f"event: {kind}", *(f"data: {line}" for line in data), ": heartbeat", ""]

    assert [(one.id, one.event, one.data) for one in parse_messages(lines)] == [
        (str(number), kind, "\n".join(data)) for number, kind, data in sent
    ]


@LAW
@given(st.lists(texts), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 7))
def test_lines_are_the_same_however_they_arrive(lines, end, size):
    """Only LF, CR LF and CR end a line, also where a chunk ends between them; U+2028 and its like do not."""
    text = "".join(f"{line}{end}" for line in [*lines, "a\u2028b\x85c\x0bd", "last"])
    chunks = [text[start : start + size] for start in range(0, len(text), size)]

    found = list(split_lines(chunks))

    # A lone CR at the very end still waits for what may follow.
    assert [*found, "last"][: len(lines) + 2] == [*lines, "a\u2028b\x85c\x0bd", "last"]


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
