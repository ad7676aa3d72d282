"""What one seed stands for: the groups, their servers, and what may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from rollwave.domain.config import BakePolicy, BatchMode, DeploymentConfig, FailurePolicy
from rollwave.testing.simulation.dice import Dice

SITES: Final = ("east", "west", "north")

APPROVED: Final = 10
"""In one of so many worlds releases ask for somebody's approval."""


class Trouble(Enum):
    """A kind of thing that goes wrong."""

    CRASH = "crash"
    FREEZE = "freeze"
    STORE = "store"
    QUEUE = "queue"
    COMMAND = "command"
    HOST_DOWN = "host_down"
    BALANCER_DOWN = "balancer_down"
    BALANCER_REPLY = "balancer_reply"
    FORGET = "forget"
    SKEW = "skew"
    BAD_VERSION = "bad_version"
    PARTITION = "partition"
    POWER = "power"
    WEB = "web"
    LEAVE = "leave"
    HEALTH = "health"
    HOST_CLOCK = "host_clock"
    MEDDLER = "meddler"
    """An operator who clicks at random."""


LATER: Final = {
    Trouble.PARTITION: (8, 5),
    Trouble.POWER: (16, 10),
    Trouble.WEB: (32, 12),
    Trouble.LEAVE: (32, 16),
    Trouble.HEALTH: (32, 20),
    Trouble.HOST_CLOCK: (32, 24),
}
"""
Kinds that came later, each in one of so many worlds, those whose seed leaves that remainder. So older seeds stay the
worlds that they were, and ``--from REMAINDER --step COUNT`` runs the worlds of one kind.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one instance stands: server, site, port."""

    server: str
    site: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupPlan:
    """A group of the world, and how many releases its operator makes."""

    name: str
    places: tuple[Place, ...]
    late_places: tuple[Place, ...]
    """Registered only later: what a scale-out is for."""
    release_count: int
    canary_indexes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """
    A world to be.

    Attributes:
        seed: What it follows from.
        groups: One to three.
        process_count: Engine processes.
        troubles: What may go wrong; none for a world in which everything works.
        storm_s: How long things may go wrong, in seconds.
    """

    seed: int
    groups: tuple[GroupPlan, ...]
    process_count: int
    troubles: frozenset[Trouble]
    storm_s: float


def scenario_of(seed: int) -> Scenario:
    """Return the world that *seed* stands for."""
    dice = Dice(seed, "scenario")
    troubles: frozenset[Trouble] = frozenset()
    if dice.chance(0.85):
        # Swarm testing: a few kinds of trouble at a time go deeper than all of them always.
        kinds = [kind for kind in Trouble if kind not in LATER]
        troubles = frozenset(dice.some(kinds, dice.whole(1, 5) if dice.chance(0.7) else len(kinds)))
        troubles |= {kind for kind, (count, remainder) in LATER.items() if seed % count == remainder}
    return Scenario(
        seed=seed,
        groups=_groups(dice),
        process_count=dice.whole(2, 3),
        troubles=troubles,
        storm_s=dice.between(60, 400),
    )


def _groups(dice: Dice) -> tuple[GroupPlan, ...]:
    group_count = dice.pick((1, 1, 2, 3))
    share = dice.chance(0.5)
    groups = []
    taken = 0
    for index in range(group_count):
        size = max(2, dice.pick((4, 5, 6, 8, 10, 12, 16, 40)) // group_count)
        begin = 0 if share and index and dice.chance(0.7) else taken
        places = tuple(
            Place(server=f"s{number}", site=SITES[number % len(SITES)], port=8000 + index)
            for number in range(begin, begin + size)
        )
        taken = max(taken, begin + size)
        late = dice.whole(0, max(1, size // 4)) if dice.chance(0.5) else 0
        canary_indexes = (dice.whole(0, size - 1),) if dice.chance(0.3) else ()
        groups.append(
            GroupPlan(
                name=f"shop{index}",
                places=places[: size - late] if late < size else places,
                late_places=places[size - late :] if late < size else (),
                release_count=dice.whole(2, 5),
                canary_indexes=canary_indexes,
            )
        )
    return tuple(groups)


def config_of(dice: Dice, *, asks: bool) -> DeploymentConfig:
    """Return settings for one deployment; *asks* for approval."""
    return DeploymentConfig(
        max_unavailable_percent=dice.pick((1, 10, 20, 25, 25, 34, 50)),
        canary_count=dice.pick((0, 1, 1, 1, 2, 3)),
        batch_pause_s=dice.pick((0, 0, 2, 10)),
        tail_pause_s=dice.pick((0, 0, 1, 5)),
        batch_mode=dice.pick((BatchMode.AUTO, BatchMode.AUTO, BatchMode.MANUAL)),
        startup_timeout_s=dice.pick((5, 10, 20)),
        ignore_verify=dice.chance(0.05),
        on_target_failure=dice.pick((FailurePolicy.LEAVE, FailurePolicy.RESTORE)),
        bake_policy=dice.pick((BakePolicy.MANUAL, BakePolicy.AUTO)),
        bake_min_s=dice.pick((0, 1, 15)),
        prestage=dice.chance(0.7),
        requires_approval=asks,
    )
