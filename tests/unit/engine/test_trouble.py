"""Laws of trouble that lasts: all of it is counted, and told as often as it is news."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from rollwave.engine.trouble import Trouble
from rollwave.ports.telemetry import Part
from rollwave.system import SystemClock
from rollwave.telemetry.prometheus import Prometheus

STEPS = [None, OSError("gone"), OSError("gone"), ValueError("other"), OSError("gone"), None, None, OSError("gone")]


def test_trouble_is_told_when_it_comes_changes_and_goes():
    """An outage of an hour is no log of ten thousand tracebacks."""
    metrics = Prometheus(clock=SystemClock(), census=lambda: None)
    trouble = Trouble("dispatch_failed", part=Part.DISPATCHER, telemetry=metrics)

    with capture_logs() as told:
        for step in STEPS:
            with trouble.survived():
                if step is not None:
                    raise step

    assert [(one["event"], one.get("failures")) for one in told] == [
        ("dispatch_failed", None),
        ("dispatch_failed", None),
        ("dispatch_failed", None),
        ("trouble_is_over", 4),
        ("dispatch_failed", None),
    ]
    assert metrics.registry.get_sample_value("rollwave_engine_failures_total", {"part": "dispatcher"}) == 5


def test_the_end_of_the_process_is_no_trouble():
    """What is no error goes through."""
    trouble = Trouble("dispatch_failed", part=Part.DISPATCHER, telemetry=Prometheus(clock=SystemClock(), census=dict))
    with pytest.raises(KeyboardInterrupt), trouble.survived():
        raise KeyboardInterrupt
