"""Laws about the judge of chaos runs: what it excuses, what it does not, and what it is dealt."""

from __future__ import annotations

import random  # noqa: TID251  # seeded
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from demo.chaos.edge import View
from demo.chaos.faults import KINDS, Deck, Fault
from demo.chaos.host import Call
from demo.chaos.laws import NOTICED_S, Laws, Stops
from demo.chaos.run import Findings, Run
from demo.chaos.watch import Watch, Watcher
from demo.chaos.windows import Window, Windows, forgetful
from demo.processes import LabError, until

EDGE = "edge-1"
ADDRESS = "198.18.77.19"


class FakeEdge(SimpleNamespace):
    """An HAProxy that has logged nothing."""

    def servers_of_requests(self):
        return {}


class FakeLab:
    """What `Laws` asks of a lab."""

    def __init__(self) -> None:
        self.lines = []
        self.hosts = []
        self.log = []
        self.edges = [FakeEdge(name=EDGE, address=ADDRESS)]

    def seen_by_clients(self):
        return self.lines

    def events(self, deployment):
        return self.log


@pytest.fixture
def lab(monkeypatch) -> FakeLab:
    monkeypatch.setattr("demo.chaos.laws.LOGGED_S", 0)
    return FakeLab()


def windows_with(name: str, since: float, until: float) -> Windows:
    windows = Windows()
    windows._windows[name].append(Window(since=since, until=until))
    return windows


def host_with(calls=(), results=(), fence=0, name="n1"):
    return SimpleNamespace(name=name, calls=lambda: list(calls), fences_of_results=lambda: results, fence=lambda: fence)


def call(at: float, *, action="start", verb="7-1700000000000000-1-install", seen=("MAINT", 0)) -> Call:
    return Call(at=at, action=action, verb=verb, edges={EDGE: seen})


def approved(at: float) -> dict[str, str]:
    return {"kind": "BakeApproved", "at": datetime.fromtimestamp(at, UTC).isoformat()}


def test_no_failed_request_is_excused(lab) -> None:
    """Whatever was away: clients have another HAProxy, and HAProxy other hosts."""
    laws = Laws(lab, windows_with(EDGE, 10, 20))
    lab.lines = [{"sent": 9}, {"failed": "1", "began_at": 11, "at": 12, "cause": "status 503"}, {"sent": 12}]

    requests, broken = laws.of_requests()

    assert (requests.sent, requests.failed, len(broken)) == (12, 1, 1)


@pytest.mark.parametrize(
    ("away", "at", "excused"),
    [(EDGE, 15, True), (EDGE, 20 + NOTICED_S / 2, True), (EDGE, 9, False), (EDGE, 25, False), ("edge-2", 15, False)],
)
def test_a_request_is_cut_only_by_an_haproxy_that_is_dead(lab, away, at, excused) -> None:
    """One that runs has no reason to."""
    laws = Laws(lab, windows_with(away, 10, 20))
    lab.lines = [{"moved": "1", "edge": ADDRESS, "at": at, "cause": "reset"}]

    requests, broken = laws.of_requests()

    assert (requests.moved, requests.failed, len(broken)) == (1, 0, int(not excused))


def test_a_request_is_judged_once(lab) -> None:
    """A violation is told once, however often is looked."""
    laws = Laws(lab, Windows())
    lab.lines = [
        {"failed": "1", "began_at": 1, "at": 2, "cause": "closed"},
        {"moved": "2", "edge": ADDRESS, "at": 2, "cause": "reset"},
    ]

    assert [len(laws.of_requests()[1]) for _ in range(3)] == [2, 0, 0]


@pytest.mark.parametrize(
    ("log", "answered_at", "broken"),
    [([approved(10)], 10.5, 0), ([approved(10)], 9.5, 1), ([], 9.5, 1), ([approved(10), approved(20)], 15, 0)],
)
def test_a_version_that_answers_before_its_approval_is_told(lab, log, answered_at, broken) -> None:
    """I2, by what clients got and what the log says; answers of other versions are none of it."""
    lab.log = log
    lab.lines = [{"version": "1.0", "edge": ADDRESS, "at": 1}, {"version": "1.1", "edge": ADDRESS, "at": answered_at}]

    assert len(list(Laws(lab, Windows()).of_canary(7, "1.1"))) == broken


