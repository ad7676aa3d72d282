"""The page and the registry name the same metrics."""

from __future__ import annotations

import re
from pathlib import Path

from rollwave.ports.telemetry import Census
from rollwave.system import SystemClock
from rollwave.telemetry.prometheus import Prometheus

PAGE = Path(__file__).parents[3].joinpath("docs", "observability.md").read_text()
ROW = re.compile(r"^\| `(rollwave_\w+)` \| (\w+) \| ([^|]*)\| ([^|]+) \|$", re.MULTILINE)


def families():
    nothing = Census(phases={}, brakes={}, waiting=0, held=0, abandoned=0, oldest_s=0.0)
    metrics = Prometheus(clock=SystemClock(), census=lambda: nothing)
    return [family for family in metrics.registry.collect() if family.name.startswith("rollwave_")]


def test_every_metric_is_on_the_page_with_its_type_and_labels():
    """And nothing is there that is no metric, or is not told any more."""
    known = {}
    for family in families():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        known[name] = (family.type, labels)

    told = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels, _ in ROW.findall(PAGE)}

    assert told == known


def test_alerts_are_about_series_that_there_are():
    """A name that was misspelled would never fire."""
    series = {sample.name for family in families() for sample in family.samples}
    label_values = {value for family in families() for sample in family.samples for value in sample.labels.values()}
    rules = PAGE.partition("## Alerts")[2].partition("## Logs")[0]

    assert set(re.findall(r"rollwave_\w+", rules)) <= series
    assert len(re.findall("- alert:", rules)) == len(re.findall("expr:", rules)) > 5
    for label, values in re.findall(r'(cause|phase|outcome)[!=~]+"([^"]+)"', rules):
        assert set(values.split("|")) <= label_values, label
