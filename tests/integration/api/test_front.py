"""The front is shut: headers, cookies, TLS, proxies, and Django's own list of what a deployment needs."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.api.conftest import Served
from tests.unit.web.test_pages import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OVER_TLS = """
[web]
url = "https://rollwave.example"
trusted_proxies = ["127.0.0.1"]
"""
PROXIED = {"Host": "rollwave.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that people reach over TLS, through a proxy on this machine."""
    data = tmp_path_factory.mktemp("tls") / "data"
    data.mkdir()
    (data / "rollwave.toml").write_text(OVER_TLS)
    served = Served(data)
    yield served
    code, errors = served.stop()
    assert code == 0, errors


def directives(response: httpx.Response) -> dict[str, str]:
    policy = response.headers["Content-Security-Policy"]
    return {name: rest for name, _, rest in (one.strip().partition(" ") for one in policy.split(";"))}


@pytest.mark.parametrize("path", ["/login", "/", "/api/v1/apps", "/api/v1/openapi.json", "/health/live", "/nope"])
def test_no_answer_may_run_what_is_not_ours(served, path):
    """No inline script, no other origin, no frame around it, no guess at its type; whatever the address."""
    answer = httpx.get(f"{served.endpoint}{path}")
    policy = directives(answer)

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe-eval" not in str(policy)
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Server" not in answer.headers


def test_no_page_has_a_script_inside(served, shop, signed_in):
    """The policy would stop it; it is not there in the first place. Every page of the address table, and the login."""
    number = shop.deploy("1.0", start=False)["id"]
    parameters = {"name": shop.name, "app": shop.name, "version": "1.0", "deployment_id": number, "position": 0}
    browser, seen = signed_in("admin"), 0
    for path in ("login", *(path for path, _ in pages())):
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(parameters.get(found[1], "abort")), path)
        if address.endswith("/events"):
            continue
        answer = browser.http.get(f"/{address}", headers={"Accept": "text/html"})
        seen += answer.status_code == 200

        inside = [one for one in re.findall(r"<script[^>]*>", answer.text) if "application/json" not in one]
        assert all("src=" in one for one in inside), path
        assert not re.search(r"<[^>]*\son\w+=|javascript:|<style|<[^>]*\sstyle=", answer.text), path
    assert seen > 20
    shop.act(number, "abort", {})


def test_what_somebody_signed_in_for_is_kept_by_no_cache(api):
    """Neither in the browser nor on the way."""
    assert api.http.get("/apps").headers["Cache-Control"] == "no-store"


def test_over_tls_cookies_travel_over_tls_alone(tls):
    """They cannot be read by a script (but for the one that a page has to send back), nor be set by a neighbor."""
    answer = httpx.get(f"{tls.endpoint}/login", headers=PROXIED)
    cookies = answer.headers.get_list("Set-Cookie")

    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert cookies
    for one in cookies:
        assert one.startswith("__Host-"), one
        assert "Secure" in one, one
        assert "SameSite=Lax" in one, one


def test_the_session_is_out_of_reach_for_scripts(served_anew):
    """And ends twelve hours after the sign-in, whatever happens meanwhile."""
    served = served_anew()
    link = re.search(r"http\S+/welcome/\S+", served.process.stdout.readline()).group()
    with httpx.Client(timeout=60) as browser:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(link).text).group(1)
        password = "correct horse battery"
        form = {"csrfmiddlewaretoken": token, "username": "maria", "password1": password, "password2": password}
        (cookie,) = [
            one
            for one in browser.post(link, data=form).headers.get_list("Set-Cookie")
            if one.startswith("rollwave_session=")
        ]
        assert "HttpOnly" in cookie
        assert 43_100 < int(re.search(r"Max-Age=(\d+)", cookie).group(1)) <= 43_200
        later = browser.get(f"{served.endpoint}/account").headers.get_list("Set-Cookie")
        assert not [one for one in later if one.startswith("rollwave_session=")]


def test_over_plain_http_people_are_sent_to_tls_and_probes_are_answered(tls):
    """A token that was sent in the clear once is not saved by a redirect: the API answers."""
    plain = {"Host": "rollwave.example", "X-Forwarded-Proto": "http"}

    sent_on = httpx.get(f"{tls.endpoint}/login", headers=plain)
    assert (sent_on.status_code, sent_on.headers["Location"]) == (301, "https://rollwave.example/login")
    assert httpx.get(f"{tls.endpoint}/health/live", headers=plain).status_code == 200
    assert httpx.get(f"{tls.endpoint}/api/v1/apps", headers=plain).status_code == 401


def test_the_address_in_the_log_is_that_of_the_client_where_a_proxy_is_trusted(tls):
    """And is made up by nobody."""
    headers = {"Authorization": f"Bearer {tls.token}"}
    made = {"name": "ci", "roles": ["viewer"]}
    httpx.post(f"{tls.endpoint}/api/v1/tokens", json=made, headers={**headers, **PROXIED}).raise_for_status()

    (entry,) = httpx.get(f"{tls.endpoint}/api/v1/audit", params={"subject": "token/ci"}, headers=headers).json()
    assert entry["address"] == "192.0.2.7"


def test_without_a_trusted_proxy_nobody_can_say_that_they_are_somebody_else(api, served):
    """What a client says of its own address is not believed."""
    spoofed = {"Authorization": f"Bearer {served.token}", "X-Forwarded-For": "192.0.2.7"}
    made = {"name": "spoofed", "roles": ["viewer"]}
    httpx.post(f"{served.endpoint}/api/v1/tokens", json=made, headers=spoofed).raise_for_status()

    assert api.get("/audit", subject="token/spoofed")[0]["address"] == "127.0.0.1"


def test_secrets_are_made_once_and_for_their_owner_alone(served):
    """No other account of the machine reads them."""
    made = served.data_dir / "secrets"

    assert {"session.key", "audit.key"} <= {one.name for one in made.iterdir()}
    for one in made.iterdir():
        assert one.stat().st_mode & 0o077 == 0, one


@pytest.mark.parametrize("settings", [OVER_TLS, OVER_TLS.replace("example", "example:8443")])
def test_django_finds_nothing_that_a_deployment_lacks(tmp_path: Path, settings):
    """``manage.py check --deploy``, with the settings of an installation that people reach over TLS."""
    (tmp_path / "rollwave.toml").write_text(settings)
    program = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='DEBUG')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={
            "ROLLWAVE_DATA": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "rollwave.web.settings",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no issues" in done.stdout
