"""The running release, as people watch and steer it: live without a reload, in both languages, through cut lines."""

from __future__ import annotations

import base64
import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.portal import MOBILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.e2e.browser.portal import Portal

PATIENCE_MS = 30_000

CONFIG = {"canary_count": 1, "max_unavailable_percent": 50}

WORDS = {
    "en-GB": {"live": "Live", "bake": "Bake", "rollout": "Roll out", "succeeded": "Succeeded", "over": "Over"},
    "zh-CN": {"live": "实时", "bake": "堡垒拉入", "rollout": "批次发布", "succeeded": "成功", "over": "已结束"},
}


@pytest.fixture
def group(portal: Portal) -> Iterator[str]:
    """A group that no release moves; whatever a test began there is given up after it."""
    yield "shop-staging"
    for one in portal.seed.http.get("/deployments", params={"group": "shop-staging", "active": True}).json():
        portal.seed.post(f"/deployments/{one['id']}/actions/abort", {})


def act(page: Page, verb: str) -> None:
    """Press an action's button and confirm what its dialog says."""
    page.locator(f"#release-actions .do-{verb}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.locator(".form-end button:not([type=button])").click()
    expect(dialog).to_have_count(0)


def mark(page: Page) -> None:
    """Remember this very document: a reload would forget."""
    page.evaluate("() => { window.isStillHere = true; }")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("() => window.isStillHere === true"))


@pytest.mark.parametrize("locale", WORDS)
def test_a_whole_release_is_walked_on_one_page(portal: Portal, group: str, locale: str):
    """Canary, verify, bake, roll out, done: each step appears by itself and asks before it is done."""
    words = WORDS[locale]
    stable = portal.seed.http.get(f"/groups/{group}").json()["stable_version"]
    version = next(one for one in ("4.16.0", "4.17.2") if one != stable)
    number = portal.seed.begin(group, version, config=CONFIG, start=False)
    context = portal.member(locale=locale)
    page = context.new_page()
    page.goto(f"/deployments/{number}")
    mark(page)
    act(page, "start")
    expect(page.locator("#live")).to_have_text(words["live"], timeout=PATIENCE_MS)
    expect(page.locator("#release-actions .do-bake")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#release-course .now")).to_contain_text(words["bake"])
    act(page, "bake")
    expect(page.locator("#release-actions .do-rollout")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("[data-count=done]")).to_have_text("1")
    page.locator("#release-actions .do-rollout").click()
    expect(page.get_by_role("dialog")).to_contain_text(words["rollout"])
    page.get_by_role("dialog").locator(".form-end button:not([type=button])").click()

    expect(page.locator("#release-heading .pill").last).to_have_text(words["succeeded"], timeout=PATIENCE_MS)
    expect(page.locator("[data-figure=done]").first).to_have_text("4")
    expect(page.locator("#live")).to_have_text(words["over"])
    expect(page.locator("#release-actions button")).to_have_count(0)
    assert is_marked(page)
    context.close()


def test_brake_resume_and_rollback_say_what_they_do_first(portal: Portal, group: str, page: Page):
    """`b` and Enter brake; a rollback is not done before the name of the group is typed."""
    portal.seed.release(group, "4.18.0", config={"canary_count": 0, "max_unavailable_percent": 50})
    number = portal.seed.begin(group, "4.17.2", config=CONFIG)
    page.goto(f"/deployments/{number}")
    expect(page.locator("#release-actions .do-bake")).to_be_visible(timeout=PATIENCE_MS)
    page.keyboard.press("b")
    expect(page.get_by_role("dialog")).to_contain_text("Nothing new starts. 0 targets in flight will finish, 3 targets")
    page.keyboard.press("Enter")
    expect(page.locator("#release-heading .pill").last).to_have_text("Braked", timeout=PATIENCE_MS)
    expect(page.locator("#release-side")).to_contain_text("lin.wei")
    act(page, "resume")
    expect(page.locator("#release-heading .pill").last).to_have_text("Waiting", timeout=PATIENCE_MS)

    page.locator("#release-actions .do-rollback").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Then the whole group goes to 4.18.0: two batches, at most 2 out of traffic")
    dialog.get_by_label("Type shop-staging to confirm").fill("shop-prod")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog.get_by_role("alert")).to_have_text("Type shop-staging to confirm.")
    dialog.get_by_label("Type shop-staging to confirm").fill("shop-staging")
    dialog.get_by_role("button", name="Roll back").click()
    followed = page.get_by_role("link", name=re.compile("What followed"))
    expect(followed).to_be_visible(timeout=PATIENCE_MS)
    followed.click()
    expect(page.locator("#release-heading .pill").last).to_have_text("Succeeded", timeout=PATIENCE_MS)


