"""A spec that knows its lines."""

from __future__ import annotations

import io
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rollwave.cli.snippet import render_problem
from rollwave.spec_file import Place, read_spec

LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No law has to be quick: the machine may be busy."""

names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8).filter(
    lambda name: name not in {"y", "n", "no", "on", "off", "yes", "true", "false", "null", "_"}
)
scalars = st.one_of(names, st.integers(-1000, 1000), st.booleans(), st.none())
documents = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
        max_leaves=20,
    ),
    max_size=5,
)


def leaves(value, path=""):
    """Every path of a document and what is there."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")


def written(document, *, flow):
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = flow
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


@LAW
@given(documents, st.booleans())
def test_what_was_written_is_read(document, flow):
    """The document is the YAML's, and nothing is wrong with it."""
    spec = read_spec(written(document, flow=flow))

    assert spec.problems == ()
    assert spec.document == document


@LAW
@given(documents, st.booleans())
def test_every_path_has_the_place_where_it_stands(document, flow):
    """What is underlined begins with the key of a mapping, or with the item of a list."""
    text = written(document, flow=flow)
    lines = text.splitlines()
    spec = read_spec(text)

    for path, value in leaves(document):
        place = spec.place_of(path)
        underlined = lines[place.line - 1][place.column - 1 :][: place.length]
        if not path.endswith("]"):
            key = path.rpartition(".")[2]
            assert underlined.lstrip("? '\"").startswith(key)
        elif isinstance(value, str):
            assert value in underlined
        assert underlined


@LAW
@given(documents, names, st.integers(0, 5))
def test_a_path_that_is_not_there_has_the_place_of_what_is_around_it(document, name, index):
    """A missing key is shown where it is missed."""
    spec = read_spec(written(document, flow=False))

    for path, value in leaves(document):
        if not isinstance(value, dict) or name not in value:
            assert spec.place_of(f"{path}.{name}") == spec.place_of(path)
        if not isinstance(value, list) or index >= len(value):
            assert spec.place_of(f"{path}[{index}]") == spec.place_of(path)


def test_every_mistake_is_found_at_once():
    """Doubled keys, tags, endless numbers: all of them, in the order of the file."""
    text = "apps:\n  - name: a\n    name: b\ngroups:\n  - size: .inf\n    when: !x 1\n    name: a\n    name: a\n<<: 1\n"

    problems = read_spec(text).problems

    assert [(one.place.line, one.path) for one in problems] == [
        (3, "apps[0].name"),
        (5, "groups[0].size"),
        (6, "groups[0].when"),
        (8, "groups[0].name"),
        (9, ""),
    ]
    assert "the first is on line 2" in problems[0].message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: [1,\nb: 2\n", 3, 1),
        ("a: b: c\n", 1, 5),
        ("ok: 1\na:\n\t- x\n", 3, 1),
        ("a: *nowhere\n", 1, 4),
        ("a: 1\nb: \x07\n", 2, 4),
        ("--- 1\n--- 2\n", 2, 1),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place(text, line, column):
    """One problem, at the place where reading stopped."""
    (problem,) = read_spec(text).problems

    assert problem.message.startswith("this is not YAML")
    assert (problem.place.line, problem.place.column) == (line, column)


@pytest.mark.parametrize("text", ["- a\n", "hello\n", "42\n"])
def test_a_spec_is_a_mapping(text):
    """Anything else is one problem that says what it should be."""
    (problem,) = read_spec(text).problems

    assert "mapping" in problem.message


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_an_empty_spec(text):
    """It names nothing, and so changes nothing."""
    assert (read_spec(text).document, read_spec(text).problems) == ({}, ())


def test_a_value_that_contains_itself_ends():
    """An alias inside its own anchor is a mistake, not an endless loop."""
    (problem,) = read_spec("a: &x\n  b: *x\n").problems

    assert "contains itself" in problem.message


def test_an_alias_is_the_value_that_it_names():
    """Aliases of whole values are the way to say something once."""
    assert read_spec("a: &x {p: 1}\nb: *x\n").document == {"a": {"p": 1}, "b": {"p": 1}}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_few_lines_never_become_a_large_document():
    """Aliases of aliases multiply: reading ends at so many repeats, at the line of the alias that was one too much."""
    (problem,) = read_spec(BOMB).problems

    assert "repeat" in problem.message
    assert problem.place.line == 5


@pytest.mark.parametrize("text", ["[" * 2000, "a: " + "[" * 2000, "{a: " * 2000, "- " * 2000, "? " * 2000])
def test_what_is_too_deep_is_said_with_its_line(text):
    """However deep somebody nests: one problem, where it became too deep."""
    (problem,) = read_spec(f"# deep\n{text}").problems

    assert "deep" in problem.message
    assert problem.place.line == 2


def test_a_key_is_never_so_long_that_the_places_below_it_fill_the_memory():
    """A path is noted for every item below: it is short, or it is a problem and nothing below it is read."""
    spec = read_spec(f"? {'k' * 10_000}\n: [{'1, ' * 1000}]\n")

    (problem,) = spec.problems
    assert "characters" in problem.message
    assert len(spec.places) <= 1


def test_words_and_dates_stay_text():
    """YAML 1.2: `on` and `no` are words; a date is what was written."""
    assert read_spec("a: on\nb: no\nc: 2026-01-31\n").document == {"a": "on", "b": "no", "c": "2026-01-31"}


@pytest.mark.parametrize("line", ["name: shop", "  店铺: 店", "\tx"])
def test_the_caret_stands_under_the_text_at_fault(line):
    """Also where characters are two cells wide."""
    from rich.cells import cell_len

    from rollwave.spec_file import SpecProblem

    start = len(line) - len(line.lstrip())
    problem = SpecProblem(message="no", place=Place(line=1, column=start + 1, length=len(line) - start))

    shown, under = render_problem(problem, name="f.yaml", lines=[line]).plain.splitlines()[1:3]

    margin = cell_len(shown) - cell_len(line.replace("\t", " "))
    assert under.index("^") == margin + start
    assert under.count("^") == cell_len(line.strip())
