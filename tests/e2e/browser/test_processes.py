"""More than one web process: a page of one shows what was done at another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from demo.installation import BIN, answers
from demo.processes import Program, free_ports, until
from demo.services import Postgres
from tests.e2e.browser.seed import Seed
from tests.needs import needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser

    from tests.e2e.browser.portal import Portal

PASSWORD = "correct horse battery"
PATIENCE_MS = 30_000

GROUP = {
    "name": "shop-prod",
    "app": "shop",
    "deploy_path": "/srv/{server}",
    "port": 8080,
    "start": ["/usr/bin/true"],
    "stop": ["/usr/bin/true"],
    "instances": ["s1", "s2"],
}
SPEC = {
    "apps": [{"name": "shop"}],
    "servers": [{"name": one, "address": one} for one in ("s1", "s2")],
    "groups": [GROUP],
}


def test_a_page_of_one_web_process_shows_what_was_done_at_another(portal: Portal) -> None:
    """A release is planned and given up at the one; the page that the other serves follows, without a reload."""
    needs(Postgres)
    with tempfile.TemporaryDirectory(prefix="rw-") as name, Postgres(Path(name) / "postgres") as postgres:
        data, log = Path(name) / "rollwave", Path(name) / "log"
        environment = {"ROLLWAVE_DATABASE_URL": postgres.url}
        migrate = Program([BIN / "rollwave", "migrate", "--data", data], log=log, environment=environment)
        migrate.start()
        assert migrate.wait() == 0, log.read_text()
        ports = free_ports(2)
        here, there = (_web(data, port, log=log, environment=environment) for port in ports)
        try:
            one, other = (f"http://127.0.0.1:{port}" for port in ports)
            for endpoint in (one, other):
                until(lambda endpoint=endpoint: answers(f"{endpoint}/health/ready"), what="the start of a web process")
            _watch(
                Seed(one, (data / "token").read_text().strip(), data, Path(name) / "packages"), portal.browser, other
            )
        finally:
            here.stop()
            there.stop()


def _web(data: Path, port: int, *, log: Path, environment: Mapping[str, str]) -> Program:
    program = Program([BIN / "rollwave", "web", "--data", data, "--port", str(port)], log=log, environment=environment)
    program.start()
    return program


def _watch(seed: Seed, browser: Browser, other: str) -> None:
    seed.post("/spec", {"spec": SPEC})
    seed.push("shop", "1.0")
    number = seed.begin("shop-prod", "1.0", start=False)
    invitation = seed.invitation()
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(f"{other}{invitation}")
    page.fill("input[name=new_password1]", PASSWORD)
    page.fill("input[name=new_password2]", PASSWORD)
    page.locator("input[name=new_password2]").press("Enter")
    page.wait_for_url(f"{other}/")
    page.goto(f"{other}/deployments/{number}")
    page.evaluate("() => { window.isStillHere = true; }")
    expect(page.locator("#live")).to_have_text("Live", timeout=PATIENCE_MS)
    expect(page.locator("#release-heading .pill").last).to_have_text("Pending")
    seed.post(f"/deployments/{number}/actions/abort", {"reason": "seen from elsewhere"})

    expect(page.locator("#release-heading .pill").last).to_have_text("Aborted", timeout=PATIENCE_MS)
    expect(page.locator("#release-side")).to_contain_text("seen from elsewhere")
    assert page.evaluate("() => window.isStillHere")
    context.close()
    seed.http.close()
