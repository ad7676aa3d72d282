"""What must be true, whatever was killed. Each law is judged by what is there, never by what Rollwave believes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from demo.chaos.windows import DEATH, HAPROXY
from demo.lab import GROUP
from demo.processes import LabError, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo.chaos.lab import ChaosLab
    from demo.chaos.windows import Windows

SETTLED_S: Final = 30.0
"""How long after the last fault balancer and flags may differ, in seconds: a round, a check, and a loaded machine."""

LOGGED_S: Final = 5.0
"""How long HAProxy may take to log what it did, in seconds."""


@dataclass
class Requests:
    """What clients saw up to now."""

    sent: int = 0
    failed: int = 0
    excused: int = 0


class Laws:
    """
    Judges a lab.

    Args:
        lab: Which.
        windows: When the harness had taken what away.
    """

    def __init__(self, lab: ChaosLab, windows: Windows) -> None:
        self._lab = lab
        self._windows = windows
        self._judged: set[str] = set()
        self._excused = 0
        self._doubled: set[tuple[str, str]] = set()

    def of_requests(self) -> tuple[Requests, list[str]]:
        """
        No request fails; but for those that met HAProxy, or the host that served them, while it was away.

        One that HAProxy did not log is excused only where a host died at that very moment.
        """
        sent, failures = self._lab.seen_by_clients()
        broken = []
        for failure in failures:
            if failure["id"] in self._judged:
                continue
            self._judged.add(failure["id"])
            server = self._server_of(failure)
            if self._is_excused(failure, server):
                self._excused += 1
            else:
                broken.append(f"request {failure['id']} to {server or 'no server'} failed: {failure['cause']}")
        return Requests(sent=sent, failed=len(failures), excused=self._excused), broken

    def _is_excused(self, failure: Mapping[str, Any], server: str | None) -> bool:
        # A request on a kept connection whose host dies before it answers is the one thing that HAProxy does not log:
        # it closes the client's connection without a word. Nobody can say then which host it was, only when one died.
        names = [HAPROXY, server or DEATH]
        return any(self._windows.overlap(name, failure["began_at"], failure["ended_at"]) for name in names)

    def _server_of(self, failure: Mapping[str, Any]) -> str | None:
        """Return the host that served a request; None where HAProxy did not log it."""
        if self._windows.overlap(HAPROXY, failure["began_at"], failure["ended_at"]):
            return None
        try:
            until(
                lambda: failure["id"] in self._lab.servers_of_requests(), what="a line of HAProxy", timeout_s=LOGGED_S
            )
        except LabError:
            return None
        return self._lab.servers_of_requests()[failure["id"]]

    def of_log(self, deployment: int) -> Iterator[str]:
        """The log of a deployment counts from 1 without a gap."""
        seqs = [event["seq"] for event in self._lab.events(deployment)]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"the log of deployment {deployment} has gaps: {seqs}"

    def of_installs(self) -> Iterator[str]:
        """No attempt starts an application twice on a host; but where the host itself died between the two."""
        for host in self._lab.hosts:
            times: dict[str, list[float]] = defaultdict(list)
            for at, key in host.starts():
                times[key].append(at)
            for key, moments in times.items():
                if len(moments) == 1 or (host.name, key) in self._doubled:
                    continue
                self._doubled.add((host.name, key))
                for first, second in pairwise(moments):
                    if not self._windows.overlap(host.name, first, second):
                        yield f"{host.name} did {key} twice, {second - first:.1f} s apart"

    def of_hosts(self, *, goal: str | None) -> Iterator[str]:
        """``current`` is a version exactly as it was built, and it runs; *goal*, where the release succeeded."""
        for host in self._lab.hosts:
            version = host.current()
            if version is None or not host.is_complete(version, self._lab.root / "builds" / version):
                yield f"current of {host.name} is {version}, which is not what was built"
            if goal is not None and (version, host.running()) != (goal, goal):
                yield f"{host.name} has {version} and runs {host.running()} after a success of {goal}"

    def of_traffic(self) -> Iterator[str]:
        """HAProxy sends requests to exactly those hosts whose flags want them, soon after all is well again."""
        seen: dict[str, Any] = {}

        def agree() -> bool:
            seen["wanted"] = {
                one["server"]: one["in_traffic"] for one in self._lab.ask(f"/api/v1/groups/{GROUP}")["instances"]
            }
            seen["actual"] = dict(self._lab.traffic())
            return bool(seen["wanted"] == seen["actual"])

        try:
            until(agree, what="agreement of HAProxy and flags", timeout_s=SETTLED_S, every_s=0.5)
        except LabError:
            wrong = {name: is_in for name, is_in in seen["actual"].items() if seen["wanted"].get(name) is not is_in}
            yield f"HAProxy and flags differ {SETTLED_S:g} s after the last fault: {wrong}"
