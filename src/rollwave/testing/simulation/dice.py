"""Chance, from a seed: every stream of it has a name, so that one more throw here changes nothing there."""

from __future__ import annotations

import random  # noqa: TID251  # the simulator is where randomness is injected from
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Dice:
    """
    One stream of chance.

    Args:
        seed: Of the world.
        name: Of the stream.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311  # reproducible on purpose, guards nothing

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random.random() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number from the range."""
        return self._random.uniform(low, high)

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from the range, both ends included."""
        return self._random.randint(low, high)

    def after(self, mean_s: float) -> float:
        """Return how long it takes until something happens that happens every *mean_s* seconds."""
        return self._random.expovariate(1 / mean_s)

    def pick(self, values: Sequence[T]) -> T:
        """Return one of them."""
        return self._random.choice(values)

    def some(self, values: Sequence[T], count: int) -> list[T]:
        """Return *count* different ones, in random order."""
        return self._random.sample(values, count)

    def jitter(self) -> float:
        """Return how long a step takes beside the event loop: mostly nothing, at times long."""
        throw = self._random.random()
        if throw < 0.7:
            return 0.002 * throw
        return 0.03 * throw if throw < 0.98 else 20 * (throw - 0.98)
