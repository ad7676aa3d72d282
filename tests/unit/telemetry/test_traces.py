"""Laws of traces: what a release has done, as spans, with the SDK's own exporter in memory."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import StatusCode

from rollwave.telemetry.prometheus import Prometheus
from rollwave.telemetry.several import Several
from rollwave.telemetry.traces import Traces
from tests.unit.telemetry.scene import INSTALL_S, Scene


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


def traces(scene: Scene, exporter: InMemorySpanExporter, sampler=ALWAYS_ON) -> Traces:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider.get_tracer("test"), clock=scene.clock)


def named(exporter: InMemorySpanExporter, name: str):
    return [span for span in exporter.get_finished_spans() if span.name == name]


def test_a_release_is_told_as_slices_with_their_stages(scene, exporter):
    """Each stage is a part of its slice, says whose it was, and lasts as long as it did."""
    deployment = scene.release(traces(scene, exporter))

    slices = named(exporter, "slice")
    assert [one.attributes["rollwave.slice"] for one in slices] == [1, 2]
    assert {one.attributes["rollwave.outcome"] for one in slices} == {"done"}
    assert {one.attributes["rollwave.deployment"] for one in slices} == {deployment}
    installs = named(exporter, "stage install")
    assert sorted(one.attributes["rollwave.instance_id"] for one in installs) == scene.ids
    assert {one.parent.span_id for one in installs} == {one.context.span_id for one in slices}
    assert all(one.end_time - one.start_time == pytest.approx(INSTALL_S * 1e9, rel=0.01) for one in installs)
    facts = [fact for one in named(exporter, "decision") for fact in one.attributes["rollwave.facts"]]
    assert facts.count("SliceOpened") == 2
    assert facts[-1] == "PhaseChanged"


def test_a_stage_that_failed_says_why(scene, exporter):
    """With the code that the API shows."""
    scene.executor.break_version("2.0")

    scene.release(traces(scene, exporter))

    failed = [one for one in named(exporter, "stage verify") if one.status.status_code is StatusCode.ERROR]
    assert len(failed) == 2
    assert all(one.attributes["rollwave.failure"] and one.status.description for one in failed)


def test_what_is_not_sampled_leaves_nothing_behind(scene, exporter):
    """Neither spans nor notes of stages that run."""
    unheard = traces(scene, exporter, ALWAYS_OFF)

    scene.release(unheard)

    assert not exporter.get_finished_spans()
    assert not unheard._traced


def test_several_hear_the_same(scene, exporter):
    """Metrics and traces side by side."""
    metrics = Prometheus(clock=scene.clock)

    scene.release(Several(metrics, traces(scene, exporter)))

    counted = metrics.registry.get_sample_value("rollwave_slices_ended_total", {"outcome": "done"})
    assert counted == len(named(exporter, "slice")) == 2
