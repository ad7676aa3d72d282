"""The engine's work as Prometheus metrics: what this process has counted, and what the store says of all of them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Tally
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import accumulate, product
from typing import TYPE_CHECKING, Final

import prometheus_client
import structlog
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rollwave.domain.facts import Braked, PhaseChanged, SliceOpened
from rollwave.domain.model import BrakeCause, Phase, Progress, Stage
from rollwave.ports.telemetry import Part
from rollwave.telemetry.outcome import DONE, OUTCOMES, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from prometheus_client.core import Metric

    from rollwave.domain.facts import Fact
    from rollwave.ports.clock import Clock
    from rollwave.ports.store import Claim, SliceRecord, Transition
    from rollwave.ports.telemetry import Census

log = structlog.get_logger()

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

CENSUS_S: Final = 1.0
"""How long an answer of the store is good for, in seconds: it is asked no more often, however many scrape."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STAGE_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_TRANSITIONS: Final = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000)

_ENDS: Final = (Progress.SUCCESS, Progress.FAILURE)

# When a series began, once more for each of them: nobody asks, and it would double what is sent.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Prometheus:
    """
    Implements `rollwave.ports.telemetry.Telemetry`, and shows what it has heard.

    Every series is there from the start, at zero: so a rate sees the first brake, too.

    Args:
        clock: Ends what is measured; what began it comes from the engine, by the same clock.
        census: Asks the store what there is; None leaves its metrics out.
    """

    def __init__(self, *, clock: Clock, census: Callable[[], Census] | None = None) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._clock = clock
        stages, progresses = [one.value for one in Stage], [one.value for one in Progress]
        self._transitions = self._counters(
            "transitions", "Stages of targets that began or ended", stage=stages, progress=progresses
        )
        self._stage_times = _StageTimes()
        self.registry.register(self._stage_times)
        self._commit_seconds = self._histogram(
            "commit_seconds", "Transactions of workers' reports, from handed over to durable", _SECONDS
        )
        self._commit_size = self._histogram(
            "commit_transitions", "Transitions that one such transaction has written", _TRANSITIONS
        )
        self._decision_seconds = self._histogram(
            "decision_seconds", "Decisions about deployments, from asked for to durable", _SECONDS
        )
        self._conflicts = self._counters("conflicts", "Decisions made again, because somebody else committed first")
        self._phases = self._counters(
            "phases_entered", "Deployments that came to a phase", phase=[one.value for one in Phase]
        )
        self._brakes = self._counters("brakes", "Deployments that braked", cause=[one.value for one in BrakeCause])
        self._opened = self._counters("slices_opened", "Slices that were opened, for workers to claim")
        self._sent = self._counters("slices_sent", "Messages about slices; more than were opened where some are lost")
        self._lag = self._histogram(
            "queue_lag_seconds", "From a slice being opened until the first worker has claimed it", _LAG_SECONDS
        )
        self._takeovers = self._counters("slices_taken_over", "Slices that were claimed after another worker had them")
        self._ended = self._counters("slices_ended", "Slices that this process drove", outcome=OUTCOMES)
        self._driven = prometheus_client.Gauge(
            "rollwave_slices_driven", "Slices that this process drives now", registry=self.registry
        )
        self._repairs = self._counters(
            "traffic_repairs",
            "Members that a balancer had in or out against their flags",
            direction=("in", "out"),
            outcome=("done", "failed"),
        )
        self._failures = self._counters(
            "engine_failures",
            "Failures of a part of the engine that goes on all the same",
            part=[p.value for p in Part],
        )
        if census is not None:
            self.registry.register(_CensusTaker(census, clock=clock))
        prometheus_client.ProcessCollector(registry=self.registry)
        # By epoch and instance, when the stage began that runs now.
        self._begun: dict[int, dict[int, datetime]] = {}

    def page(self) -> bytes:
        """Return every metric as it stands, as text; blocks, for the store is asked."""
        return prometheus_client.generate_latest(self.registry)

    # --- what is told ---

    def decided(self, deployment_id: int, facts: Sequence[Fact], *, since: datetime) -> None:
        """Count what came of a decision."""
        del deployment_id
        self._decision_seconds.observe(self._seconds_since(since))
        for fact in facts:
            match fact:
                case PhaseChanged(phase=phase):
                    self._phases[phase.value,].inc()
                case Braked(cause=cause):
                    self._brakes[cause.value,].inc()
                case SliceOpened():
                    self._opened[()].inc()

    def recorded(self, records: Sequence[SliceRecord], *, since: datetime) -> None:
        """Count transitions, and measure the stages that have ended."""
        self._commit_seconds.observe(self._seconds_since(since))
        self._commit_size.observe(sum(len(record.transitions) for record in records))
        for record in records:
            begun = self._begun.get(record.epoch, {})
            for (stage, progress), alike in _by_kind(record.transitions):
                self._transitions[stage.value, progress.value].inc(len(alike))
                if progress in _ENDS:
                    self._stage_times.add(stage, progress, _durations(alike, begun))
                elif progress is Progress.RUNNING:
                    begun.update({one.instance_id: one.at for one in alike})

    def conflicted(self) -> None:
        """Count."""
        self._conflicts[()].inc()

    def sent(self) -> None:
        """Count."""
        self._sent[()].inc()

    @contextmanager
    def slice(self, claim: Claim, *, now: datetime) -> Iterator[None]:
        """Measure how long it has waited, and count how it ends."""
        if claim.is_takeover:
            self._takeovers[()].inc()
        elif claim.opened_at is not None:
            # It was opened by another machine's clock.
            self._lag.observe(max(0.0, (now - claim.opened_at).total_seconds()))
        outcome = DONE
        self._begun[claim.epoch] = {}
        try:
            with self._driven.track_inprogress():
                yield
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            del self._begun[claim.epoch]
            self._ended[outcome,].inc()

    def put_right(self, *, in_traffic: bool, done: bool) -> None:
        """Count."""
        self._repairs["in" if in_traffic else "out", "done" if done else "failed"].inc()

    def failed(self, part: Part) -> None:
        """Count."""
        self._failures[part.value,].inc()

    # --- making ---

    def _counters(
        self, name: str, documentation: str, **labels: Sequence[str]
    ) -> Mapping[tuple[str, ...], prometheus_client.Counter]:
        """Return a counter's series by the values of its labels."""
        counter = prometheus_client.Counter(f"rollwave_{name}", documentation, tuple(labels), registry=self.registry)
        return {values: counter.labels(*values) if values else counter for values in product(*labels.values())}

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(f"rollwave_{name}", documentation, buckets=buckets, registry=self.registry)

    def _seconds_since(self, begin: datetime) -> float:
        return max(0.0, (self._clock.now() - begin).total_seconds())


