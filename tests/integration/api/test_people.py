"""People: the first account, signing in and out, invitations, users, tokens; through the pages and through the API."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.api.browser import PASSWORD, Browser, accept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.api.conftest import Api, Served

_numbers = itertools.count(1)


@pytest.fixture
def open_browser() -> Iterator[Callable[[str], Browser]]:
    opened: list[Browser] = []

    def open_at(endpoint: str) -> Browser:
        opened.append(Browser(endpoint))
        return opened[-1]

    yield open_at
    for one in opened:
        one.http.close()


@pytest.fixture
def browser(served: Served, open_browser: Callable[[str], Browser]) -> Browser:
    return open_browser(served.endpoint)


@pytest.fixture
def make_user(api: Api, served: Served, open_browser: Callable[[str], Browser]) -> Callable[..., str]:
    """Make somebody who can sign in, with these roles; return their name."""

    def make(*roles: str) -> str:
        name = f"u{_number()}"
        path = api.post("/users", {"name": name, "roles": list(roles)}, 201)["invitation"]
        accept(open_browser(served.endpoint), path)
        return name

    return make


def _number() -> str:
    """What makes a name of this process its own."""
    return f"{os.getpid()}-{next(_numbers)}"


def actions(api: Api, subject: str) -> list[str]:
    return [one["action"] for one in api.get("/audit", subject=subject)]


def test_the_first_account_is_made_by_the_link_that_the_server_prints(served_anew, open_browser):
    """It may do everything; the link is good for once, and says nothing to whoever guesses."""
    served = served_anew()
    line = served.process.stdout.readline()
    link = re.search(r"http\S+/welcome/\S+", line).group()
    path = httpx.URL(link).path
    browser = open_browser(served.endpoint)

    assert httpx.get(f"{served.endpoint}/welcome/guess").status_code == 404
    assert "too common" in browser.submit(
        path, 422, username="maria", password1="password1234", password2="password1234"
    )
    browser.submit(path, username="maria", password1=PASSWORD, password2=PASSWORD)

    assert browser.http.get("/api/v1/me").json() == {"name": "maria", "token": None, "limits": [["admin"]]}
    assert httpx.get(link).status_code == 404
    assert not (served.data_dir / "secrets" / "welcome").exists()


def test_an_invited_person_signs_in_and_out(api, browser, make_user):
    """Each of it is in the audit log, with where it came from; the session is over on the server, too."""
    name = make_user("viewer")

    browser.sign_in(name)
    cookies = dict(browser.http.cookies)
    assert browser.http.get("/api/v1/me").json()["name"] == name
    browser.submit("/logout", page="/account")

    assert httpx.get(f"{browser.http.base_url}/api/v1/me", cookies=cookies).status_code == 401
    assert actions(api, f"user/{name}")[:3] == ["user.signed_out", "user.signed_in", "user.password_set"]
    assert api.get("/audit", subject=f"user/{name}")[0]["address"] == "127.0.0.1"


def test_a_session_gets_a_new_name_when_somebody_signs_in(browser, make_user):
    """A session that somebody planted into a browser is worth nothing."""
    name = make_user("viewer")
    browser.http.cookies.set("rollwave_session", "planted0000000000000000000000000")

    browser.sign_in(name)

    assert browser.http.cookies.get("rollwave_session", domain="127.0.0.1") != "planted0000000000000000000000000"


def test_a_wrong_password_says_nothing_and_ten_are_enough(api, browser, make_user):
    """Whether the name or the password was wrong is not told; the right one does not help either, for a while."""
    name = make_user("viewer")
    wrong = re.findall(r'role="alert".*?</div></div>', browser.sign_in(name, "wrong", 422), re.DOTALL)
    nobody = re.findall(r'role="alert".*?</div></div>', browser.sign_in("nobody", "wrong", 422), re.DOTALL)
    assert wrong == nobody

    for _ in range(9):
        browser.submit("/login", 422 if _ < 8 else 429, username=name, password="wrong")

    assert "quarter of an hour" in browser.sign_in(name, PASSWORD, 429)
    assert actions(api, f"user/{name}").count("user.sign_in_failed") == 9


def test_an_invitation_is_good_for_once(api, browser, make_user, open_browser):
    """Whoever finds it later learns nothing and changes nothing."""
    name = make_user("viewer")
    path = api.post(f"/users/{name}/invitation")["path"]
    accept(browser, path)

    assert "used already" in open_browser(str(browser.http.base_url)).get(path)


def test_a_new_password_takes_the_old_one_and_ends_all_other_sessions(browser, make_user, open_browser):
    """Of any characters, as long as one likes; whoever found the session alone cannot choose it."""
    name, wanted = make_user("viewer"), "  päss wörd 密码 " + "x" * 100
    browser.sign_in(name)
    other = open_browser(str(browser.http.base_url))
    other.sign_in(name)
    fields = {"new_password1": wanted, "new_password2": wanted}

    page = browser.submit("/account/password", old_password="wrong", **fields)
    assert "incorrectly" in page
    assert page.count('type="password"') == 3
    assert 'autocomplete="current-password"' in page
    browser.submit("/account/password", old_password=PASSWORD, **fields)

    assert browser.http.get("/api/v1/me").status_code == 200
    assert other.http.get("/api/v1/me").status_code == 401
    other.sign_in(name, wanted)


def test_users_are_changed_and_removed_and_the_log_says_what_was_before(api, make_user):
    """Through the API: roles, name, whether they may sign in."""
    name = make_user("viewer")

    changed = api._json(api.http.patch(f"/users/{name}", json={"roles": ["operator:shop/production"]}), 200)
    assert changed["roles"] == ["operator:shop/production"]
    entry = api.get("/audit", subject=f"user/{name}")[0]
    assert entry["data"]["before"]["roles"] == ["viewer"]
    assert entry["data"]["after"]["roles"] == ["operator:shop/production"]
    assert api.post("/users", {"name": name.upper()}, 409)["error"]["code"] == "user.exists"
    assert api.http.delete(f"/users/{name}").status_code == 204
    assert api.get(f"/users/{name}", 404)["error"]["code"] == "input.not_found"


def test_whoever_may_not_sign_in_any_more_is_out_at_once(api, browser, make_user):
    """Sessions and tokens both."""
    name = make_user("operator")
    browser.sign_in(name)
    token = _make_token(browser)
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{browser.http.base_url}/api/v1/me", headers=headers).status_code == 200

    api.http.patch(f"/users/{name}", json={"active": False})

    assert browser.http.get("/api/v1/me").status_code == 401
    assert httpx.get(f"{browser.http.base_url}/api/v1/me", headers=headers).status_code == 401


def test_a_token_made_by_page_is_whose_and_ends_when_it_is_told(api, browser, make_user):
    """Somebody else's for whoever manages alone; a moment that is over and an unknown name are told at their fields."""
    boss, worker = make_user("admin"), make_user("viewer")
    browser.sign_in(boss)
    name = f"t-{worker}"
    grants = {"grants-TOTAL_FORMS": "1", "grants-INITIAL_FORMS": "0", "grants-0-role": "viewer"}
    form = {**grants, "grants-0-app": "*", "grants-0-environment": "*", "name": name, "owner": worker}

    assert "a time to come" in browser.submit("/tokens", 422, **form, until="2020-01-01 00:00")
    assert "nobody-like-that" in browser.submit("/tokens", 422, **{**form, "owner": "nobody-like-that"})
    browser.http.headers["Accept-Language"] = "zh"
    assert "没有用户“nobody-like-that”" in browser.submit("/tokens", 422, **{**form, "owner": "nobody-like-that"})
    browser.http.headers["Accept-Language"] = "en"
    browser.submit("/tokens", **form, until="2099-12-31 18:30")

    (token,) = [one for one in api.get("/tokens") if one["name"] == name]
    assert (token["owner"], token["expires_at"]) == (worker, "2099-12-31T18:30:00Z")
    browser.http.cookies.clear()
    browser.sign_in(worker)
    browser.submit("/tokens", 422, **{**form, "name": f"u-{worker}", "owner": boss})
    assert f"u-{worker}" not in {one["name"] for one in api.get("/tokens")}