def test_failures_are_grouped_by_cause_and_a_card_tells_one_of_them(portal: Portal, page: Page):
    """The keys reach the failed target; its card says why; the table has the same."""
    page.goto(f"/deployments/{portal.releases['braked']}")
    side = page.locator("#release-side")
    expect(side).to_contain_text("The new version did not come up in time")
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
    side.get_by_role("button", name="Retry").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("run again, from the start")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    # It says how the stream is, whatever else was asked for and answered meanwhile.
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.keyboard.press("f")
    expect(page.locator("#grid-said")).to_contain_text("Failed", timeout=PATIENCE_MS)
    page.keyboard.press("Enter")
    card = page.locator("#target-card")
    expect(card).to_contain_text("The new version did not come up in time", timeout=PATIENCE_MS)
    expect(card.locator(".stages .failed")).to_have_count(1)
    expect(card.locator(".log")).to_contain_text("verify failed")
    expect(card.locator(".log .said")).to_have_text("started 7.2.0\nbind: address in use")
    did = card.locator(".log code[lang=en]")
    for what in ("out of traffic at edge", "fetched 7.2.0", "current: 7.1.0 -> 7.2.0"):
        expect(did.filter(has_text=what).first).to_be_visible()
    page.locator("[data-chip=failed]").click()
    page.locator("[data-view=table]").click()
    rows = page.locator("#target-table tbody tr")
    failed = portal.seed.http.get(f"/deployments/{portal.releases['braked']}").json()["counts"]["failed"]
    expect(rows).to_have_count(failed)


def test_live_data_keeps_to_its_protocol_and_to_those_who_may(portal: Portal):
    """A snapshot, what follows it, and nothing for whoever has not signed in; `Last-Event-ID` wins over `since`."""
    release = f"/deployments/{portal.releases['over']}"
    member, visitor, viewer = portal.member().request, portal.visitor().request, portal.member("vera").request
    snapshot = member.get(f"{release}/snapshot").json()
    states = base64.b64decode(snapshot["states"])
    assert len(states) == sum(snapshot["meta"]["batches"])
    assert {snapshot["meta"]["cells"][state] for state in states} == {"done"}
    names = member.get(f"{release}/names").json()
    assert len(names) == len(states)

    told = member.get(f"{release}/events?since=0").text()
    assert re.search(r"id: \d+\nevent: cells\ndata: \[\d+,7,", told)
    assert told.endswith("event: end\ndata: {}\n\n")
    known = member.get(f"{release}/events?since=0", headers={"Last-Event-ID": str(snapshot["seq"])}).text()
    assert "event: cells" not in known
    assert "event: figures" in known
    assert member.get(f"{release}/events?since=yesterday").status == 400
    assert member.get("/deployments/999999/snapshot").status == 404

    for part in ("snapshot", "events", "names", "panels", "table", "targets/0"):
        assert "/login" in visitor.get(f"{release}/{part}").url
        assert viewer.get(f"{release}/{part}").status == 200
    assert viewer.get(f"{release}/ask/abort").status == 403


def test_the_card_of_a_target_that_is_tried_again_renews_itself(portal: Portal, group: str, page: Page):
    """Its cell has one color from the first stage to the last; the card goes through all of them while it is open."""
    portal.seed.push("shop", "7.2.0")  # it comes up nowhere
    config = {"canary_count": 0, "max_unavailable_percent": 50, "startup_timeout_s": 4}
    number = portal.seed.begin(group, "7.2.0", config=config)
    portal.seed.until(number, lambda seen: seen["status"] == "braked" and not seen["counts"].get("in_flight"))
    page.goto(f"/deployments/{number}")
    expect(page.locator("#live")).to_have_text("Live", timeout=PATIENCE_MS)
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    card = page.locator("#target-card")
    expect(card.locator(".target-facts")).to_contain_text("Attempt 1", timeout=PATIENCE_MS)
    portal.seed.post(f"/deployments/{number}/actions/retry", {})

    expect(card.locator(".target-facts")).to_contain_text("Attempt 2", timeout=PATIENCE_MS)
    for standing in ("now", "failed"):
        expect(card.locator(f".stages .{standing}", has_text="verify")).to_have_count(1, timeout=PATIENCE_MS)