def _by_kind(transitions: Iterable[Transition]) -> Sequence[tuple[tuple[Stage, Progress], list[Transition]]]:
    """
    Return transitions of one record by stage and progress, ends before begins.

    Of each target a record has one end at most, and after it one begin at most.
    """
    kinds: dict[tuple[Stage, Progress], list[Transition]] = {}
    for one in transitions:
        kind = (one.stage, one.progress)
        if kind in kinds:
            kinds[kind].append(one)
        else:
            kinds[kind] = [one]
    return sorted(kinds.items(), key=lambda item: item[0][1] is Progress.RUNNING)


def _durations(ended: Iterable[Transition], begun: dict[int, datetime]) -> list[timedelta]:
    """
    Return how long stages took, from intent to end, and take them out of *begun*, which has the intents by instance.

    What another worker began is left out: part of the time was its death.
    """
    return [one.at - begun.pop(one.instance_id) for one in ended if one.instance_id in begun]


class _StageTimes(Collector):
    """
    How long stages take. There are tens of thousands of them in a large release, and the library's own histogram takes
    two microseconds for each: these are counted by the commit, by the event loop alone, and need no lock.
    """

    _UNTIL: Final = tuple(timedelta(seconds=one) for one in _STAGE_SECONDS)

    def __init__(self) -> None:
        self._counts = {key: [0] * (len(self._UNTIL) + 1) for key in product(Stage, _ENDS)}
        self._sums = dict.fromkeys(self._counts, timedelta())

    def add(self, stage: Stage, progress: Progress, durations: Sequence[timedelta]) -> None:
        """Count *durations* of stages that have ended alike."""
        counts = self._counts[stage, progress]
        for index, count in Tally(map(partial(bisect_left, self._UNTIL), durations)).items():
            counts[index] += count
        self._sums[stage, progress] += sum(durations, timedelta())

    def describe(self) -> Iterable[Metric]:
        """Return the metric without its series."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        """Return the metric."""
        family = self._family()
        names = [*(str(float(one)) for one in _STAGE_SECONDS), "+Inf"]
        for (stage, progress), counts in self._counts.items():
            total = self._sums[stage, progress].total_seconds()
            buckets = list(zip(names, accumulate(counts), strict=True))
            family.add_metric([stage.value, progress.value], buckets, total)
        return [family]

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "rollwave_stage_seconds", "Stages of targets, from intent to end", labels=["stage", "outcome"]
        )


class _CensusTaker(Collector):
    """What the store says, asked at most once in `CENSUS_S`; `rollwave_store_up` alone where it does not answer."""

    def __init__(self, census: Callable[[], Census], *, clock: Clock) -> None:
        self._census = census
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: datetime | None = None
        self._known: Census | None = None

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their series: nothing is asked."""
        return [_up(None), *_families(None)]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        census = self._ask()
        return [_up(census), *(_families(census) if census is not None else ())]

    def _ask(self) -> Census | None:
        # Whoever comes while it is asked waits for the same answer.
        with self._lock:
            now = self._clock.now()
            if self._asked_at is None or not timedelta() <= now - self._asked_at < timedelta(seconds=CENSUS_S):
                try:
                    self._known = self._census()
                except Exception:  # a scrape tells it; the rest of it goes on
                    log.warning("census_failed", exc_info=True)
                    self._known = None
                self._asked_at = now
            return self._known


def _up(census: Census | None) -> Metric:
    return GaugeMetricFamily("rollwave_store_up", "Whether the store has answered", value=census is not None)


def _families(census: Census | None) -> list[Metric]:
    deployments = GaugeMetricFamily("rollwave_deployments", "Deployments that are not over", labels=["phase"])
    braked = GaugeMetricFamily("rollwave_deployments_braked", "Deployments that are braked", labels=["cause"])
    slices = GaugeMetricFamily("rollwave_slices_open", "Slices that are not over", labels=["state"])
    oldest = GaugeMetricFamily(
        "rollwave_queue_oldest_seconds", "Since when the oldest open slice that nobody holds is open"
    )
    if census is not None:
        for phase in Phase:
            if not phase.is_final:
                deployments.add_metric([phase.value], census.phases.get(phase, 0))
        for cause in BrakeCause:
            braked.add_metric([cause.value], census.brakes.get(cause, 0))
        for state in ("waiting", "held", "abandoned"):
            slices.add_metric([state], getattr(census, state))
        oldest.add_metric([], census.oldest_s)
    return [deployments, braked, slices, oldest]