def test_an_haproxy_that_forgot_may_send_requests_to_a_canary(lab) -> None:
    """Until it has been told again; the others may not."""
    lab.lines = [{"version": "1.1", "edge": ADDRESS, "at": 15}]

    assert not list(Laws(lab, windows_with(forgetful(EDGE), 10, 20)).of_canary(7, "1.1"))
    assert list(Laws(lab, windows_with(forgetful("edge-2"), 10, 20)).of_canary(7, "1.1"))


@pytest.mark.parametrize(
    ("seen", "stops", "broken"),
    [
        (("MAINT", 0), Stops(seen=1), 0),
        (("MAINT (resolution)", 0), Stops(seen=1), 0),
        (("MAINT", 1), Stops(), 1),
        (("DRAIN", 1), Stops(), 1),
        (("UP", 0), Stops(), 1),
        (("DOWN", 0), Stops(), 1),
        (None, Stops(silent=1), 0),
    ],
)
def test_a_stop_in_traffic_is_told(lab, seen, stops, broken) -> None:
    """I4: down by its own check is not out: HAProxy may find it up at any moment."""
    lab.hosts = [host_with([call(5, action="stop", seen=seen)])]
    laws = Laws(lab, Windows())

    assert [len(list(laws.of_stops())) for _ in range(2)] == [broken, 0]
    assert laws.stops == stops


def test_a_stop_seen_by_an_haproxy_that_forgot_is_counted_apart(lab) -> None:
    """It puts everybody into traffic when it returns, and is told otherwise soon (I26)."""
    lab.hosts = [host_with([call(15, seen=("UP", 0)), call(25, verb="7-1700000000000000-2-install", seen=("UP", 0))])]
    laws = Laws(lab, windows_with(forgetful(EDGE), 10, 20))

    assert len(list(laws.of_stops())) == 1
    assert laws.stops == Stops(forgotten=1)


def test_an_attempt_that_starts_the_application_twice_is_told(lab) -> None:
    """Two starts of one attempt are one too many; unless the host died between them."""
    lab.hosts = [
        host_with([call(1), call(9, verb="7-1700000000000000-2-install")], name="n1"),
        host_with([call(1), call(9)], name="n2"),
        host_with([call(1), call(9)], name="n3"),
        host_with([call(1), call(5, action="stop")], name="n4"),
    ]
    laws = Laws(lab, windows_with("n3", 4, 5))

    assert [broken.split()[0] for broken in laws.of_installs()] == ["n2"]
    assert list(laws.of_installs()) == []


def test_what_a_host_did_under_a_lower_fence_is_told(lab) -> None:
    """I9, by the host's own journal: neither after a higher one, nor above what it has written down."""
    lab.hosts = [
        host_with(results=[(1, "a", 3), (2, "b", 3), (3, "c", 8)], fence=9, name="n1"),
        host_with(results=[(1, "a", 4), (2, "b", 3)], fence=9, name="n2"),
        host_with(results=[(1, "a", 4)], fence=3, name="n3"),
    ]
    laws = Laws(lab, Windows())

    assert [broken.split()[0] for broken in laws.of_fences()] == ["n2", "n3"]
    assert list(laws.of_fences()) == []


def test_a_fence_that_falls_is_told() -> None:
    """I9, at whatever moment is looked."""
    watch = Watch(limit=4)
    for host, fence in [("n1", -1), ("n1", 3), ("n2", 1), ("n1", 3), ("n1", 2), ("n1", 2)]:
        watch.see_fence(host, fence)

    assert watch.broken == ["the fence of n1 fell from 3 to 2"]


def test_one_too_many_out_of_traffic_is_told() -> None:
    """I1: those that HAProxy was told to keep out; who is down without it was not taken out by anybody."""
    watch = Watch(limit=2)
    watch.see_edge(EDGE, View(at=1, told_out=frozenset({"n1", "n2"}), serving=frozenset()))
    assert not watch.broken

    watch.see_edge(EDGE, View(at=2, told_out=frozenset({"n1", "n2", "n3"}), serving=frozenset()))

    assert watch.broken == [f"{EDGE} keeps n1, n2, n3 out of traffic: 2 may be"]
    assert (watch.looks, watch.most_out) == (2, 3)