def test_a_token_never_may_more_than_its_owner(api, browser, make_user):
    """Neither when it is made, nor when its owner loses a role."""
    name = make_user("operator:shop")
    browser.sign_in(name)
    refused = browser.http.post(
        "/api/v1/tokens", json={"name": f"{name}-much", "roles": ["admin"]}, headers=_csrf(browser)
    )
    assert refused.status_code == 403, refused.text
    token = _make_token(browser)
    headers = {"Authorization": f"Bearer {token}"}
    me = httpx.get(f"{browser.http.base_url}/api/v1/me", headers=headers).json()
    assert me["name"] == name
    assert me["limits"] == [["operator:shop"], ["operator:shop"]]

    api.http.patch(f"/users/{name}", json={"roles": ["viewer"]})

    pushed = httpx.put(f"{browser.http.base_url}/api/v1/packages/shop/1", headers=headers)
    assert pushed.status_code == 403


def test_a_session_writes_only_with_the_proof_of_our_pages(browser, make_user):
    """Another site that makes the browser send a request cannot know the token."""
    browser.sign_in(make_user("viewer"))

    refused = browser.http.post("/api/v1/tokens", json={"name": "forged"})

    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "auth.csrf"


def test_pages_ask_who_it_is_and_whether_they_may(browser, make_user):
    """Who has not signed in goes to the login and comes back; who may not is told so."""
    asked = browser.http.get("/users")
    assert (asked.url.path, asked.url.params["next"]) == ("/login", "/users")
    name = make_user("operator")
    browser.submit("/login", page="/login?next=/tokens", username=name, password=PASSWORD, next="/tokens")

    assert browser.http.get("/users").status_code == 403


