"""Every command: what it prints, how it ends, and what it says of a mistake."""

from __future__ import annotations

import json

import httpx
import pytest

from rollwave.cli.exits import Exit
from tests.unit.cli.fake_api import error_body

READS = [
    ("get",),
    ("get", "deployments"),
    ("get", "12"),
    ("get", "shop-prod"),
    ("get", "deployment", "shop-prod"),
    ("get", "apps"),
    ("get", "app", "shop"),
    ("get", "groups"),
    ("get", "group", "shop-prod"),
    ("get", "servers"),
    ("get", "server", "web-01"),
    ("get", "packages"),
    ("get", "package", "shop"),
    ("get", "package", "shop/1.4.2"),
    ("plan", "shop-prod", "1.4.2", "--set", "canary_count=1"),
    ("package", "list"),
    ("package", "show", "shop", "1.4.2"),
    ("token", "list"),
    ("subscription", "list"),
    ("subscription", "show", "chat"),
    ("subscription", "deliveries", "chat"),
    ("audit",),
    ("audit", "verify"),
    ("user", "list"),
    ("user", "whoami"),
    ("version",),
    ("completion", "show", "bash"),
]
WRITES = [
    ("deploy", "shop-prod", "1.4.2"),
    ("start", "12"),
    ("bake", "12"),
    ("rollout", "shop-prod"),
    ("next", "12"),
    ("promote", "12"),
    ("brake", "12", "--reason", "numbers look odd"),
    ("resume", "12"),
    ("retry", "12", "--target", "web-01"),
    ("retry", "12", "--cause", "health.timeout"),
    ("raise-limit", "12", "40"),
    ("abort", "12"),
    ("rollback", "12"),
    ("rollback", "shop-prod", "--to", "1.4.1"),
    ("hold", "shop-prod", "web-01", "--reason", "disk"),
    ("unhold", "shop-prod", "web-01"),
    ("server", "offline", "web-01"),
    ("server", "online", "web-01"),
    ("token", "create", "ci", "--days", "30"),
    ("token", "create", "ci", "--role", "operator:shop", "--role", "viewer", "--owner", "maria"),
    ("token", "revoke", "ci"),
    ("subscription", "remove", "chat"),
    ("subscription", "test", "chat"),
    ("approve", "12", "--reason", "ticket 7"),
    ("user", "add", "maria", "--role", "operator:shop"),
    ("user", "change", "maria", "--role", "viewer", "--inactive"),
    ("user", "invite", "maria"),
    ("user", "remove", "maria"),
]
_ASK_NOBODY = ("version", "completion")
_PATHS = [
    "deployments",
    "deployments/12",
    "apps",
    "apps/shop",
    "groups",
    "groups/shop-prod",
    "groups/shop-prod/rollback",
    "servers",
    "servers/web-01",
    "packages",
    "packages/shop/1.4.2",
    "plans",
    "tokens",
    "tokens/ci",
    "subscriptions",
    "subscriptions/chat",
    "subscriptions/chat/test",
    "subscriptions/chat/deliveries",
    "audit",
    "audit/verify",
    "users",
    "users/maria",
    "users/maria/invitation",
    "me",
    *(f"groups/shop-prod/instances/web-01/{verb}" for verb in ("hold", "unhold")),
    *(f"servers/web-01/{verb}" for verb in ("offline", "online")),
    *(
        f"deployments/12/actions/{verb}"
        for verb in (
            "approve start bake rollout next promote brake resume retry raise_limit abort rollback".split()  # noqa: SIM905
        )
    ),
]


@pytest.mark.parametrize("command", READS + WRITES, ids=" ".join)
def test_json_mode_prints_exactly_one_document(fleet, cli, command):
    """Stdout is one JSON document and nothing else; sentences go to stderr."""
    result = cli(*command, "--json")

    assert result.code == Exit.OK
    json.loads(result.out)


