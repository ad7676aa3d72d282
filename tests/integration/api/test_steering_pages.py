"""Steering by page: what the API takes beside an action's name can be chosen in its dialog, and is said in figures."""

from __future__ import annotations

import html
import json
import re

import pytest


@pytest.fixture
def dialog(signed_in):
    """Ask what an action would do, and send its form with what is chosen."""
    browser = signed_in("operator")

    def ask(deployment: int, verb: str, *, does: bool = False, **fields: object) -> str:
        path = f"/deployments/{deployment}"
        token = re.search(r'"X-CSRFToken": "([^"]+)"', browser.get(path)).group(1)
        headers = {"X-CSRFToken": token, "Referer": str(browser.http.base_url)}
        if does:
            answer = browser.http.post(f"{path}/actions/{verb}", data=fields, headers=headers)
        else:
            answer = browser.http.get(f"{path}/ask/{verb}", params=fields)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    return ask


@pytest.fixture
def braked(shop) -> int:
    """A release that failed on two targets and braked."""
    shop.release("1.0")
    shop.release("1.1")
    deployment = shop.deploy("broken", config={"canary_count": 0})["id"]
    shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"] and seen["counts"]["in_flight"] == 0)
    return deployment


def test_a_rollback_goes_where_it_is_sent(shop, braked, dialog):
    """The dialog offers what was once good and nothing else, and says what the chosen one means; then it goes there."""
    upload = shop.api.build(shop.name, "2.0")
    pushed = shop.api.http.put(f"/packages/{shop.name}/2.0", content=upload.data, headers=upload.headers)
    assert pushed.status_code == 201, pushed.text
    offered = dialog(braked, "rollback")
    assert re.findall(r'<option value="([^"]+)"', offered) == ["1.1", "1.0"]
    assert "Roll back to 1.1?" in offered
    assert "Roll back to 1.0?" in dialog(braked, "rollback", version="1.0")
    for never in ("2.0", "no-such"):
        assert "Roll back to 1.1?" in dialog(braked, "rollback", version=never)

    dialog(braked, "rollback", does=True, version="1.0", confirm=shop.name)

    over = shop.api.until(f"/deployments/{braked}", lambda seen: seen["followed_by"])
    assert shop.api.get(f"/deployments/{over['followed_by']}")["goal_version"] == "1.0"


def test_a_version_that_there_is_not_is_told(shop, braked, dialog):
    refused = dialog(braked, "rollback", does=True, version="9.9", confirm=shop.name)

    assert 'role="alert"' in refused
    assert "9.9" in refused


def test_some_of_the_failed_run_again_and_no_other(shop, braked, dialog):
    """Ticked ones alone; the title counts them."""
    offered = dialog(braked, "retry")
    failed = re.findall(r'name="target" value="([^"]+)"', offered)
    assert len(failed) >= 2
    assert f"Retry {len(failed)} targets?" in offered
    one = dialog(braked, "retry", target=failed[0])
    assert "Retry 1 target?" in one
    assert "other reasons" not in one
    assert f"left as they are: {len(failed) - 1} target" in one

    dialog(braked, "retry", does=True, target=failed[:1])

    again = shop.api.until(f"/deployments/{braked}/targets", lambda seen: any(one["attempt"] > 1 for one in seen))
    assert [one["instance"] for one in again if one["attempt"] > 1] == failed[:1]


def test_a_limit_is_said_in_figures_as_it_is_typed_and_kept_where_it_is_refused(shop, dialog):
    """Each percent means a number of targets; what is no raise is told with what was typed."""
    shop.release("1.0")
    deployment = shop.deploy("broken", config={"canary_count": 0, "max_unavailable_percent": 25})["id"]
    shop.api.until(f"/deployments/{deployment}", lambda seen: seen["brake"] and seen["counts"]["in_flight"] == 0)

    assert "Then 26 %: 1 of 4." in dialog(deployment, "raise_limit")
    assert "Then 50 %: 2 of 4." in dialog(deployment, "raise_limit", max_unavailable_percent=50)
    for wrong in (90, "30.5", "9" * 5_000):
        assert "Then" not in dialog(deployment, "raise_limit", max_unavailable_percent=wrong)
    refused = dialog(deployment, "raise_limit", does=True, max_unavailable_percent=90)
    assert "more than the current 25 and at most 50" in refused
    assert 'value="90"' in refused
    dialog(deployment, "raise_limit", does=True, max_unavailable_percent=50)
    assert shop.api.get(f"/deployments/{deployment}")["config"]["max_unavailable_percent"] == 50


def test_a_package_is_pushed_by_page_as_by_the_api(shop, signed_in, api):
    """What was signed elsewhere is checked as any push is; other apps and other files are refused."""
    upload = api.build(shop.name, "2.0")
    headers = upload.headers
    signed = json.dumps(
        {
            "manifest": headers["Rollwave-Manifest"],
            "signature": headers["Rollwave-Signature"],
            "key_id": headers["Rollwave-Key-Id"],
        }
    )

    def push(browser, archive: bytes, beside: str):
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/packages/new")).group(1)
        files = {"archive": ("a.tar.zst", archive), "signed": ("a.json", beside)}
        referer = {"Referer": str(browser.http.base_url)}
        return browser.http.post("/packages/new", data={"csrfmiddlewaretoken": token}, files=files, headers=referer)

    browser = signed_in(f"operator:{shop.name}")
    for nothing in ("{}", "[" * 60_000, '"x"'):
        assert push(browser, upload.data, nothing).status_code == 422
    changed = push(browser, upload.data[:-1] + b"x", signed)
    assert (changed.status_code, "does not match its manifest" in changed.text) == (422, True)
    assert push(signed_in("operator:another"), upload.data, signed).status_code == 422
    api.get(f"/packages/{shop.name}/2.0", 404)

    assert push(browser, upload.data, signed).url.path == f"/packages/{shop.name}/2.0"

    assert api.get(f"/packages/{shop.name}/2.0")["pushed_by"] == browser.name
    assert "was here" in push(browser, upload.data, signed).text
