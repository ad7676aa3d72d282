"""Notifications on pages: whatever the API can do, and nothing secret in what is shown."""

from __future__ import annotations

import html
import json
import subprocess
import sys

import pytest

FORM = {"channel": "webhook", "address": "https://hooks.example/s3cr3t", "topics": "braked", "enabled": "on"}


def test_a_subscription_is_made_tested_changed_and_removed(signed_in):
    browser = signed_in("admin")
    made = browser.submit("/notifications", name="page-hook", **FORM)
    assert "whsec_" in made
    shown = browser.get("/notifications/page-hook")
    assert "whsec_" not in shown
    assert "s3cr3t" not in shown
    assert "https://hooks.example" in shown

    browser.submit("/notifications/page-hook", **{**FORM, "address": "http://127.0.0.1:9/x", "topics": "failed"})
    tested = browser.submit("/notifications/page-hook/test", page="/notifications/page-hook")
    assert "The test has not arrived" in tested
    assert "no connection" in tested
    assert "page-hook" in browser.get("/notifications")

    browser.submit("/notifications/page-hook/removal", page="/notifications/page-hook")
    assert browser.http.get("/notifications/page-hook").status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"address": "ftp://x/"}, "url is expected as https://HOST/..."),
        ({"channel": "email", "address": "nobody"}, "to is expected as a list of addresses"),
        ({"topics": "weather"}, "at least one of started"),
        ({"channel": "pigeon"}, "one of email, slack"),
        ({"name": "two words"}, "letters, digits and"),
        ({"own": "on"}, "channels of systems belong to a team"),
    ],
)
def test_what_cannot_be_used_is_told_beside_its_field(signed_in, change, said):
    answer = signed_in("admin").submit("/notifications", **{"name": "wrong", **FORM, **change})
    assert said in html.unescape(answer)


def test_what_is_wrong_with_a_channel_is_said_in_the_language_of_the_page(signed_in):
    """As what it is, and not as what would be right."""
    browser = signed_in("admin")
    browser.http.headers["Accept-Language"] = "zh"
    answer = html.unescape(browser.submit("/notifications", **{"name": "wrong", **FORM, "address": "ftp://x/"}))

    assert "settings：url 应为 https://HOST/..." in answer


def test_everybody_has_their_own_and_sees_no_others(signed_in):
    """A viewer may be told what they may see; a team's is for whoever manages it."""
    viewer, other = signed_in("viewer"), signed_in("viewer")
    mail = {"channel": "email", "address": "ann@example.com", "topics": "failed", "enabled": "on", "own": "on"}
    browser_page = viewer.submit("/notifications", name=f"mine-{viewer.name}", **mail)
    assert "ann@example.com" in browser_page
    assert other.http.get(f"/notifications/mine-{viewer.name}").status_code == 404
    assert f"mine-{viewer.name}" not in other.get("/notifications")

    del mail["own"]
    refused = viewer.submit("/notifications", name="team", **mail)
    assert "manage" in html.unescape(refused)
    taken = other.submit("/notifications", name=f"mine-{viewer.name}", **mail, own="on")
    assert 'role="alert"' in taken


def test_what_somebody_may_not_see_they_are_not_told(signed_in, shop):
    """An own subscription without a choice would tell about everything."""
    viewer = signed_in(f"viewer:{shop.name}")
    mail = {"channel": "email", "address": "ann@example.com", "topics": "failed", "enabled": "on", "own": "on"}
    name = f"mine-{viewer.name}"
    assert 'role="alert"' in viewer.submit("/notifications", name=name, **mail)
    viewer.submit("/notifications", name=name, apps=shop.name, **mail)
    assert shop.name in viewer.get(f"/notifications/{name}")


@pytest.mark.parametrize(
    ("channel", "address", "field", "kept"),
    [
        ("webhook", "http://127.0.0.1:9/x", {"secret": "whsec_" + "A" * 32}, {"url": "http://127.0.0.1:9/x"}),
        ("amqp", "amqp://127.0.0.1:9/", {"place": "elsewhere"}, {"url": "amqp://127.0.0.1:9/"}),
        ("redis", "redis://127.0.0.1:9/0", {"place": "elsewhere"}, {"url": "redis://127.0.0.1:9/0"}),
        ("dingtalk", "https://127.0.0.1:9/a", {"address": "https://127.0.0.1:9/b"}, {"secret": "SECx"}),
        ("feishu", "https://127.0.0.1:9/a", {"address": "https://127.0.0.1:9/b"}, {"secret": "SECx"}),
    ],
)
def test_what_is_left_empty_stays_and_what_is_not_is_changed(signed_in, served, channel, address, field, kept):
    """A secret without its address, an exchange without its URL, an address without its secret: no half is dropped."""
    browser, name = signed_in("admin"), f"kept-{channel}"
    secret = {"secret": "SECx"} if channel in ("dingtalk", "feishu") else {}
    form = {"channel": channel, "topics": "braked", "enabled": "on"}
    browser.submit("/notifications", name=name, address=address, **form, **secret)
    browser.submit(f"/notifications/{name}", **form, **field)

    sealed = subprocess.run(
        [sys.executable, "-c", UNSEAL, name],
        env={"ROLLWAVE_DATA": str(served.data_dir), "DJANGO_SETTINGS_MODULE": "rollwave.web.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    now = json.loads(sealed.stdout)
    told = {"place": {"amqp": "exchange", "redis": "stream"}.get(channel), "address": "url"}
    assert now == now | kept | {told.get(key) or key: value for key, value in field.items()}


UNSEAL = """
import sys
import django
django.setup()
from rollwave.store.models import Subscription
from rollwave.store.sealing import unseal
print(unseal(Subscription.objects.get(name=sys.argv[1]).sealed).decode())
"""
