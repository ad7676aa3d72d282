"""The text of a pool's file."""

from __future__ import annotations

import pytest

from rollwave.balancers.nginx_file import PoolFile, PoolFileError

STATUS = "127.0.0.1:8099"
TEXT = """\
# ours
upstream web {
    least_conn;
    server 10.0.0.1:80 max_fails=0;  # the big one
    server 10.0.0.2:80 down weight=2;
    # server 10.0.0.3:80;
}
"""


def parse(text: str = TEXT) -> PoolFile:
    return PoolFile.parse("web", text)


def test_down_is_out() -> None:
    """Who has a line without "down" is in traffic."""
    assert parse().dials == {"10.0.0.1:80"}


def test_a_switch_keeps_all_else() -> None:
    """A member that goes out and comes back leaves the text as it was: options, comments, places."""
    out = parse().with_members({"10.0.0.2:80": True, "10.0.0.1:80": False}, status=STATUS)
    assert out.dials == {"10.0.0.2:80"}
    assert "    server 10.0.0.1:80 max_fails=0 down;  # the big one\n" in out.body

    back = out.with_members({"10.0.0.1:80": True}, status=STATUS)
    assert back.body == TEXT.replace(" down weight=2", " weight=2")


def test_new_member_gets_a_line() -> None:
    """Who is put in and has no line gets one; who is put out and has none needs none."""
    after = parse().with_members({"10.0.0.9:80": True, "10.0.0.8:80": False}, status=STATUS)

    assert after.body == TEXT.replace("}\n", "    server 10.0.0.9:80;\n}\n")


def test_nobody_left_is_answered_by_the_status_server() -> None:
    """While nobody is in, the status server stands in (503); it leaves with the first who comes."""
    before = parse()
    nobody = before.with_members({"10.0.0.1:80": False}, status=STATUS)
    assert nobody.dials == frozenset()
    assert f"server {STATUS};" in nobody.body
    assert nobody.with_members({"10.0.0.1:80": False}, status=STATUS) == nobody

    assert nobody.with_members({"10.0.0.1:80": True}, status=STATUS).body == before.body


def test_what_is_written_is_read_back() -> None:
    """A rendered text reads as the same file, not changed by hand; any edit above the mark shows."""
    text = parse().render(status=STATUS)

    assert parse(text).body == TEXT
    assert not parse(text).is_by_hand
    assert parse(parse(text).render(status=STATUS)).render(status=STATUS) == text
    assert parse(TEXT).is_by_hand
    assert parse(text.replace(" down", "")).is_by_hand


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r'no line "upstream web \{"'),
        ("upstream other {\n}\n", r'no line "upstream web \{"'),
        ("upstream web {\n    server 10.0.0.1:80;\n", "ends its upstream"),
        ("upstream web {\n    server 10.0.0.1:80; server 10.0.0.2:80;\n}\n", "a line of its own"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, reason: str) -> None:
    """A file whose block cannot be found or edited line by line is an error that says why."""
    with pytest.raises(PoolFileError, match=reason):
        parse(text)