def test_a_card_that_was_opened_from_the_table_is_a_live_log(portal: Portal, group: str):
    """It renews with every stage of its target, shows what each did, in either language, and stays at its end."""
    number = portal.seed.begin(group, "4.16.0", config=CONFIG, start=False)
    context = portal.member(locale="zh-CN")
    page = context.new_page()
    page.goto(f"/deployments/{number}")
    expect(page.locator("#live")).to_have_text(WORDS["zh-CN"]["live"], timeout=PATIENCE_MS)
    page.locator("[data-view=table]").click()
    page.locator("#target-table tbody button").first.click()
    card = page.locator("#target-card")
    expect(card.locator(".target-facts")).to_be_visible(timeout=PATIENCE_MS)
    expect(card.locator(".log")).to_have_count(0)
    portal.seed.post(f"/deployments/{number}/actions/start", {})

    did = card.locator(".log code[lang=en]")
    expect(did.filter(has_text="runs 4.16.0")).to_have_count(1, timeout=PATIENCE_MS)
    assert did.first.inner_text().startswith("out of traffic at edge, and no request in flight, after ")
    page.wait_for_function(
        """() => {
            const log = document.querySelector("#target-card .log");

            return log.scrollHeight > log.clientHeight && log.scrollTop + log.clientHeight >= log.scrollHeight - 1;
        }""",
        timeout=PATIENCE_MS,
    )
    context.close()


def test_arrows_move_from_target_to_target(portal: Portal, page: Page):
    """Right to the next batch and left back again; each is told, and Enter opens the card of the last one."""
    page.goto(f"/deployments/{portal.releases['braked']}")
    expect(page.locator("#live")).to_have_text("Live", timeout=PATIENCE_MS)
    said = page.locator("#grid-said")
    page.locator("target-grid canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("batch 1", timeout=PATIENCE_MS)
    first = said.inner_text()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(said).not_to_contain_text("batch 1,")
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    expect(said).to_have_text(first)
    page.keyboard.press("ArrowDown")
    expect(said).not_to_have_text(first)
    page.keyboard.press("Enter")

    expect(page.locator("#target-card h2")).to_have_text(said.inner_text().split(",")[0], timeout=PATIENCE_MS)


def test_on_a_small_screen_brake_is_always_at_hand(portal: Portal):
    """The bar at the bottom stays where it is, wherever somebody has scrolled to, and is large enough for a thumb."""
    context = portal.member(**MOBILE)
    page = context.new_page()
    page.goto(f"/deployments/{portal.releases['moving']}")
    brake = page.locator("#release-actions .do-brake")
    for place in (0, 1_000_000):
        page.evaluate("place => window.scrollTo(0, place)", place)
        expect(brake).to_be_in_viewport(ratio=1)
        box = brake.bounding_box()
        assert box
        assert box["height"] >= 44
        assert box["y"] + box["height"] > MOBILE["viewport"]["height"] - 90
    brake.click()

    expect(page.get_by_role("dialog")).to_contain_text("Nothing new starts.")
    context.close()


class Line:
    """A line to a server that can be cut: what is open breaks, and what comes is refused until it is mended."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._open: list[socket.socket] = []
        self._is_cut = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._there))
                self._open += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while text := one.recv(65_536):
                other.sendall(text)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_a_connection_that_never_came_about_is_tried_again_and_the_page_says_so(portal: Portal, group: str):
    """A line that breaks before its first word is no other than one that breaks later."""
    number = portal.seed.begin(group, "4.16.0", config=CONFIG)
    context = portal.member()
    page = context.new_page()
    page.route("**/events?*", lambda route: route.abort())
    page.goto(f"{portal.endpoint}/deployments/{number}")

    expect(page.locator("#live")).to_have_text("Reconnecting", timeout=PATIENCE_MS)
    page.unroute("**/events?*")
    expect(page.locator("#live")).to_have_text("Live", timeout=PATIENCE_MS)
    context.close()


def test_a_dropped_connection_heals_without_a_reload(portal: Portal, group: str):
    """What happened while the line was cut is there when it is mended; the page says how it is."""
    number = portal.seed.begin(group, "4.16.0", config=CONFIG)
    line = Line(int(portal.endpoint.rpartition(":")[2]))
    context = portal.member()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{line.port}/deployments/{number}")
    mark(page)
    expect(page.locator("[data-count=verified]")).to_have_text("1", timeout=PATIENCE_MS)
    line.cut()
    expect(page.locator("#live")).to_have_text("Reconnecting", timeout=PATIENCE_MS)
    portal.seed.post(f"/deployments/{number}/actions/bake", {})
    portal.seed.until(number, lambda seen: seen["phase"] == "bake_success")
    line.mend()

    expect(page.locator("[data-count=done]")).to_have_text("1", timeout=PATIENCE_MS)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#release-actions .do-rollout")).to_be_visible(timeout=PATIENCE_MS)
    assert is_marked(page)
    context.close()
    line.close()