def test_an_admin_makes_users_and_changes_them_on_pages(browser, make_user):
    """What the API can, the page can: add, invite, give roles, take them away, remove."""
    browser.sign_in(make_user("admin"))
    name = f"p{_number()}"
    role = {"grants-0-role": "operator", "grants-0-app": "*", "grants-0-environment": "*"}

    invited = browser.submit("/users", name=name, **role)
    assert re.search(r"http://127\.0\.0\.1:\d+/invitation/\S+/[^<]+", invited)
    assert "operator" in browser.get(f"/users/{name}")
    browser.submit(f"/users/{name}", full_name="Maria Muster", **{**role, "grants-0-role": "viewer"})
    listed = browser.get("/users")
    assert "Maria Muster" in listed
    assert "may not sign in" in listed
    browser.submit(f"/users/{name}/removal", page=f"/users/{name}")
    assert browser.http.get(f"/users/{name}").status_code == 404


def _make_token(browser: Browser) -> str:
    made = browser.submit("/tokens", name=f"t{_number()}", days="30")
    return re.search(r"<code>(rw_[^<]+)</code>", made).group(1)


def _csrf(browser: Browser) -> dict[str, Any]:
    found = re.search(r"X-CSRFToken&quot;: &quot;([^&]+)|\"X-CSRFToken\": \"([^\"]+)", browser.get("/account"))
    return {"X-CSRFToken": found.group(1) or found.group(2), "Referer": str(browser.http.base_url)}


def test_a_release_begins_once_somebody_else_approves_it(api, make_shop, make_user, open_browser, served):
    """Who asks is not who approves, by whatever token; why it may go ahead is in the log."""
    shop = make_shop(2, versions=("1.0",), config={"requires_approval": True, "canary_count": 0})
    asker, approver = open_browser(served.endpoint), open_browser(served.endpoint)
    names = make_user("operator", "approver"), make_user("approver")
    asker.sign_in(names[0])
    approver.sign_in(names[1])
    own = {"Authorization": f"Bearer {_make_token(asker)}"}
    wish = {"group": shop.name, "version": "1.0"}
    loosened = asker.http.post(
        "/api/v1/deployments", json={**wish, "config": {"requires_approval": False}}, headers=own
    )
    assert loosened.json()["error"]["field"] == "config.requires_approval"
    deployment = asker.http.post("/api/v1/deployments", json=wish, headers=own).json()
    assert deployment["status"] == "waiting"
    assert "approve" in deployment["available_actions"]
    path = f"/api/v1/deployments/{deployment['id']}/actions/approve"

    for who, reason, status, code in (
        (asker, "trust me", 403, "deployment.own_approval"),
        (approver, " ", 422, "request.invalid"),
    ):
        refused = who.http.post(path, json={"reason": reason}, headers=_csrf(who))
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    approved = approver.http.post(path, json={"reason": "ticket 7"}, headers=_csrf(approver))

    assert approved.json()["approved_by"] == names[1]
    assert shop.until(deployment["id"], "success")["approved_by"] == names[1]
    entry = next(one for one in api.get("/audit", subject=shop.name) if one["action"] == "deployment.approve")
    assert (entry["actor"], entry["reason"], entry["token"]) == (names[1], "ticket 7", "")
    assert entry["data"]["before"]["phase"] == "pending"


