"""How the event loop calls what blocks: in a thread in production, in place under simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Offload(Protocol):
    """Runs blocking functions beside the event loop."""

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns, raise what it raises."""
        ...

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same for one that writes nothing: it need not queue behind what is being written."""
        ...