@pytest.mark.parametrize("command", READS + WRITES, ids=" ".join)
def test_people_get_text_without_escapes_in_a_pipe(fleet, cli, command):
    """No colors, no cursor movements, no JSON where nobody asked for it; never nothing."""
    result = cli(*command)

    assert result.code == Exit.OK
    assert result.out.strip()
    assert "\x1b" not in result.out + result.err
    with pytest.raises(ValueError, match=r"."):
        json.loads(result.out)


@pytest.mark.parametrize("command", [one for one in READS + WRITES if one[0] not in _ASK_NOBODY], ids=" ".join)
def test_an_error_in_json_mode_is_the_one_document(api, cli, command):
    """Whatever the API says no to: its code in the document on stdout, one line for people on stderr, its exit code."""
    refusing = httpx.Response(409, json=error_body("deployment.active", "there is one already", deployment_id=3))
    for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
        for request_path in _PATHS:
            api.on(method, request_path, lambda _request: refusing)

    result = cli(*command, "--json")

    assert result.code == Exit.REFUSED
    assert result.document["error"]["code"] == "deployment.active"
    assert result.err.startswith("error: there is one already\n")


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_every_write_has_a_key_of_its_own(fleet, cli, command):
    """Two calls are two commands; --key makes them one."""
    keys = []
    for extra in ((), (), ("--key", "mine")):
        cli(*command, *extra)
        keys.append(fleet.requests[-1].headers["Idempotency-Key"])

    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("command", "path", "way_out"),
    [
        (("token", "create", "ci"), "tokens", "rollwave token revoke ci"),
        (("user", "add", "maria", "--role", "viewer"), "users", "rollwave user invite maria"),
    ],
)
def test_a_lost_answer_that_would_have_shown_a_secret_says_what_to_do(fleet, api, cli, command, path, way_out):
    """It is asked for once; nobody is told that the name is taken."""

    def lose(_request):
        raise httpx.ReadError("reset")

    api.on("POST", path, lose)

    result = cli(*command)

    assert result.code == Exit.UNREACHABLE
    assert way_out in result.err
    assert len([one for one in api.requests if one.method == "POST"]) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["deplyo"], "Did you mean 'deploy'?"),
        (["get", "grups", "x"], "did you mean 'groups'?"),
        (["deploy"], "missing argument 'GROUP'"),
        (["deploy", "shop-prod"], "needs a VERSION"),
        (["raise-limit", "12", "80"], "less than or equal to 50"),
        (["get", "groups", "-w"], "only a deployment can be watched"),
        (["apply", "-f", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["deploy", "a", "1", "--kind", "rolout"], "'rolout' is not one of"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_2(fleet, cli, command, said):
    """No traceback, no box: `error:`, what is wrong, and a hint."""
    result = cli(*command)

    assert result.code == Exit.USAGE
    assert result.err.startswith("error: ")
    assert said in result.err


def test_an_api_that_is_down_is_named_with_a_way_out(api, cli):
    """Which endpoint, and how to start one."""

    def refuse(_request):
        raise httpx.ConnectError("[Errno 111] Connection refused")

    api.on("GET", "groups", refuse)

    result = cli("get", "groups")

    assert result.code == Exit.UNREACHABLE
    assert "http://127.0.0.1:8080" in result.err
    assert "rollwave serve" in result.err


def test_a_missing_token_is_told_from_a_wrong_one(api, cli, monkeypatch):
    """Both are 7; the way out differs."""
    api.refuse("GET", "groups", "auth.unauthorized", "there is no token", status=401)

    without = cli("get", "groups")
    monkeypatch.setenv("ROLLWAVE_TOKEN", "wrong")
    wrong = cli("get", "groups")

    assert without.code == wrong.code == Exit.DENIED
    assert "no token was sent" in without.err
    assert "not that of this server" in wrong.err


def test_the_help_lists_every_exit_code(cli):
    """Whoever writes a script finds the numbers in `--help`."""
    text = cli("--help").out

    for code in Exit:
        assert f"{code.value:>3}  " in text
