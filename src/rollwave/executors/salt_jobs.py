"""Jobs of Salt: calls that are ready together share a publish, and each hears what its minion returned."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import zlib
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import structlog

from rollwave.executors.salt_api import SaltApiError, heard_return
from rollwave.ports.executor import HostUnknownError, HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from rollwave.executors.salt_api import SaltApi
    from rollwave.ports.clock import Clock

_LOG: Final = structlog.get_logger("rollwave.salt")

_MOST_MINIONS: Final = 50
"""Of one publish. Each minion is sent what all of them are told, and Salt sends it back with every return."""

_STREAM_PAUSE_S: Final = 1.0
_STREAM_PATIENCE_S: Final = 5.0
_LONGEST_LOOK_S: Final = 15.0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Call:
    """
    What one minion is told.

    Attributes:
        verb: Function of our module.
        minion: Its id.
        command: Its entry of the document; see `rollwave.host.salt_module`.
        files: Text by sha256: what it said was missing.
        told: Set once it was told, or could not be.
        answer: What it returned.
    """

    verb: str
    minion: str
    command: Mapping[str, object]
    files: Mapping[str, str]
    told: asyncio.Event
    answer: asyncio.Future[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    job_id: str
    calls: Mapping[str, Call]

    def hear(self, minion: str, returned: Any) -> None:
        """Answer the call to *minion*; the first return counts, and Salt may deliver several."""
        call = self.calls.get(minion)
        if call is not None and not call.answer.done():
            call.answer.set_result(returned)

    @property
    def is_open(self) -> bool:
        return any(not call.answer.done() for call in self.calls.values())


@dataclass(kw_only=True, slots=True)
class SaltJobs:
    """
    Tells minions, in one event loop.

    Args:
        api: The way to the master.
        clock: For job ids.
        shared: What every document says.
        limit: Most publishes at once.
        gather_s: How long a call waits for others that are as good as ready.
        look_s: After how long without an event the job cache is read; while no stream is open, it is read every second.
    """

    api: SaltApi
    clock: Clock
    shared: Mapping[str, object]
    limit: int
    gather_s: float
    look_s: float
    _waiting: list[Call] = field(default_factory=list)
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _is_heard: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _numbers: count[int] = field(default_factory=count)
    _tag: str = field(default_factory=lambda: secrets.token_hex(4))

    def start(self) -> None:
        """Begin to listen and to publish."""
        self._spawn(self._listen())
        self._spawn(self._publish_all())

    async def close(self) -> None:
        """Stop; calls that wait are cancelled, and what the minions were told goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in [*self._waiting, *(call for job in self._jobs.values() for call in job.calls.values())]:
            call.answer.cancel()
            call.told.set()
        await self.api.close()

    async def tell(
        self,
        verb: str,
        minion: str,
        command: Mapping[str, object],
        *,
        files: Mapping[str, str],
        limit_s: float,
        told: asyncio.Event,
    ) -> Any:
        """
        Tell *minion*, set *told*, and return what it returns.

        Raises:
            HostUnreachableError: If the master does not know it, or it returned nothing within *limit_s* of being told.
            HostUnknownError: If the master could not be told.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Call(verb=verb, minion=minion, command=command, files=files, told=told, answer=answer))
        self._ready.set()
        try:
            await told.wait()
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError as error:
            raise HostUnreachableError(
                f"minion {minion} did not answer rollwave.{verb} within {limit_s:g} s; is it running and connected?",
                server=minion,
            ) from error
        finally:
            answer.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- Publishing ----------------------------------------------------------------------------------------------------

    async def _publish_all(self) -> None:
        slots = asyncio.Semaphore(self.limit)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STREAM_PATIENCE_S):
                await self._is_heard.wait()
        while True:
            await self._ready.wait()
            await asyncio.sleep(self.gather_s)
            await slots.acquire()
            # Taken only now: whatever became ready while others were published goes along.
            calls = self._next_calls()
            if calls:
                self._spawn(self._publish(calls, slots))
            else:
                slots.release()
                self._ready.clear()

    def _next_calls(self) -> dict[str, Call]:
        """Take calls for one publish: of one verb, and one for each minion, which could not tell two returns apart."""
        taken: dict[str, Call] = {}
        left: list[Call] = []
        verb = ""
        for call in self._waiting:
            if call.answer.done():
                continue
            verb = verb or call.verb
            if call.verb == verb and call.minion not in taken and len(taken) < _MOST_MINIONS:
                taken[call.minion] = call
            else:
                left.append(call)
        self._waiting = left
        return taken

    async def _publish(self, calls: dict[str, Call], slots: asyncio.Semaphore) -> None:
        job = _Job(job_id=self._new_job_id(), calls=calls)
        verb = next(iter(calls.values())).verb
        # Known before anybody is told: whatever comes of the publish, its returns find their way.
        self._jobs[job.job_id] = job
        _LOG.info("salt job", job=job.job_id, verb=verb, minions=sorted(calls))
        try:
            try:
                known = await self.api.publish(
                    f"rollwave.{verb}", self._document(calls), minions=calls, job_id=job.job_id
                )
            finally:
                slots.release()
                for call in calls.values():
                    call.told.set()
            for minion in calls.keys() - known:
                reason = f"the Salt master has no accepted key of a minion {minion}"
                # An empty answer is also that of a master which took nothing: where it told others, it did.
                may_be = "" if known else ", or did not take the publish, as its log would say"
                hint = "accept it, or name it in the server"
                _fail(calls[minion], HostUnreachableError(f"{reason}{may_be}; {hint}", server=minion))
            await self._follow(job)
        except SaltApiError as error:
            for call in calls.values():
                _fail(call, HostUnknownError(error.message, **error.facts))
        finally:
            del self._jobs[job.job_id]

    def _document(self, calls: Mapping[str, Call]) -> dict[str, object]:
        files = {sha256: text for call in calls.values() for sha256, text in call.files.items()}
        # Plans of one deployment are nearly the same: together they are hardly larger than one.
        packed = base64.b64encode(zlib.compress(json.dumps(files).encode())).decode() if files else None
        commands = {minion: call.command for minion, call in calls.items()}
        return {**self.shared, "commands": commands, "files": packed}

    def _new_job_id(self) -> str:
        # Salt's own form, a time with microseconds, and behind it what no other process has.
        return f"{self.clock.now():%Y%m%d%H%M%S%f}_{self._tag}{next(self._numbers)}"

    # -- Hearing -------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear events, for ever, and hand each return to its job."""
        while True:
            try:
                async with aclosing(self.api.events()) as events:  # type: ignore[type-var]
                    async for tag, data in events:
                        self._is_heard.set()
                        heard = heard_return(tag, data, job_ids=self._jobs)
                        if heard is not None:
                            job_id, minion, returned = heard
                            self._jobs[job_id].hear(minion, returned)
            except SaltApiError as error:
                if self._is_heard.is_set():
                    _LOG.warning("salt events are not heard; jobs are read back instead", reason=error.message)
            finally:
                self._is_heard.clear()
            await asyncio.sleep(_STREAM_PAUSE_S)

    async def _follow(self, job: _Job) -> None:
        """Read the job cache now and then, as long as anybody waits: events get lost."""
        look_s = self.look_s
        while job.is_open:
            open_calls = [call.answer for call in job.calls.values() if not call.answer.done()]
            pause_s = look_s if self._is_heard.is_set() else min(look_s, _STREAM_PAUSE_S)
            await asyncio.wait(open_calls, timeout=pause_s, return_when=asyncio.ALL_COMPLETED)
            if not job.is_open:
                return
            with suppress(SaltApiError):
                # One at a time: a look is a process on the master.
                async with self._reading:
                    returns = await self.api.returns(job.job_id)
                for minion, returned in returns.items():
                    job.hear(minion, returned)
            look_s = min(2 * look_s, _LONGEST_LOOK_S)


def _fail(call: Call, error: HostUnknownError) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