def test_a_watch_that_cannot_look_is_no_proof() -> None:
    """Where it breaks the run does, instead of finding nothing wrong. One that does not answer is looked at again."""
    silent = SimpleNamespace(name=EDGE, view=Mock(side_effect=OSError))
    blind = host_with()
    blind.fence = Mock(side_effect=ValueError("empty"))

    with pytest.raises(LabError, match="empty"), Watcher(Watch(limit=1), edges=[silent], hosts=[blind]):
        until(lambda: blind.fence.called and silent.view.call_count > 1, what="two looks")


def test_a_log_with_a_gap_is_told(lab) -> None:
    """Numbers count from 1, each once."""
    laws = Laws(lab, Windows())
    lab.events = lambda deployment: [{"seq": seq} for seq in {1: (1, 2, 3), 2: (1, 3), 3: (2, 3)}[deployment]]

    assert [len(list(laws.of_log(deployment))) for deployment in (1, 2, 3)] == [0, 1, 1]


def test_a_fault_whose_moment_never_came_does_not_happen(lab) -> None:
    """Nothing is taken away from a release that rests."""
    resting = threading.Event()
    resting.set()
    fault = Fault(name="database killed", moment=50, hold_s=1)
    run = Run(lab, seed=1, say=print, findings=Findings())
    lab.rollwave = SimpleNamespace(seq=lambda deployment: 10)

    run._cause(fault, SimpleNamespace(deployment=7), resting)

    assert fault.began_at is None
    assert fault.error is None


@pytest.mark.parametrize(
    ("began_at", "held", "struck", "recovery_s"),
    [(15, {1}, True, [5]), (25, {1}, False, []), (None, {1}, False, []), (15, set(), True, [])],
)
def test_only_what_the_release_did_by_itself_shows_that_a_fault_struck(lab, began_at, held, struck, recovery_s) -> None:
    """What an operator does later is no recovery; nor is anything, where the dead worker had no work."""
    lab.log = [{"at": datetime.fromtimestamp(at, UTC).isoformat()} for at in (10, 20, 40)]
    lab.rollwave = SimpleNamespace(takeovers=lambda deployment: [(19.0, 1)])
    run = Run(lab, seed=1, say=print, findings=Findings())
    fault = Fault(name="worker killed", moment=1, hold_s=1, began_at=began_at)
    scene = SimpleNamespace(held=frozenset(held), remembered_s=[], wrong=[])
    story = SimpleNamespace(recovery_s=[], takeover_s=[], remembered_s=[], wrong=[])

    run._count(7, story, faults=[fault], scenes=[scene], before=30)

    assert fault.struck is struck
    assert story.recovery_s == recovery_s
    assert story.takeover_s == ([4] if recovery_s else [])
    assert (run.findings.faults.total(), run.findings.too_late.total()) == (int(struck), int(not struck))


def test_every_kind_of_fault_comes_before_any_comes_again() -> None:
    """As many faults as there are kinds are one of each."""
    deck = Deck(random.Random(1))

    for _ in range(3):
        assert sorted(deck.deal(1)[0].name for _ in KINDS) == sorted(KINDS)


def test_two_faults_of_one_release_hit_different_things() -> None:
    """Nobody stops what is dead, or kills what somebody else brings back."""
    deck = Deck(random.Random(1))

    for _ in range(100):
        first, second = deck.deal(2)
        assert KINDS[first.name].component != KINDS[second.name].component


def test_the_same_seed_deals_the_same_faults() -> None:
    """A run can be had again."""

    def deal(seed: int) -> list[tuple[str, int, float]]:
        deck = Deck(random.Random(seed))
        return [(fault.name, fault.moment, fault.hold_s) for _ in range(20) for fault in deck.deal(1)]

    assert deal(5) == deal(5)
    assert deal(5) != deal(6)
