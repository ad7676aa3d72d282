"""Laws of probes: alive is not ready, and neither hangs on what may be down for a while."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import pytest

from rollwave import supervision
from rollwave.settings_file import MetricsSettings
from rollwave.store import census
from rollwave.supervision import readiness, supervised
from rollwave.system import SystemClock
from rollwave.telemetry.prometheus import Prometheus
from rollwave.telemetry.serving import MetricsAddressError, serving

NOTHING = {"database": "ok", "schema": "ok"}


def a_process(**changes):
    """What the supervision asks of a process, all well but for *changes*."""
    clock = SystemClock()
    known = {
        "settings": SimpleNamespace(metrics=MetricsSettings(port=0)),
        "metrics": Prometheus(clock=clock, census=lambda: census.take(now=clock.now())),
        "runs_engine": True,
        "is_engine_running": True,
        "broker": None,
    }
    return SimpleNamespace(**{**known, **changes})


def test_a_process_is_ready_when_all_it_needs_is_there(django_database):
    """Database, schema, and the engine where it has one."""
    assert readiness(a_process()).to_json() == {"ready": True, "checks": {**NOTHING, "engine": "ok"}, "notes": {}}
    assert not readiness(a_process(is_engine_running=False)).is_ready


def test_a_process_without_an_engine_is_ready_without_one(django_database):
    """It serves the API; others work."""
    seen = readiness(a_process(runs_engine=False, is_engine_running=False))

    assert seen.is_ready
    assert seen.checks == NOTHING


def test_a_broker_that_is_down_is_noted_and_makes_nobody_unready(django_database):
    """Or nobody could brake while it is down."""
    seen = readiness(a_process(broker=lambda: "connection refused"))

    assert seen.is_ready
    assert seen.notes == {"broker": "connection refused"}


def test_a_database_without_our_tables_makes_unready(django_database):
    """A process of a new version waits for the migration, and says for which."""
    from django.db.migrations.recorder import MigrationRecorder

    MigrationRecorder.Migration.objects.filter(app="store", name="0002_slice_opened_at").delete()

    seen = readiness(a_process())

    assert not seen.is_ready
    assert seen.checks["schema"] == "to be migrated: 0002_slice_opened_at"


def test_a_database_that_a_newer_version_has_migrated_is_good_enough(django_database):
    """Versions run side by side while they are exchanged."""
    from django.db.migrations.recorder import MigrationRecorder

    MigrationRecorder.Migration.objects.create(app="store", name="9999_of_a_newer_version")

    assert readiness(a_process()).is_ready


@pytest.fixture
def database_away(django_database, tmp_path):
    """The database cannot be opened."""
    from django.db import connections

    connections["default"].close()
    settings = connections.databases["default"]
    there, settings["NAME"] = settings["NAME"], str(tmp_path / "nowhere" / "rollwave.sqlite3")
    yield
    connections["default"].close()
    settings["NAME"] = there


def test_a_database_that_is_away_makes_unready(database_away):
    """It says why."""
    seen = readiness(a_process())

    assert not seen.is_ready
    assert "rollwave.sqlite3" in seen.checks["database"] or "unable to open" in seen.checks["database"]
    assert seen.checks["schema"] == "not known"


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30)


def test_the_port_shows_metrics_and_probes(django_database):
    """To whoever reaches it; nothing else is there."""

    async def story() -> None:
        with supervised(a_process(), loop=asyncio.get_running_loop()) as port:
            answers = [await asyncio.to_thread(get, port, path) for path in ("/metrics", "/livez", "/readyz", "/etc")]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
        metrics, live, ready, _ = answers
        assert "rollwave_store_up 1.0" in metrics.text
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert live.json() == {"live": True}
        assert ready.json()["ready"]

    asyncio.run(story())


def test_without_a_database_a_process_lives_and_tells_what_it_has_counted(database_away):
    """A restart would help nobody: unready, alive, and with metrics."""

    async def story() -> None:
        with supervised(a_process(), loop=asyncio.get_running_loop()) as port:
            answers = [await asyncio.to_thread(get, port, path) for path in ("/metrics", "/livez", "/readyz")]
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert "rollwave_store_up 0.0" in answers[0].text
        assert "rollwave_conflicts_total 0.0" in answers[0].text

    asyncio.run(story())


def test_a_process_whose_loop_turns_no_more_is_dead(django_database, monkeypatch):
    """It answers from a thread of its own, which alone says nothing."""
    monkeypatch.setattr(supervision, "LOOP_ANSWERS_S", 0.05)
    loop = asyncio.new_event_loop()

    with supervised(a_process(), loop=loop) as port:
        stands_still = get(port, "/livez")
        loop.close()
        closed = get(port, "/livez")

    assert (stands_still.status_code, stands_still.json()) == (503, {"live": False})
    assert closed.status_code == 503


def test_without_a_port_there_is_none():
    """Off by default."""
    process = a_process(settings=SimpleNamespace(metrics=MetricsSettings()))

    with supervised(process, loop=None) as port:
        assert port is None


def test_a_port_that_is_taken_is_named():
    """Two processes of a machine with one settings file would both want it."""
    nothing = {"page": lambda: b"", "live": lambda: (True, {}), "ready": lambda: (True, {})}

    with (
        serving(host="127.0.0.1", port=0, **nothing) as port,
        pytest.raises(MetricsAddressError) as refused,
        serving(host="127.0.0.1", port=port, **nothing),
    ):
        pass
    assert refused.value.facts["port"] == port
