"""What must be true, whatever was killed. Each law is judged by what is there, never by what Rollwave believes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from demo.chaos.edge import TOLD_OUT
from demo.chaos.windows import forgetful
from demo.processes import LabError, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo.chaos.host import Call
    from demo.chaos.lab import ChaosLab
    from demo.chaos.windows import Windows

SETTLED_S: Final = 30.0
"""How long after the last fault balancers and flags may differ, in seconds: a round, a check, and a loaded machine."""

LOGGED_S: Final = 5.0
"""How long HAProxy may take to log what it did, in seconds."""

NOTICED_S: Final = 0.5
"""How long a client may take to notice that its HAProxy is gone, in seconds."""


@dataclass
class Requests:
    """
    What clients saw up to now.

    Attributes:
        sent: How many requests they had.
        failed: How many nobody answered well.
        moved: How many went to the other HAProxy, because the first one was dead.
    """

    sent: int = 0
    failed: int = 0
    moved: int = 0


@dataclass
class Stops:
    """
    The times that Rollwave had an application stopped or started.

    Attributes:
        seen: How often HAProxys were asked about it at that moment and said so.
        silent: How often one was dead or stood still.
        forgotten: How often one was asked that was just back from the dead, and had nobody out any more.
    """

    seen: int = 0
    silent: int = 0
    forgotten: int = 0


class Laws:
    """
    Judges a lab.

    Args:
        lab: Which.
        windows: When the harness had taken what away.

    Attributes:
        stops: What the law about them has met.
    """

    def __init__(self, lab: ChaosLab, windows: Windows) -> None:
        self._lab = lab
        self._windows = windows
        self._names = {edge.address: edge.name for edge in lab.edges}
        self._judged: set[str] = set()
        self._calls: dict[str, int] = {}
        self.stops = Stops()

    def of_requests(self) -> tuple[Requests, list[str]]:
        """
        No request fails, whatever was killed.

        A client takes a request from one HAProxy to the other only where the first one was dead just then.
        """
        seen, broken = Requests(), []
        for line in self._lab.seen_by_clients():
            seen.sent = line.get("sent", seen.sent)
            seen.failed += "failed" in line
            seen.moved += "moved" in line
            if "failed" in line and self._is_new(f"failed {line['failed']}"):
                where = self._server_of(line["failed"])
                broken.append(f"request {line['failed']} to {where or 'no server'} failed: {line['cause']}")
            if "moved" in line and self._is_new(f"moved {line['moved']} {line['edge']}"):
                edge = self._names[line["edge"]]
                if not self._windows.overlap(edge, line["at"] - NOTICED_S, line["at"]):
                    where = self._server_of(line["moved"]) or "no server"
                    broken.append(f"request {line['moved']} to {where} was cut by {edge}, which ran: {line['cause']}")
        return seen, broken

    def _is_new(self, what: str) -> bool:
        is_new = what not in self._judged
        self._judged.add(what)
        return is_new

    def _server_of(self, request: str) -> str | None:
        """Return the host that served a request, by HAProxy's log; None where none logged it."""

        def logged() -> str | None:
            logs = (edge.servers_of_requests() for edge in self._lab.edges)
            return next((log[request] for log in logs if request in log), None)

        try:
            until(lambda: logged() is not None, what="a line of HAProxy", timeout_s=LOGGED_S)
        except LabError:
            return None
        return logged()

    def of_canary(self, deployment: int, version: str) -> Iterator[str]:
        """I2: no client gets an answer of a new version before the log has the approval of its bake."""
        approvals = [_moment(event) for event in self._lab.events(deployment) if event["kind"] == "BakeApproved"]
        approved_at = min(approvals, default=None)
        for line in self._lab.seen_by_clients():
            if line.get("version") != version or (approved_at is not None and line["at"] >= approved_at):
                continue
            edge = self._names[line["edge"]]
            if not self._windows.overlap(forgetful(edge), line["at"] - NOTICED_S, line["at"]):
                when = "never was" if approved_at is None else f"was only {approved_at - line['at']:.2f} s later"
                yield f"{version} answered a client through {edge} before it was approved, which {when}"
                return

    def of_stops(self) -> Iterator[str]:
        """I4: nothing is stopped or started while any HAProxy sends it requests, or has one in flight to it."""
        for host in self._lab.hosts:
            calls = host.calls()
            for call in calls[self._calls.get(host.name, 0) :]:
                yield from self._of_stop(host.name, call)
            self._calls[host.name] = len(calls)

    def _of_stop(self, host: str, call: Call) -> Iterator[str]:
        for edge, seen in call.edges.items():
            if seen is None:
                self.stops.silent += 1
                continue
            status, requests = seen
            if status.startswith(TOLD_OUT) and not requests:
                self.stops.seen += 1
            elif self._windows.overlap(forgetful(edge), call.at - NOTICED_S, call.at):
                self.stops.forgotten += 1
            else:
                yield f"{host} did {call.action} for {call.verb} while {edge} had it {status}, {requests} in flight"

    def of_log(self, deployment: int) -> Iterator[str]:
        """The log of a deployment counts from 1 without a gap."""
        seqs = [event["seq"] for event in self._lab.events(deployment)]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"the log of deployment {deployment} has gaps: {seqs}"

    def of_installs(self) -> Iterator[str]:
        """No attempt starts an application twice on a host; but where the host itself died between the two."""
        for host in self._lab.hosts:
            times: dict[str, list[float]] = defaultdict(list)
            for call in host.calls():
                if call.action == "start":
                    times[call.verb].append(call.at)
            for key, moments in times.items():
                if len(moments) == 1 or not self._is_new(f"doubled {host.name} {key}"):
                    continue
                for first, second in pairwise(moments):
                    if not self._windows.overlap(host.name, first, second):
                        yield f"{host.name} did {key} twice, {second - first:.1f} s apart"

    def of_fences(self) -> Iterator[str]:
        """I9: what a host did later it did under the same or a higher fence, and never above the one written down."""
        for host in self._lab.hosts:
            results, highest = host.fences_of_results(), host.fence()
            for (_, first, before), (_, second, after) in pairwise(results):
                if after < before and self._is_new(f"fence {host.name} {second}"):
                    yield f"{host.name} did {second} under fence {after} after {first} under {before}"
            for _, verb, fence in results:
                if fence > highest and self._is_new(f"unfenced {host.name} {verb}"):
                    yield f"{host.name} did {verb} under fence {fence}, and has written down {highest}"

    def of_hosts(self, *, goal: str | None) -> Iterator[str]:
        """``current`` is a version exactly as it was built, and it runs; *goal*, where the release succeeded."""
        for host in self._lab.hosts:
            version = host.current()
            if version is None or not host.is_complete(version, self._lab.root / "builds" / version):
                yield f"current of {host.name} is {version}, which is not what was built"
            if goal is not None and (version, host.running()) != (goal, goal):
                yield f"{host.name} has {version} and runs {host.running()} after a success of {goal}"

    def of_traffic(self) -> Iterator[str]:
        """Every HAProxy sends requests to exactly those hosts whose flags want them, soon after all is well again."""
        seen: dict[str, Any] = {}

        def agree() -> bool:
            wanted = {name for name, in_traffic in self._lab.wanted().items() if in_traffic}
            seen.update({edge.name: sorted(wanted ^ edge.view().serving) for edge in self._lab.edges})
            return not any(seen.values())

        try:
            until(agree, what="agreement of HAProxy and flags", timeout_s=SETTLED_S, every_s=0.5)
        except LabError:
            for edge, wrong in seen.items():
                if wrong:
                    yield f"{edge} and the flags differ {SETTLED_S:g} s after the last fault: {', '.join(wrong)}"


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
