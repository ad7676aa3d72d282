"""
Group commit: what many targets of many slices report is written by one transaction at a time.

While one is being written the next one gathers, so the batches grow with the load by themselves. A second is handed
over before the first is done: the thread that writes goes on with it at once, while the event loop wakes those who
waited for the first. A failure and the end of a slice are decided in the very transaction that records them (I7).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.commands import SliceReported
from rollwave.domain.decide import decide
from rollwave.domain.errors import FencedError, RecalledError, StateConflictError
from rollwave.domain.model import Standing
from rollwave.ports.store import SliceRecord, packed
from rollwave.ports.telemetry import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rollwave.domain.commands import Settlement
    from rollwave.domain.decide import Decision
    from rollwave.domain.model import Failure
    from rollwave.engine.offload import Offload
    from rollwave.engine.releases import Releases
    from rollwave.ports.clock import Clock
    from rollwave.ports.store import Claim, Loaded, SliceKey, Transition
    from rollwave.ports.telemetry import Telemetry

WRITES: Final = 2
"""Most transactions that are handed over at a time: one that is being written, and the one after it."""

WORTH_ANOTHER: Final = 200
"""How many reports have to wait for a transaction to be handed over before the one before it is done."""

MOST_ENTRIES: Final = 5000
"""Most reports of one transaction: larger ones would gain nothing and make each report wait longer."""


@dataclass(kw_only=True, slots=True)
class Session:
    """
    One claimed slice, as its worker knows it.

    Attributes:
        claim: What was claimed.
        lease_until: How long it is surely owned, by this process's own clock.
        recalls: How often targets have been recalled, as last seen.
        recalled: Instances whose targets have to leave.
        unreported: Settled targets that no decision has seen yet.
        open_count: Targets that are not settled.
    """

    claim: Claim
    lease_until: datetime
    recalls: int
    open_count: int = 0
    recalled: frozenset[int] = frozenset()
    unreported: list[Settlement] = field(default_factory=list)

    def log_fields(self) -> dict[str, object]:
        """Return what tells this slice from others; see `rollwave.engine.subject`."""
        deployment_id, number = self.claim.key
        return {"deployment": deployment_id, "slice": number, "epoch": self.claim.epoch}

    def note(self, entries: Iterable[_Entry], *, reported: bool, lease_until: datetime) -> None:
        """Note that *entries* were written, and whether a decision has seen all that is settled."""
        self.lease_until = lease_until
        settled = [entry.settlement for entry in entries if entry.settlement]
        self.open_count -= len(settled)
        self.unreported = [] if reported else [*self.unreported, *settled]


class _Entry(Struct, frozen=True, kw_only=True, eq=False, gc=False):
    session: Session
    transitions: Sequence[Transition]
    settlement: Settlement | None
    failing: tuple[int, Failure] | None
    done: bool
    written: asyncio.Future[None]


class _Part(Struct, frozen=True, kw_only=True, gc=False):
    """What one transaction writes of one slice."""

    session: Session
    entries: list[_Entry]
    record: SliceRecord


class Recorder:
    """
    Writes what workers report. One per process; used from its event loop.

    Args:
        releases: Decides what a report means.
        clock: For leases and the times of decisions.
        offload: Runs the store's blocking calls.
        lease_s: How long a worker owns a slice without renewing, in seconds.
        telemetry: Hears of what was written.
    """

    def __init__(
        self, releases: Releases, *, clock: Clock, offload: Offload, lease_s: float, telemetry: Telemetry = UNHEARD
    ) -> None:
        self._telemetry = telemetry
        self._releases = releases
        self._clock = clock
        self._offload = offload
        self._lease = timedelta(seconds=lease_s)
        self._entries: list[_Entry] = []
        self._writers: set[asyncio.Task[None]] = set()

    def record(
        self,
        session: Session,
        transitions: Sequence[Transition] = (),
        *,
        settlement: Settlement | None = None,
        failing: tuple[int, Failure] | None = None,
        done: bool = False,
    ) -> asyncio.Future[None]:
        """
        Have transitions of one target written; the future is done once they are durable. An empty call renews a lease.

        The future raises FencedError if the slice is another's by now, and RecalledError if the instance was held in
        the meantime; in both cases nothing of this call was recorded.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(
            session=session,
            transitions=transitions,
            settlement=settlement,
            failing=failing,
            done=done,
            # Not by the loop's own method, which in uvloop takes twice as long.
            written=asyncio.Future(loop=loop),
        )
        self._entries.append(entry)
        if not self._writers or (len(self._writers) < WRITES and len(self._entries) >= WORTH_ANOTHER):
            self._writers.add(loop.create_task(self._write_all()))
        return entry.written

    async def _write_all(self) -> None:
        try:
            while self._entries:
                entries, self._entries = self._entries[:MOST_ENTRIES], self._entries[MOST_ENTRIES:]
                await self._write(entries)
        finally:
            # In the same step as the last look: nobody may count on a writer that looks no more.
            self._writers.remove(_current_task())

    async def _write(self, entries: list[_Entry]) -> None:
        """Write *entries*, leaving out slices that turn out to be fenced and targets that turn out to be recalled."""
        while entries:
            try:
                entries = await self._try_to_write(entries)
            except StateConflictError:
                self._telemetry.conflicted()
                continue
            except Exception as error:  # noqa: BLE001  # every waiting worker gets it, and raises it where it belongs
                _fail(entries, entries, error)
                return

    async def _try_to_write(self, entries: list[_Entry]) -> list[_Entry]:
        """Write *entries*; return those that are still to be written, or may be tried again."""
        entries = _without_recalled(entries)
        if not entries:
            return []
        now = self._clock.now()
        # Here, on the event loop: the thread that writes is the one that everybody waits for.
        parts = [self._part(session, of_slice, now=now) for session, of_slice in _by_session(entries)]
        try:
            postponed, decisions = await self._offload(self._commit, parts, now)
        except FencedError as error:
            # A process that slept may hold the same slice twice; it is the older claim that is void.
            fenced = min(_sessions_of(entries, error.key), key=lambda session: session.claim.epoch)
            return _fail(entries, [one for one in entries if one.session is fenced], error)
        except RecalledError as error:
            return await self._recall(entries, error)
        waiting = set(postponed)
        for entry in entries:
            if entry not in waiting and not entry.written.done():
                entry.written.set_result(None)
        # Last, and on the event loop: neither the thread that writes nor a worker waits for whoever listens.
        self._telemetry.recorded([part.record for part in parts if part.entries[0] not in waiting], since=now)
        for loaded, decision in decisions:
            self._telemetry.decided(loaded.state.deployment.id, decision.facts, since=now)
        return postponed

    async def _recall(self, entries: list[_Entry], error: RecalledError) -> list[_Entry]:
        """Learn who has to leave; of each of them the next report is refused, whenever it comes."""
        recalls, recalled = await self._offload.read(self._releases.store.held, error.key)
        for session in _sessions_of(entries, error.key):
            session.recalls, session.recalled = recalls, recalled
        return entries

    def _part(self, session: Session, entries: list[_Entry], *, now: datetime) -> _Part:
        transitions = [transition for entry in entries for transition in entry.transitions]
        record = SliceRecord(
            key=session.claim.key,
            epoch=session.claim.epoch,
            recalls=session.recalls,
            lease_until=now + self._lease,
            transitions=transitions,
            packed=packed(transitions),
        )
        return _Part(session=session, entries=entries, record=record)

    def _commit(self, parts: list[_Part], now: datetime) -> tuple[list[_Entry], list[tuple[Loaded, Decision]]]:
        """
        Decide what calls for a decision, and commit it all; runs beside the event loop.

        Groups that share servers are decided in different commits: one decision cannot see what the other takes.

        Returns:
            The entries that have to wait for the next commit; what was decided.
        """
        loads: dict[int, Loaded] = {}
        reports: dict[int, list[SliceReported]] = {}
        deciding: set[str] = set()
        postponed: list[_Entry] = []
        written: list[tuple[_Part, bool]] = []
        for part in parts:
            deployment_id, _ = part.record.key
            report = _report(part.session, part.entries)
            if report is not None:
                if deployment_id not in loads:
                    loaded = self._releases.load(deployment_id)
                    if not deciding.isdisjoint(loaded.group_versions):
                        postponed += part.entries
                        continue
                    deciding.update(loaded.group_versions)
                    loads[deployment_id] = loaded
                reports.setdefault(deployment_id, []).append(report)
            written.append((part, report is not None))
        decisions = [(loads[id_], decide(loads[id_].state, *told, now=now)) for id_, told in reports.items()]
        for after in self._releases.store.commit(decisions, [part.record for part, _ in written], at=now):
            # Here, and not back on the event loop: whoever loads next would find the cache behind, and read it all.
            self._releases.remember(after)
        # Here for the same reason: the next transaction may begin before the event loop hears of this one.
        for part, reported in written:
            part.session.note(part.entries, reported=reported, lease_until=part.record.lease_until)
        return postponed, decisions


