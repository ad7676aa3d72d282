"""Single sign-on against a real provider: what is true lets people in, and nothing else does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from joserfc.jwk import RSAKey

from tests.integration.api.conftest import Served
from tests.integration.api.provider import CLIENT_ID, CLIENT_SECRET, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def portal(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sso")
    data = folder / "data"
    data.mkdir()
    (folder / "secret").write_text(f"{CLIENT_SECRET}\n")
    (data / "rollwave.toml").write_text(
        f"""
        [sso]
        issuer = "{provider.issuer}"
        client_id = "{CLIENT_ID}"
        client_secret_file = "{folder / "secret"}"
        label = "Company account"
        [sso.roles]
        sre = ["admin"]
        shop-team = ["operator:shop/production", "viewer"]
        """
    )
    served = Served(data)
    yield served
    code, errors = served.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def browser(portal: Served, provider: Provider) -> Iterator[httpx.Client]:
    provider.honest(sub="1", preferred_username="maria", email="maria@example.com", groups=["shop-team"])
    with httpx.Client(base_url=portal.endpoint, follow_redirects=True, timeout=60) as client:
        yield client


def me(browser: httpx.Client) -> Any:
    answer = browser.get("/api/v1/me")
    return answer.json() if answer.status_code == 200 else None


def test_groups_become_roles_and_change_with_them(browser, provider, portal):
    """Code flow with PKCE, state and nonce; a second sign-in is the same user, with the roles of now."""
    assert "Company account" in browser.get("/login").text

    landed = browser.get("/sso?next=/account")

    assert landed.url.path == "/account"
    asked = provider.asked[-1]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["nonce"]
    assert asked["state"]
    assert me(browser) == {"name": "maria", "token": None, "limits": [["operator:shop/production", "viewer"]]}
    provider.person["groups"] = ["sre", "unknown"]
    with httpx.Client(base_url=portal.endpoint, follow_redirects=True, timeout=60) as other:
        other.get("/sso")
        assert me(other)["limits"] == [["admin"]]
        entry = other.get("/api/v1/audit", params={"subject": "user/maria"}).json()[1]
        assert entry["action"] == "user.changed"
        assert entry["data"]["after"]["roles"] == ["admin"]
    # The first session has them as well: roles are read with every request.
    assert me(browser)["limits"] == [["admin"]]


NOW = time.time()
LIES = {
    "another nonce": {"nonce": "replayed"},
    "no nonce": {"nonce": None},
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "another-client"},
    "expired": {"exp": int(NOW) - 3600},
    "no end": {"exp": None},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(browser, provider, lie):
    """Each claim is looked at."""
    provider.lies = lie

    assert browser.get("/sso").status_code == 403
    assert me(browser) is None


def test_a_token_of_another_key_lets_nobody_in(browser, provider):
    """Whoever else can make tokens of that form."""
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})

    assert browser.get("/sso").status_code == 403
    assert me(browser) is None


def test_an_unsigned_token_lets_nobody_in(browser, provider):
    """Though the provider says that it can make some."""
    provider.is_unsigned = True

    assert browser.get("/sso").status_code == 403
    assert me(browser) is None


def test_an_answer_that_this_browser_never_asked_for_lets_nobody_in(browser, provider, portal):
    """Another state, none, or that of another browser: nobody is signed in as somebody else without noticing."""
    with httpx.Client(base_url=portal.endpoint, timeout=60) as stranger:
        theirs = httpx.get(stranger.get("/sso").headers["Location"]).headers["Location"]

    for url in (theirs, "/sso/callback?code=x&state=guess", "/sso/callback?code=x", "/sso/callback"):
        assert browser.get(url).status_code == 403, url
    assert me(browser) is None


def test_an_answer_is_good_for_once(browser, provider):
    """Who finds it in a history or a log cannot use it again."""
    location = browser.get("/sso", follow_redirects=False).headers["Location"]
    answer = httpx.get(location).headers["Location"]
    assert browser.get(answer).status_code == 200
    browser.cookies.delete("rollwave_session")

    assert browser.get(answer).status_code == 403


def test_a_name_of_somebody_here_is_not_taken_over(browser, provider, portal):
    """Whoever may choose their name at the provider stays who they are."""
    headers = {"Authorization": f"Bearer {portal.token}"}
    httpx.post(f"{portal.endpoint}/api/v1/users", json={"name": "root", "roles": ["admin"]}, headers=headers)
    provider.honest(sub="2", preferred_username="Root", groups=[])

    refused = browser.get("/sso")

    assert refused.status_code == 403
    assert "already" in refused.text
    assert me(browser) is None


def test_who_may_not_sign_in_here_does_not_by_the_provider_either(browser, provider, portal):
    """Until somebody lets them."""
    provider.honest(sub="3", preferred_username="gone", groups=["sre"])
    browser.get("/sso")
    headers = {"Authorization": f"Bearer {portal.token}"}
    httpx.patch(f"{portal.endpoint}/api/v1/users/gone", json={"active": False}, headers=headers).raise_for_status()

    assert browser.get("/sso").status_code == 403
    assert me(browser) is None


def test_after_the_sign_in_nobody_is_sent_elsewhere(browser, provider):
    """An address of another site is not followed."""
    assert browser.get("/sso?next=https://evil.example/").url.host == "127.0.0.1"
