"""Which packages of a group are known to be good: those of deployments that ended in success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.model import Kind, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.domain.model import PackageRef

    Ended = tuple[Kind, PackageRef, Phase]


def good_packages(ended: Sequence[Ended]) -> tuple[PackageRef, ...]:
    """
    Return every package that a rollback may lead to, each once, that of the latest success first.

    Args:
        ended: Kind, goal and final phase of every deployment that is over, oldest first.
    """
    return tuple(dict.fromkeys(goal for _kind, goal, phase in reversed(ended) if phase is Phase.SUCCESS))


def stable_packages(
    ended: Sequence[Ended],
) -> tuple[PackageRef | None, PackageRef | None]:
    """
    Return the stable package of a group and the one to go back to from there.

    A rollback undoes: it forgets the packages that came after the one it went back to. So two rollbacks in a row lead
    from 1.2 to 1.1 to 1.0, and not back to 1.2.

    Args:
        ended: Kind, goal and final phase of every deployment that is over, oldest first.
    """
    good: list[PackageRef] = []
    for kind, goal, phase in ended:
        if phase is not Phase.SUCCESS:
            continue
        if kind is Kind.ROLLBACK and goal in good:
            while good[-1] != goal:
                good.pop()
        elif not good or good[-1] != goal:
            good.append(goal)
    return (good[-1] if good else None, good[-2] if len(good) > 1 else None)
