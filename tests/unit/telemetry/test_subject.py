"""Laws of log lines: each one that a slice or a target causes says which, whoever writes it."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import LogCapture

from rollwave.engine.subject import add_subject
from rollwave.ports.executor import HostVerb
from rollwave.ports.telemetry import UNHEARD
from rollwave.testing.faults import LoseReply
from tests.unit.telemetry.scene import Scene


@pytest.fixture
def lines():
    captured = LogCapture()
    structlog.configure(processors=[add_subject, captured])
    yield captured.entries
    structlog.reset_defaults()


class Talkative:
    """An executor that says what it does, and knows nothing of deployments."""

    def __init__(self, executor) -> None:
        self._executor = executor
        self._log = structlog.get_logger()

    async def run(self, command):
        self._log.info("runs", verb=command.verb.value)
        report = await self._executor.run(command)
        self._log.info("ran", verb=command.verb.value)
        return report

    async def status(self, command):
        self._log.info("asks")
        return await self._executor.status(command)


def release(scene: Scene) -> int:
    scene.executor = Talkative(scene.executor)
    return scene.release(UNHEARD)


def test_a_line_from_deep_inside_names_deployment_slice_instance_attempt_and_stage(lines):
    """Hundreds of coroutines write side by side, and each line is about its own target, before and after it waited."""
    scene = Scene()
    deployment = release(scene)

    said = [line for line in lines if line["event"] in ("runs", "ran")]
    assert len(said) == 4 * 3 * 2
    epochs = {}
    for line in said:
        assert line["deployment"] == deployment
        assert line["slice"] in (1, 2)
        assert line["epoch"] == epochs.setdefault(line["slice"], line["epoch"])
        assert line["attempt"] == 1
        assert line["stage"] == line["verb"]
    named = sorted(line["instance"] for line in said if line["event"] == "ran" and line["verb"] == "verify")
    assert named == [f"shop/s{number}:80" for number in range(4)]


def test_a_stage_that_fails_or_is_unknown_is_a_line_of_its_own(lines):
    """With the code that the API shows."""
    scene = Scene()
    scene.executor.script("shop/s0:80", HostVerb.INSTALL, LoseReply())
    scene.executor.break_version("2.0")

    deployment = release(scene)

    unknown = [line for line in lines if line["event"] == "stage_unknown"]
    assert [(line["instance"], line["stage"]) for line in unknown] == [("shop/s0:80", "install")]
    failed = [line for line in lines if line["event"] == "stage_failed"]
    assert {line["stage"] for line in failed} == {"verify"}
    assert {line["deployment"] for line in failed} == {deployment}
    assert all(line["code"] and line["reason"] for line in failed)


def test_a_lost_slice_is_told_by_its_worker_and_by_the_next_one(lines):
    """Both lines name the slice under their own epoch."""
    scene = Scene()

    async def story() -> None:
        ann, bob = scene.engine(UNHEARD, owner="ann"), scene.engine(UNHEARD, owner="bob")
        key = (scene.create(ann), 1)
        await ann.queue.send(key)
        await asyncio.sleep(1)
        scene.world.store.release()
        await bob.queue.send(key)
        await asyncio.sleep(100)

    scene.run(story())

    fenced = next(line for line in lines if line["event"] == "slice_fenced")
    taken = next(line for line in lines if line["event"] == "slice_taken_over")
    assert (fenced["owner"], fenced["slice"]) == ("ann", 1)
    assert (taken["owner"], taken["slice"]) == ("bob", 1)
    assert taken["epoch"] > fenced["epoch"]


def test_a_line_about_nothing_stays_as_it_is(lines):
    """And what a line says itself is not overruled."""
    structlog.get_logger().info("hello", deployment="none")

    assert lines == [{"event": "hello", "deployment": "none", "log_level": "info"}]
