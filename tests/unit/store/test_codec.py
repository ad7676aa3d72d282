"""Laws of what is stored as JSON: every value comes back as it was."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollwave.domain import facts
from rollwave.domain.config import RANGES, DeploymentConfig
from rollwave.domain.model import Abort, Batch, Brake
from rollwave.store import codec

WHEN = st.datetimes(timezones=st.just(UTC))
# SQLite keeps whole numbers of 64 bits, and text without surrogates.
IDS = st.integers(min_value=0, max_value=2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONFIGS = st.builds(DeploymentConfig, **{name: st.integers(low, high) for name, (low, high) in RANGES.items()})


@pytest.fixture(autouse=True, scope="module")
def _known_values():
    for kind, values in ((int, IDS), (str, TEXT), (DeploymentConfig, CONFIGS)):
        st.register_type_strategy(kind, values)
    from datetime import datetime

    st.register_type_strategy(datetime, WHEN)


@pytest.mark.parametrize("name", facts.FACTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_fact_comes_back_from_the_log(name, data):
    """Under the name of its kind, and equal to what was written (I21)."""
    fact = data.draw(st.from_type(facts.FACTS[name]))

    assert codec.event(name, msgspec.json.encode(fact).decode()) == fact


@settings(max_examples=50, deadline=None)
@given(seen=st.from_type(codec.StageChanged))
def test_every_stage_comes_back_from_the_log(seen):
    """The same of what workers saw."""
    assert codec.event(codec.STAGE_CHANGED, msgspec.json.encode(seen).decode()) == seen


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_only_the_domain_reads_comes_back(data):
    """Settings, batches, brake and abort of a deployment."""
    config = data.draw(CONFIGS)
    batches = data.draw(st.lists(st.from_type(Batch), max_size=3).map(tuple))
    brake, abort = data.draw(st.from_type(Brake)), data.draw(st.from_type(Abort))

    assert codec.config(codec.to_json(config)) == config
    assert codec.batches(codec.to_json(batches)) == batches
    assert codec.brake(codec.to_json(brake)) == brake
    assert codec.abort(codec.to_json(abort)) == abort


def test_nothing_comes_back_as_nothing():
    """A deployment without a brake or an abort."""
    assert codec.to_json(None) is None
    assert codec.brake(None) is None
    assert codec.abort(None) is None


def test_a_group_says_only_where_it_differs():
    """The rest of its settings are the defaults."""
    assert codec.config({"batch_pause_s": 5}) == DeploymentConfig(batch_pause_s=5)