def _without_recalled(entries: list[_Entry]) -> list[_Entry]:
    """Return *entries* but for those by which a recalled target would go on instead of leaving."""
    for one in entries:
        if (
            one.session.recalled
            and one.settlement is None
            and any(each.instance_id in one.session.recalled for each in one.transitions)
        ):
            deployment_id, slice_number = one.session.claim.key
            error = RecalledError(deployment_id=deployment_id, slice_number=slice_number)
            entries = _fail(entries, [one], error)
    return entries


def _report(session: Session, entries: Iterable[_Entry]) -> SliceReported | None:
    """Return what a decision has to hear: failures at once, the rest once the slice is over; None where it can wait."""
    telling = [entry for entry in entries if entry.settlement or entry.failing or entry.done]
    settled = [entry.settlement for entry in telling if entry.settlement]
    failing = tuple(entry.failing for entry in telling if entry.failing)
    done = any(entry.done for entry in telling)
    is_over = bool(settled) and len(settled) == session.open_count
    any_failed = any(settlement.standing is Standing.FAILED for settlement in settled)
    if not (failing or done or is_over or any_failed):
        return None
    return SliceReported(
        slice=session.claim.key[1], settled=(*session.unreported, *settled), failing=failing, done=done
    )


def _sessions_of(entries: list[_Entry], key: SliceKey) -> list[Session]:
    return [session for session, _ in _by_session(entries) if session.claim.key == key]


def _by_session(entries: list[_Entry]) -> list[tuple[Session, list[_Entry]]]:
    by_epoch: dict[int, list[_Entry]] = {}
    for entry in entries:
        by_epoch.setdefault(entry.session.claim.epoch, []).append(entry)
    return [(of_session[0].session, of_session) for of_session in by_epoch.values()]


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _fail(entries: list[_Entry], failed: list[_Entry], error: Exception) -> list[_Entry]:
    """Tell those who wait for *failed*; return the rest."""
    for entry in failed:
        if not entry.written.done():
            entry.written.set_exception(error)
    gone = set(failed)
    return [entry for entry in entries if entry not in gone]
