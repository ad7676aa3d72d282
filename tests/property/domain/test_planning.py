"""Plans and limits of groups in any condition (domain.md, rules 1 to 3)."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollwave.domain.budget import limit_of
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.errors import EmptyGroupError
from rollwave.domain.model import Instance, Kind
from rollwave.domain.planner import balanced_sizes, plan, plan_batches, select_targets, spread_over_sites


@st.composite
def fleets(draw, max_size=30):
    count = draw(st.integers(1, max_size))
    return tuple(
        Instance(
            id=number,
            name=f"shop/s{number}:80",
            server=f"s{number}",
            site=draw(st.sampled_from("ABC")),
            hold=draw(st.sampled_from([False, False, False, True])),
            offline=draw(st.sampled_from([False, False, False, True])),
            failed=draw(st.sampled_from([False, False, True])),
            new=draw(st.sampled_from([False, False, True])),
        )
        for number in range(1, count + 1)
    )


configs = st.builds(DeploymentConfig, max_unavailable_percent=st.integers(1, 50), canary_count=st.integers(0, 4))


@given(count=st.integers(1, 300), limit=st.integers(1, 40))
def test_batches_are_few_balanced_and_within_the_limit(count, limit):
    """As few as the limit allows, larger ones first, no two more than one apart."""
    found = balanced_sizes(count, limit_count=limit)

    assert sum(found) == count
    assert len(found) == -(-count // limit)
    assert max(found) <= limit
    assert max(found) - min(found) <= 1
    assert list(found) == sorted(found, reverse=True)


@given(fleet=fleets(), config=configs, kind=st.sampled_from(Kind), data=st.data())
def test_every_instance_that_takes_part_rolls_exactly_once(fleet, config, kind, data):
    """None that is held or offline is planned (I23), no batch is above the limit, planning again is the same (I24)."""
    canaries = data.draw(st.sets(st.sampled_from([one.id for one in fleet])))
    chosen = select_targets(fleet, kind=kind)
    if not chosen:
        with pytest.raises(EmptyGroupError):
            plan(fleet, group="shop", kind=kind, config=config, canaries=canaries)
        return

    batches, has_canary = plan(fleet, group="shop", kind=kind, config=config, canaries=canaries)

    initial = all(one.new for one in fleet)
    eligible = sum(one.can_take_part and (initial or not one.new) for one in fleet)
    half = -(-len(chosen) // 2)
    limit = half if kind is Kind.ROLLBACK else max(1, eligible * config.max_unavailable_percent // 100)
    assert sorted(one for batch in batches for one in batch) == sorted(one.id for one in chosen)
    assert all(one.can_take_part for one in chosen)
    assert all(1 <= len(batch) <= limit for batch in batches)
    assert has_canary == (config.canary_count > 0 and kind in (Kind.ROLLOUT, Kind.REROLL))
    assert (batches, has_canary) == plan(fleet, group="shop", kind=kind, config=config, canaries=canaries)


@given(fleet=fleets(), config=configs)
def test_a_canary_batch_has_room_to_start_beside_what_is_broken(fleet, config):
    """Its healthy members and everything that is out already are within the limit, or it has no healthy members."""
    chosen = select_targets(fleet, kind=Kind.ROLLOUT)
    if not chosen or not config.canary_count:
        return

    batches, _ = plan(fleet, group="shop", kind=Kind.ROLLOUT, config=config)

    initial = all(one.new for one in fleet)
    counted = [one for one in chosen if initial or not one.new]
    limit = max(1, len(counted) * config.max_unavailable_percent // 100)
    healthy = [one for one in counted if one.id in batches[0] and not one.failed]
    assert not healthy or len(healthy) + sum(one.failed for one in counted) <= limit


@given(sites=st.lists(st.sampled_from("ABCD"), min_size=1, max_size=60), limit=st.integers(1, 12))
def test_every_batch_has_each_site_in_proportion(sites, limit):
    """
    In each batch a site has its share of the group, give or take rounding: less than one instance for every other site.
    """
    fleet = [Instance(id=number, name=str(number), server=str(number), site=site) for number, site in enumerate(sites)]
    site_of = {one.id: one.site for one in fleet}
    members = Counter(sites)

    for batch in plan_batches(fleet, limit_count=limit, canary_count=0):
        here = Counter(site_of[one] for one in batch)
        for site, count in members.items():
            share = Fraction(len(batch) * count, len(sites))
            assert abs(here[site] - share) <= len(members) - 1, (batch, site, share)


@given(sites=st.lists(st.sampled_from("ABC"), max_size=40))
def test_spreading_keeps_everyone_and_the_order_inside_a_site(sites):
    """A permutation that never turns two instances of one site around."""
    fleet = [Instance(id=number, name=str(number), server=str(number), site=site) for number, site in enumerate(sites)]

    spread = spread_over_sites(fleet)

    assert sorted(one.id for one in spread) == list(range(len(fleet)))
    for site in set(sites):
        assert [one.id for one in spread if one.site == site] == [one.id for one in fleet if one.site == site]


@given(eligible=st.integers(0, 20_000), percent=st.integers(1, 50))
def test_the_limit_is_the_share_rounded_down_and_at_least_one(eligible, percent):
    """Never above the share, except where that would be nobody."""
    limit = limit_of(eligible, max_unavailable_percent=percent)

    assert limit == 1 or limit * 100 <= eligible * percent
    assert (limit + 1) * 100 > eligible * percent
