"""Laws of traces: what a release has done, as spans, with the SDK's own exporter in memory."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import StatusCode

from rollwave.system import SystemClock
from rollwave.telemetry.prometheus import Prometheus
from rollwave.telemetry.several import Several
from rollwave.telemetry.traces import Traces, traces_to
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
    return Traces(provider, clock=scene.clock)


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


@pytest.fixture
def collector():
    """A collector that notes what is sent to it: its address, and a queue of bodies."""
    sent: queue.Queue[bytes] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", sent
        server.shutdown()


def test_traces_arrive_at_a_collector(collector, monkeypatch):
    """By OTLP over HTTP, in the background, under the name of the process."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    endpoint, sent = collector
    clock = SystemClock()
    listening = traces_to(endpoint, share=1.0, owner="here:1", clock=clock)

    listening.decided(7, (), since=clock.now())

    arrived = sent.get(timeout=30)
    assert b"decision" in arrived
    assert b"here:1" in arrived
    listening.close()


def test_several_hear_the_same(scene, exporter):
    """Metrics and traces side by side."""
    metrics = Prometheus(clock=scene.clock)

    scene.release(Several(metrics, traces(scene, exporter)))

    counted = metrics.registry.get_sample_value("rollwave_slices_ended_total", {"outcome": "done"})
    assert counted == len(named(exporter, "slice")) == 2
