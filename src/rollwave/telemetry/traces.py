"""
The engine's work as OpenTelemetry traces: a span for each decision, each slice, and each stage of its targets.

Needs the extra ``rollwave[otel]``. A span of a stage is made when the stage is over and durable, from the times in its
records: so the work itself knows nothing of it, and a slice that is not traced costs nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import StatusCode

from rollwave.domain.model import Progress
from rollwave.ports.telemetry import NoTelemetry
from rollwave.telemetry.outcome import DONE, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

    from rollwave.domain.facts import Fact
    from rollwave.ports.clock import Clock
    from rollwave.ports.store import Claim, SliceRecord, Transition

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def traces_to(endpoint: str, *, share: float, owner: str, clock: Clock) -> Traces:
    """
    Return traces that are sent to a collector, in the background; one that is down costs nothing but its spans.

    Args:
        endpoint: Of the collector, for OTLP over HTTP.
        share: How many of them, from 0 to 1; a stage is traced if its slice is.
        owner: Name of this process.
        clock: As the engine's.
    """
    resource = Resource.create({SERVICE_NAME: "rollwave", SERVICE_INSTANCE_ID: owner})
    provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(share))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Traces(provider, clock=clock)


class Traces(NoTelemetry):
    """
    Implements `rollwave.ports.telemetry.Telemetry`.

    Args:
        provider: Of the tracer that makes spans.
        clock: Ends decisions; all other times come from the engine, by the same clock.
    """

    def __init__(self, provider: TracerProvider, *, clock: Clock) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("rollwave")
        self._clock = clock
        # By epoch: the context of the slice's span, and by instance the stage that runs.
        self._traced: dict[int, tuple[Context, dict[int, Transition]]] = {}

    def close(self) -> None:
        """Send what is still to be sent; a process that ends in order does so by itself."""
        self._provider.shutdown()

    def decided(self, deployment_id: int, facts: Sequence[Fact], *, since: datetime) -> None:
        """Make a span, which says what came of it."""
        attributes: Attributes = {
            "rollwave.deployment": deployment_id,
            "rollwave.facts": [type(fact).__name__ for fact in facts],
        }
        span = self._tracer.start_span("decision", start_time=_nanoseconds(since), attributes=attributes)
        span.end(_nanoseconds(self._clock.now()))

    @contextmanager
    def slice(self, claim: Claim, *, now: datetime) -> Iterator[None]:
        """Be in a span, as long as the slice is driven."""
        attributes: Attributes = {
            "rollwave.deployment": claim.key[0],
            "rollwave.slice": claim.key[1],
            "rollwave.epoch": claim.epoch,
            "rollwave.course": claim.course.value,
            "rollwave.targets": len(claim.instance_ids),
            "rollwave.takeover": claim.is_takeover,
        }
        span = self._tracer.start_span("slice", start_time=_nanoseconds(now), attributes=attributes)
        if span.is_recording():
            self._traced[claim.epoch] = (trace.set_span_in_context(span), {})
        outcome = DONE
        try:
            # Whatever is traced below, an HTTP client say, is traced as a part of it.
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            outcome = outcome_of(error)
            span.set_status(StatusCode.ERROR, outcome)
            raise
        finally:
            self._traced.pop(claim.epoch, None)
            span.set_attribute("rollwave.outcome", outcome)
            span.end(_nanoseconds(self._clock.now()))

    def recorded(self, records: Sequence[SliceRecord], *, since: datetime) -> None:
        """Make a span of every stage that has ended, as a part of its slice."""
        del since
        for record in records:
            if record.epoch in self._traced:
                context, running = self._traced[record.epoch]
                for one in record.transitions:
                    self._see(one, record, context, running)

    def _see(self, one: Transition, record: SliceRecord, context: Context, running: dict[int, Transition]) -> None:
        if one.progress is Progress.RUNNING:
            running[one.instance_id] = one
        elif one.progress is not Progress.UNKNOWN and (begun := running.pop(one.instance_id, None)) is not None:
            attributes: dict[str, str | int] = {
                "rollwave.deployment": record.key[0],
                "rollwave.instance_id": one.instance_id,
                "rollwave.attempt": one.attempt,
                "rollwave.outcome": one.progress.value,
            }
            span = self._tracer.start_span(
                f"stage {one.stage.value}", context, start_time=_nanoseconds(begun.at), attributes=attributes
            )
            if one.failure is not None:
                span.set_attribute("rollwave.failure", one.failure.code)
                span.set_status(StatusCode.ERROR, one.failure.message)
            span.end(_nanoseconds(one.at))


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
