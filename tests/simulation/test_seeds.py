"""The laws of a release hold in every simulated world."""

import pytest

from rollwave.testing.simulate import simulate

REGRESSIONS = (
    11,  # a balancer that forgot let a failed instance in
    15,  # a frozen process woke up and took a member out of traffic
    19,  # a neighbor was seen with our own work in it
    32,  # groups that share servers wait for each other's room
    41,  # a balancer that did not answer was asked again and again to mark up what had been held meanwhile
    49,  # whoever made room died before saying so
    55,  # the store went down in the middle of a recall: a recorder never wrote again
    72,  # two canaries on one neighbor's servers waited for each other
    75,  # a worker resumed a failure and put the target back without telling the brake
    5270,  # two groups that share no server took the same room of a neighbor between them
    206,  # whoever took a slice over had not heard of a hold
    207881405,  # whoever renewed after a sleep had not heard of one either, and marked up
    171,  # canaries waited, out of traffic, for one that waited for their room
    3035,  # a hold was let go while the balancer could not be told
    20449,  # the same with a store that was down
    1046,  # the same, and nobody put it back in until its whole slice was settled
    207881720,  # the same with all workers frozen
    3036,  # a balancer forgot, and a call to put that right came when the target was on its way back
    668,  # the same, with nobody left who could have helped
    207870416,  # the same, with the store down in between
    200953,  # a failed instance that was let go was taken to be on its way back
    200259,  # a hold shrank the limit, and a failure that its balancer had kept in was tried again
)
"""Seeds that once broke a law, with what it was; kept for ever."""

FIRST, COUNT, CHUNK = 1_000, 20, 10


def _explain(result):
    return "\n".join([f"seed {result.seed}: {result.violation}", *result.last])


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_once_failed_holds(seed):
    """A world in which a law was once broken is a world in which it holds now."""
    result = simulate(seed)

    assert result.violation is None, _explain(result)


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, CHUNK))
def test_every_law_holds(first):
    """No seed breaks a law, and every world really releases something."""
    for seed in range(first, first + CHUNK):
        result = simulate(seed)

        assert result.violation is None, _explain(result)
        assert result.release_count > 0


@pytest.mark.parametrize("seed", [1, 7, 23])
def test_a_seed_is_a_history(seed):
    """The same seed gives the same events in the same order; another seed gives others."""
    first, again, other = simulate(seed), simulate(seed), simulate(seed + 1)

    assert (first.digest, first.event_count) == (again.digest, again.event_count)
    assert first.digest != other.digest
