"""Laws about the judge of chaos runs: what it excuses, what it does not, and what it is dealt."""

from __future__ import annotations

import random  # noqa: TID251  # seeded
from types import SimpleNamespace

import pytest

from demo.chaos.faults import KINDS, Deck
from demo.chaos.laws import Laws
from demo.chaos.windows import DEATH, HAPROXY, Window, Windows


class FakeLab:
    """What `Laws` asks of a lab."""

    def __init__(self) -> None:
        self.failures = []
        self.served = {}
        self.hosts = []

    def seen_by_clients(self):
        return 100, self.failures

    def servers_of_requests(self):
        return self.served

    def fail(self, *, began_at: float, ended_at: float, server: str | None) -> None:
        request = str(len(self.failures))
        self.failures.append({"id": request, "began_at": began_at, "ended_at": ended_at, "cause": "closed"})
        if server is not None:
            self.served[request] = server


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()


def windows_with(name: str, since: float, until: float) -> Windows:
    windows = Windows()
    windows._windows[name].append(Window(since=since, until=until))
    return windows


@pytest.mark.parametrize(
    ("away", "began_at", "ended_at", "server", "excused"),
    [
        (HAPROXY, 11, 12, None, True),
        (HAPROXY, 5, 10, "n1", True),
        (HAPROXY, 5, 9, "n1", False),
        (HAPROXY, 21, 22, "n1", False),
        ("n1", 11, 12, "n1", True),
        ("n1", 11, 12, "n2", False),
        ("n1", 21, 22, "n1", False),
        ("n1", 11, 12, "<NOSRV>", False),
        ("n1", 11, 12, None, False),
        (DEATH, 11, 12, None, True),
        (DEATH, 21, 22, None, False),
        (DEATH, 11, 12, "n1", False),
    ],
)
def test_only_what_met_the_one_that_was_away_is_excused(
    lab, monkeypatch, away, began_at, ended_at, server, excused
) -> None:
    """HAProxy, the host that served it, or where HAProxy logged nothing: a host in the moment of its death."""
    monkeypatch.setattr("demo.chaos.laws.LOGGED_S", 0)
    laws = Laws(lab, windows_with(away, 10, 20))
    lab.fail(began_at=began_at, ended_at=ended_at, server=server)

    requests, broken = laws.of_requests()

    assert (requests.failed, requests.excused, len(broken)) == (1, int(excused), int(not excused))


def test_a_failed_request_is_judged_once(lab) -> None:
    """A violation is told once, however often is looked."""
    laws = Laws(lab, Windows())
    lab.fail(began_at=1, ended_at=2, server="n1")

    assert [len(laws.of_requests()[1]) for _ in range(3)] == [1, 0, 0]


def test_an_attempt_that_starts_the_application_twice_is_told(lab) -> None:
    """Two starts of one attempt are one too many; unless the host died between them."""
    lab.hosts = [
        SimpleNamespace(name="n1", starts=lambda: [(1.0, "7-1-install"), (9.0, "7-2-install")]),
        SimpleNamespace(name="n2", starts=lambda: [(1.0, "7-1-install"), (9.0, "7-1-install")]),
        SimpleNamespace(name="n3", starts=lambda: [(1.0, "7-1-install"), (9.0, "7-1-install")]),
    ]
    laws = Laws(lab, windows_with("n3", 4, 5))

    assert [broken.split()[0] for broken in laws.of_installs()] == ["n2"]
    assert list(laws.of_installs()) == []


def test_a_log_with_a_gap_is_told(lab) -> None:
    """Numbers count from 1, each once."""
    laws = Laws(lab, Windows())
    lab.events = lambda deployment: [{"seq": seq} for seq in {1: (1, 2, 3), 2: (1, 3), 3: (2, 3)}[deployment]]

    assert [len(list(laws.of_log(deployment))) for deployment in (1, 2, 3)] == [0, 1, 1]


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
