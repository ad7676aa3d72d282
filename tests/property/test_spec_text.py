"""A spec that was written is read as what it was."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rollwave.spec_file import read_spec
from rollwave.spec_text import write_spec

# What JSON and a database hold: any text but lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "on",
        "No",
        "null",
        "~",
        "1.0",
        "0x1f",
        "1e3",
        "2026-01-31",
        "a: b",
        "- x",
        "a #b",
        "",
        " ",
        "{}",
        "*a",
        "&a",
        "!x",
    ]
)
scalars = texts | st.integers(-(10**6), 10**6) | st.booleans() | st.none()
values = scalars | st.lists(scalars, max_size=8) | st.dictionaries(texts, scalars, max_size=4)
items = st.dictionaries(
    st.sampled_from(["name", "app", "start", "config", "instances"]), values, min_size=1, max_size=5
)
documents = st.dictionaries(st.sampled_from(["apps", "servers", "groups"]), st.lists(items, max_size=4), max_size=3)


@settings(max_examples=150)
@given(documents)
def test_what_is_written_is_read_back(document):
    """Whatever stands in it: words that YAML takes for something else, quotes, breaks, signs that nobody can see."""
    spec = read_spec(write_spec(document))

    assert spec.problems == ()
    assert spec.document == document