def test_the_audit_log_is_looked_through_on_a_page(browser, make_user):
    """As by the command line; what is no end of a chain is told so."""
    browser.sign_in(make_user("admin"))

    assert "was changed, dropped or inserted" in browser.get("/audit/verification")
    assert "SEQ:CODE" in browser.get("/audit/verification?head=nonsense", 422)
    assert "entries" in browser.get("/audit/verification?head=999999:ab")
    browser.http.headers["Accept-Language"] = "zh"
    assert "缺少第" in browser.get("/audit/verification?head=999999:ab")


def _maker(api: Api, *roles: str, by: str | None = None) -> tuple[str, str]:
    """Make a token that is nobody's, by the first one or by *by*; return its name and value."""
    name = f"t{_number()}"
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    made = api.post("/tokens", {"name": name, "roles": list(roles)}, 201, **headers)
    return name, made["token"]


def _approve(api: Api, deployment: int, token: str) -> httpx.Response:
    path = f"/deployments/{deployment}/actions/approve"
    return api.http.post(path, json={"reason": "ticket 7"}, headers={"Authorization": f"Bearer {token}"})


def test_nobody_approves_with_a_token_of_their_own_making(api, make_shop, browser, make_user):
    """Neither by one that whoever asked has made, nor by one beside it, nor whoever made the one that asked."""
    shop = make_shop(1, versions=("1.0",), config={"requires_approval": True, "canary_count": 0})
    roles = (f"operator:{shop.name}", f"approver:{shop.name}")
    _, asker = _maker(api, *roles)
    _, derived = _maker(api, *roles, by=asker)
    _, beside = _maker(api, *roles, by=asker)
    _, further = _maker(api, *roles, by=derived)
    _, other = _maker(api, *roles)
    wish = {"group": shop.name, "version": "1.0"}

    for asks, refused in ((asker, (asker, derived, further)), (derived, (asker, beside, further))):
        deployment = api.post("/deployments", wish, 201, Authorization=f"Bearer {asks}")["id"]
        for token in refused:
            answer = _approve(api, deployment, token)
            assert answer.status_code == 403, answer.text
            assert answer.json()["error"]["code"] == "deployment.own_approval"
        shop.act(deployment, "abort", {})
    deployment = api.post("/deployments", wish, 201, Authorization=f"Bearer {derived}")["id"]
    # What it was is not forgotten when it is gone.
    for one in api.get("/tokens"):
        if one["roles"] == list(roles) and one["name"].startswith("t"):
            api.http.delete(f"/tokens/{one['name']}")
    _, again = _maker(api, *roles)
    assert _approve(api, deployment, again).status_code == 200
    assert shop.until(deployment, "success")
    assert other


def test_an_admin_does_not_approve_in_the_name_of_somebody_else(api, make_shop, browser, make_user):
    """By a token of that person which the admin has made."""
    shop = make_shop(1, versions=("1.0",), config={"requires_approval": True, "canary_count": 0})
    admin, approver = make_user("admin"), make_user("approver")
    browser.sign_in(admin)
    wish = {"group": shop.name, "version": "1.0"}
    deployment = browser.http.post("/api/v1/deployments", json=wish, headers=_csrf(browser)).json()["id"]
    made = {"name": f"t{_number()}", "roles": ["approver"], "owner": approver}
    token = browser.http.post("/api/v1/tokens", json=made, headers=_csrf(browser)).json()["token"]

    assert _approve(api, deployment, token).json()["error"]["code"] == "deployment.own_approval"
    shop.act(deployment, "abort", {})


def test_no_token_acts_in_the_name_of_a_user(api, make_user, open_browser, served_anew):
    """A token that is nobody's is not called as somebody is, nor somebody as it is, in whatever case."""
    name = make_user("viewer")
    token, _ = _maker(api, "viewer")

    for path, wanted in (("/tokens", name), ("/tokens", name.upper()), ("/users", token), ("/users", token.upper())):
        body = {"name": wanted, "roles": ["viewer"]}
        assert api.post(path, body, 409)["error"]["code"] == "name.taken", (path, wanted)

    served = served_anew()
    link = re.search(r"http\S+/welcome/\S+", served.process.stdout.readline()).group()
    first = open_browser(served.endpoint)
    path = httpx.URL(link).path
    assert "is the name of a token" in first.submit(path, 422, username="admin", password1=PASSWORD, password2=PASSWORD)
    first.submit(path, username="maria", password1=PASSWORD, password2=PASSWORD)
