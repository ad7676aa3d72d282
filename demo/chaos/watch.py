"""The watch: asks HAProxys and hosts what is true, some times a second, and notes where a law is broken just then."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from demo.processes import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from demo.chaos.edge import Edge, View
    from demo.chaos.host import Host

EVERY_S: Final = 0.1
"""Time between two looks, in seconds."""

ANSWER_S: Final = 0.5
"""How long an HAProxy that stands still is waited for, in seconds."""


@dataclass
class Watch:
    """
    Judges what only shows at the moment itself.

    Attributes:
        limit: How many hosts may be out of traffic at a time.
        looks: How often an HAProxy has answered.
        most_out: The most hosts that one of them was told to keep out.
        broken: What was wrong, each once.
    """

    limit: int
    looks: int = 0
    most_out: int = 0
    broken: list[str] = field(default_factory=list)
    _fences: dict[str, int] = field(default_factory=dict)

    def see_edge(self, name: str, view: View) -> None:
        """I1: at every instant an HAProxy keeps at most *limit* hosts out because it was told so."""
        self.looks += 1
        self.most_out = max(self.most_out, len(view.told_out))
        if len(view.told_out) > self.limit:
            self._note(f"{name} keeps {', '.join(sorted(view.told_out))} out of traffic: {self.limit} may be")

    def see_fence(self, host: str, fence: int) -> None:
        """I9: the fence of a host only rises."""
        before = self._fences.get(host, fence)
        if fence < before:
            self._note(f"the fence of {host} fell from {before} to {fence}")
        self._fences[host] = max(before, fence)

    def _note(self, sentence: str) -> None:
        if sentence not in self.broken:
            self.broken.append(sentence)


class Watcher:
    """
    Lets a watch look, from a thread of its own, as long as its block lasts.

    Args:
        watch: Who judges.
        edges: Whom to ask.
        hosts: Whom to ask.
    """

    def __init__(self, watch: Watch, *, edges: Sequence[Edge], hosts: Sequence[Host]) -> None:
        self._watch = watch
        self._edges = edges
        self._hosts = hosts
        self._is_over = threading.Event()
        self._errors: list[Exception] = []
        looks = [partial(self._look_at_edge, edge) for edge in edges]
        self._threads = [
            threading.Thread(target=self._go_on, args=(look,), daemon=True) for look in [*looks, self._look_at_hosts]
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            # Nobody has looked since: what was not seen is no proof.
            raise LabError(f"the watch has ended early: {self._errors[0]!r}") from self._errors[0]

    def _go_on(self, look: Callable[[], None]) -> None:
        try:
            while not self._is_over.wait(EVERY_S):
                look()
        except Exception as error:  # noqa: BLE001  # in a thread: whoever ends the block raises it
            self._errors.append(error)

    def _look_at_edge(self, edge: Edge) -> None:
        with suppress(OSError):  # it is dead, or stands still
            self._watch.see_edge(edge.name, edge.view(timeout_s=ANSWER_S))

    def _look_at_hosts(self) -> None:
        for host in self._hosts:
            self._watch.see_fence(host.name, host.fence())
