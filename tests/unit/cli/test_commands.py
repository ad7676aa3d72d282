"""The commands: what they send, what they print, how they end."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx
import pytest

from rollwave.cli.exits import Exit
from tests.unit.cli.fake_api import deployment, error_body, event, sse, target

CHANGES = [
    {"action": "create", "kind": "app", "name": "shop", "changes": {}},
    {
        "action": "update",
        "kind": "group",
        "name": "shop-prod",
        "changes": {"config": {"from": {"canary_count": 1}, "to": {"canary_count": 2}}},
    },
    {"action": "unchanged", "kind": "server", "name": "web-01", "changes": {}},
]
PLAN = {
    "group": "shop-prod",
    "app": "shop",
    "kind": "rollout",
    "goal_version": "1.4.2",
    "previous_version": "1.4.1",
    "config": {"max_unavailable_percent": 50, "prestage": True},
    "initial": False,
    "eligible_count": 3,
    "limit_count": 1,
    "canaries": ["shop-prod/web-01:8080"],
    "batches": [
        {"number": 1, "canary": True, "pause_s": 0, "sites": {"fra": 1}, "instances": ["shop-prod/web-01:8080"]},
        {
            "number": 2,
            "canary": False,
            "pause_s": 30,
            "sites": {"fra": 1, "iad": 1},
            "instances": ["shop-prod/web-02:8080", "shop-prod/web-03:8080"],
        },
    ],
    "excluded": [{"instance": "shop-prod/web-04:8080", "reasons": ["hold"]}],
    "sites": {"fra": 2, "iad": 1},
    "eta_s": 95.0,
    "active_deployment": None,
}
INSTANCE = {
    "name": "shop-prod/web-01:8080",
    "group": "shop-prod",
    "site": "default",
    "hold": True,
    "hold_reason": "disk",
    "raised": [{"flag": "hold", "actor": "maria", "reason": "disk", "deployment": None}],
    "in_traffic": False,
    "out_reasons": ["hold"],
    "version": "1.4.1",
}
SERVER = {"name": "web-01", "address": "127.0.0.1", "site": "default", "offline": True, "instance_count": 1}
PACKAGE = {
    "app": "shop",
    "version": "1.4.2",
    "sha256": "ab" * 32,
    "size": 4096,
    "unpacked_size": 9000,
    "file_count": 3,
    "key_id": "0011223344556677",
    "pushed_at": "2026-01-01T12:00:00Z",
    "pushed_by": "maria",
    "provenance": {"commit": "c0ffee"},
}
TOKEN = {
    "name": "ci",
    "owner": "maria",
    "roles": ["operator:shop"],
    "created_at": "2026-01-01T12:00:00Z",
    "expires_at": None,
    "last_used_at": None,
}
USER = {
    "name": "maria",
    "full_name": "Maria Muster",
    "email": "",
    "active": True,
    "roles": ["operator:shop"],
    "group_roles": [],
    "joined_at": "2026-01-01T12:00:00Z",
    "last_signed_in_at": None,
}
AUDIT = {
    "at": "2026-01-01T12:00:00Z",
    "actor": "maria",
    "action": "deployment.brake",
    "subject": "deployment/12",
    "group": "shop-prod",
    "reason": "",
    "sentence": "maria asked for brake",
    "data": {},
}
GROUP = {
    "name": "shop-prod",
    "app": "shop",
    "environment": "production",
    "instance_count": 3,
    "in_traffic_count": 2,
    "versions": {"1.4.1": 3},
    "active_deployment": 12,
}


@pytest.fixture
def fleet(api):
    """An API where everything goes well."""
    api.on("GET", "deployments", [deployment()])
    api.on("GET", "deployments/12", deployment())
    api.on("GET", "deployments/12/targets", [target(1, batch=1, standing="success"), target(2), target(3)])
    api.on("GET", "deployments/12/events", [event(1)])
    api.on("GET", "groups", [GROUP])
    api.on("GET", "groups/shop-prod", {**GROUP, "instances": [INSTANCE]})
    api.on("GET", "apps", [{"name": "shop", "description": "", "groups": ["shop-prod"]}])
    api.on("GET", "apps/shop", {"name": "shop", "description": "", "groups": ["shop-prod"]})
    api.on("GET", "servers", [SERVER])
    api.on("GET", "servers/web-01", {**SERVER, "instances": [INSTANCE]})
    api.on("GET", "packages", [PACKAGE])
    api.on("GET", "packages/shop/1.4.2", PACKAGE)
    api.on("GET", "tokens", [TOKEN])
    api.on("GET", "audit", [AUDIT])
    api.on("GET", "audit/verify", {"intact": True, "count": 1, "head": "1:ab", "flaws": []})
    api.on("GET", "subscriptions", [SUBSCRIPTION])
    api.on("GET", "subscriptions/chat", SUBSCRIPTION)
    api.on("PUT", "subscriptions/chat", {**SUBSCRIPTION, "secret": "whsec_new"})
    api.on("DELETE", "subscriptions/chat", lambda _request: httpx.Response(204))
    api.on("POST", "subscriptions/chat/test", DELIVERY)
    api.on("GET", "subscriptions/chat/deliveries", [DELIVERY])
    api.on("GET", "users", [USER])
    api.on("GET", "me", {"name": "maria", "token": "ci", "limits": [["operator:shop"], ["admin"]]})
    api.on("POST", "users", {**USER, "invitation": "/invitation/a/b"}, status=201)
    api.on("PATCH", "users/maria", USER)
    api.on("POST", "users/maria/invitation", {"path": "/invitation/a/b"})
    api.on("DELETE", "users/maria", lambda _request: httpx.Response(204))
    api.on("POST", "tokens", {**TOKEN, "token": "rw_new"}, status=201)
    api.on("DELETE", "tokens/ci", lambda _request: httpx.Response(204))
    api.on("POST", "plans", PLAN)
    api.on("POST", "deployments", deployment(), status=201)
    api.on("POST", "spec", CHANGES)
    api.on("POST", "groups/shop-prod/rollback", deployment(id=13, kind="rollback", goal_version="1.4.1"), status=201)
    for verb in ("hold", "unhold"):
        api.on("POST", f"groups/shop-prod/instances/web-01/{verb}", INSTANCE)
    for verb in ("offline", "online"):
        api.on("POST", f"servers/web-01/{verb}", {**SERVER, "instances": [INSTANCE]})
    for verb in (
        "approve",
        "start",
        "bake",
        "rollout",
        "next",
        "promote",
        "brake",
        "resume",
        "retry",
        "raise_limit",
        "abort",
    ):
        api.on("POST", f"deployments/12/actions/{verb}", deployment(status="braked"))
    api.on("POST", "deployments/12/actions/rollback", deployment(abort={"reason": "", "rollback_to": "1.4.1"}))
    return api


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text("apps:\n  - name: shop\ngroups:\n  - name: shop-prod\n    config:\n      canary_count: 900\n")
    return path


_ASK_NOBODY = ("version", "completion")
SUBSCRIPTION = {
    "name": "chat",
    "channel": "slack",
    "address": "https://hooks.slack.com",
    "person": None,
    "language": "en",
    "topics": ["braked", "failed"],
    "groups": [],
    "apps": ["shop"],
    "environments": [],
    "enabled": True,
    "disabled_reason": "",
    "failures": 2,
    "failing_since": "2026-01-01T12:00:00Z",
    "last_error": "status 500",
    "delivered_at": None,
}
DELIVERY = {
    "id": 1,
    "message_id": "test_1",
    "deployment": None,
    "first_seq": 0,
    "until_seq": 0,
    "events": 0,
    "attempt": 1,
    "at": "2026-01-01T12:00:00Z",
    "took_ms": 12,
    "arrived": True,
    "said": "status 200",
}

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


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_every_write_has_a_key_of_its_own(fleet, cli, command):
    """Two calls are two commands; --key makes them one."""
    keys = []
    for extra in ((), (), ("--key", "mine")):
        cli(*command, *extra)
        keys.append(fleet.requests[-1].headers["Idempotency-Key"])

    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_actions_say_what_they_mean(fleet, cli):
    """Verb, reason, targets and percentage arrive where the API expects them; what was not said is not sent."""
    cli("retry", "12", "--target", "web-01", "--target", "web-02:8080", "--reason", "fixed")
    assert fleet.sent() == {"reason": "fixed", "targets": ["web-01", "web-02:8080"]}

    cli("raise-limit", "12", "40")
    assert fleet.sent() == {"max_unavailable_percent": 40}

    cli("brake", "12")
    assert fleet.sent() == {}


def test_a_brake_says_what_it_did_and_what_is_open(fleet, cli):
    """One sentence, then the commands that are possible next."""
    result = cli("brake", "shop-prod")

    assert "shop-prod (deployment 12): braked, nothing new starts." in result.out
    assert "open now: brake, raise-limit, abort, rollback" in result.out


def test_a_rollback_of_a_release_under_way_says_what_follows(fleet, cli):
    """It is given up first; the version that comes back is named."""
    result = cli("rollback", "12")

    assert "the rollback to 1.4.1 follows" in result.out


def test_a_group_means_its_active_deployment_else_its_latest(fleet, cli):
    """The active one first; where none is, the newest."""
    fleet.on("GET", "deployments", lambda request: httpx.Response(200, json=_listed(request)))
    fleet.on("POST", "deployments/9/actions/abort", deployment(id=9))

    assert cli("abort", "shop-prod").code == Exit.OK
    assert fleet.requests[-1].url.path.endswith("/deployments/9/actions/abort")


def _listed(request):
    return [] if "active" in request.url.params else [deployment(id=9), deployment(id=4)]


def test_a_group_without_deployments_says_how_to_begin(fleet, cli):
    """It exists, so it is no typing mistake."""
    fleet.on("GET", "deployments", [])

    result = cli("status", "shop-prod")

    assert result.code == Exit.NOT_FOUND
    assert "rollwave deploy shop-prod VERSION" in result.err


def test_a_name_that_does_not_exist_is_compared_with_those_that_do(fleet, cli):
    """One look at the list saves a person one."""
    fleet.on("GET", "deployments", [])
    fleet.refuse("GET", "groups/shop-prdo", "input.not_found", "no group 'shop-prdo'", kind="group", name="shop-prdo")

    result = cli("get", "shop-prdo")

    assert result.code == Exit.NOT_FOUND
    assert result.err == "error: no group 'shop-prdo'\nhint: did you mean 'shop-prod'?\n"


def test_a_plan_shows_every_instance_once(fleet, cli):
    """Batches, the canary, pauses, who is left out and why."""
    result = cli("plan", "shop-prod", "1.4.2")

    for number in range(1, 5):
        assert result.out.count(f"web-0{number}:8080") == 1
    for wanted in (
        "canary",
        "30s pause",
        "held",
        "max_unavailable_percent=50",
        "at most 1 of 3",
        "about 1m 35s",
        "2 in fra",
    ):
        assert wanted in result.out
    assert [request.method for request in fleet.requests] == ["POST"]


def test_settings_are_sent_by_type(fleet, cli):
    """Numbers as numbers, truth as truth, words as words."""
    cli(
        "deploy",
        "shop-prod",
        "1",
        "--set",
        "canary_count=2",
        "--set",
        "prestage=false",
        "--set",
        "batch_mode=manual",
    )

    assert fleet.sent()["config"] == {"canary_count": 2, "prestage": False, "batch_mode": "manual"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["canary=2"], "did you mean 'canary_count'"),
        (["canary_count"], "has no value"),
        (["canary_count=1", "canary_count=2"], "given twice"),
        (["zzz=1"], "known: bake_min_s"),
    ],
)
def test_a_setting_that_is_none_is_found_before_anything_is_sent(fleet, cli, settings, said):
    """The command line knows the settings of the domain."""
    result = cli("deploy", "shop-prod", "1.4.2", *(word for one in settings for word in ("--set", one)))

    assert result.code == Exit.USAGE
    assert said in result.err
    assert fleet.requests == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"phase": "success", "status": "succeeded"}, Exit.OK),
        ({"phase": "aborted", "status": "aborted"}, Exit.FAILED),
        ({"phase": "failure", "status": "failed"}, Exit.FAILED),
        ({"phase": "verify_success", "status": "waiting"}, Exit.WAITING),
        ({"phase": "rolling_out", "status": "braked"}, Exit.WAITING),
    ],
)
def test_the_exit_code_of_status_is_the_result(fleet, cli, changed, code):
    """0 good, 1 bad, 3 for a person."""
    fleet.on("GET", "deployments/12", deployment(**changed))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse()))

    assert cli("status", "12").code == code


def test_status_waits_for_the_events(fleet, cli):
    """It asks again when something has happened, and ends when that was the end."""
    answers = [deployment(), deployment(), deployment(phase="success", status="succeeded")]
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(8))))

    assert cli("status", "12").code == Exit.OK
    assert answers == []


def test_status_gives_up_in_time(fleet, cli):
    """124, as `timeout` has it; the release goes on."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=_endless()))

    result = cli("status", "12", "--timeout", "0.05")

    assert result.code == Exit.TIMED_OUT
    assert "goes on" in result.err


def _endless():
    yield sse(is_over=False)
    import threading

    threading.Event().wait(2)


@pytest.mark.parametrize(
    ("phase", "status", "until", "code"),
    [
        ("verify_success", "waiting", "verify_success", Exit.OK),
        ("rolling_out", "running", "baking", Exit.OK),
        ("verify_failure", "failed", "baking", Exit.FAILED),
        ("verify_success", "waiting", "baking", Exit.WAITING),
        ("success", "succeeded", "verify_failure", Exit.FAILED),
    ],
)
def test_status_for_a_phase(fleet, cli, phase, status, until, code):
    """Reached or passed is good; over without it is bad."""
    fleet.on("GET", "deployments/12", deployment(phase=phase, status=status))
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse()))

    assert cli("status", "12", "--for", until).code == code


def test_watching_in_a_pipe_is_one_line_per_change(fleet, cli):
    """Each event once, in order, with its time; the last line is where it ended."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(1), event(2))))
    answers = [deployment()] * 2 + [deployment(phase="success", status="succeeded", sentence="Done: 3 of 3.")] * 9
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))

    result = cli("get", "12", "-w")

    assert result.code == Exit.OK
    assert [line for line in result.out.splitlines() if "event" in line] == ["12:00:01  event 1", "12:00:01  event 2"]
    assert result.out.splitlines()[-1].strip() == "succeeded: Done: 3 of 3."


def test_watching_in_json_is_one_object_per_line(fleet, cli):
    """Events as the API wrote them, for a program that reads line by line."""
    fleet.on("GET", "deployments/12/events", lambda _request: httpx.Response(200, content=sse(event(1), event(2))))
    answers = [deployment()] * 2 + [deployment(phase="aborted", status="aborted")] * 9
    fleet.on("GET", "deployments/12", lambda _request: httpx.Response(200, json=answers.pop(0)))

    result = cli("get", "shop-prod", "-w", "--json")

    assert result.code == Exit.FAILED
    assert [json.loads(line)["seq"] for line in result.out.splitlines()] == [1, 2]


@pytest.mark.parametrize(("verdict", "code"), [("ok", Exit.OK), ("note", Exit.OK), ("missing", Exit.FAILED)])
def test_a_check_says_what_is_missing(api, cli, verdict, code):
    """Every finding is told; the exit code is 0 only where nothing is missing, as the API says."""
    findings = [
        {"name": "python", "verdict": "ok", "message": "Python 3.11.2"},
        {"name": "openssl", "verdict": verdict, "message": "openssl 3.0 or newer is needed"},
    ]
    answer = [{"instance": "shop-prod/web-01:80", "ready": verdict != "missing", "findings": findings}]
    api.on("GET", "servers/web-01/check", answer)

    result = cli("host", "check", "web-01", "--group", "shop-prod")

    assert result.code == code
    assert api.requests[-1].url.params["group"] == "shop-prod"
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0][1:] == (["ready"] if code is Exit.OK else ["not", "ready"])
    assert lines[2] == [verdict, "openssl", "openssl", "3.0", "or", "newer", "is", "needed"]
    assert cli("host", "check", "web-01", "--json").document == answer


def test_import_prints_a_spec_and_applies_nothing(cli, tmp_path):
    """stdout is the spec alone; what was left out is told beside it, and no request is sent."""
    path = tmp_path / "hosts"
    path.write_text("[web]\nweb[1:2] ansible_port=22\n[db]\ndb1\nü1\n")

    result = cli("host", "import", "--from", "ansible", "-f", str(path), "--site", "berlin")

    assert result.code == Exit.OK
    assert result.out.splitlines() == [
        "servers:",
        '  - { name: "web1", address: "web1", site: "berlin" }',
        '  - { name: "web2", address: "web2", site: "berlin" }',
        '  - { name: "db1", address: "db1", site: "berlin" }',
    ]
    assert "left out 'ü1'" in result.err

    result = cli("host", "import", "--from", "ansible", "-f", str(path), "--group", "db", "--json")
    assert result.document == {"servers": [{"name": "db1", "address": "db1"}]}

    result = cli("host", "import", "--from", "salt", "-f", str(path))
    assert result.code == Exit.USAGE
    assert "salt-key --out json" in result.err


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


def test_applying_says_what_changed(fleet, cli, spec_file):
    """New things, changed fields with before and after, and how many there are of each."""
    result = cli("apply", "-f", spec_file)

    assert fleet.sent() == {
        "spec": {
            "apps": [{"name": "shop"}],
            "groups": [{"name": "shop-prod", "config": {"canary_count": 900}}],
        },
        "dry_run": False,
        "prune": False,
    }
    assert result.out.splitlines() == [
        "+ app shop",
        "~ group shop-prod",
        "    config.canary_count: 1 → 2",
        "1 created, 1 changed, 1 as it was",
    ]


def test_a_dry_run_says_that_nothing_was_changed(fleet, cli, spec_file):
    """Nobody takes a rehearsal for the thing."""
    result = cli("apply", "-f", spec_file, "--dry-run", "--prune")

    assert (fleet.sent()["dry_run"], fleet.sent()["prune"]) == (True, True)
    assert "nothing was changed" in result.out


def test_a_problem_of_the_server_is_shown_in_the_file(fleet, cli, spec_file):
    """Path to line: the file, the line, the column, the text, and a caret under it."""
    problems = [
        {"path": "groups[0].config.canary_count", "value": 900, "message": "canary_count is 900; expected at most 50"},
        {"path": "groups[0].deploy_path", "value": None, "message": "groups[0].deploy_path is missing"},
    ]
    fleet.refuse("POST", "spec", "spec.invalid", "2 problems", status=422, problems=problems)

    result = cli("apply", "-f", spec_file)

    assert result.code == Exit.USAGE
    assert f"{spec_file}:6:7  canary_count is 900; expected at most 50" in result.err
    assert "  6 │       canary_count: 900\n    │       ^^^^^^^^^^^^^^^^^\n" in result.err
    assert f"{spec_file}:4:5  groups[0].deploy_path is missing" in result.err
    assert result.err.splitlines()[-1] == f"error: {spec_file} has 2 mistakes; nothing was changed"


def test_a_spec_that_is_no_yaml_is_never_sent(fleet, cli, spec_file):
    """What cannot be read is refused here, in the same form, also as JSON."""
    spec_file.write_text("apps:\n  - name: a\n    name: b\n")

    result = cli("apply", "-f", spec_file, "--json")

    assert fleet.requests == []
    assert result.code == Exit.USAGE
    (problem,) = result.document["error"]["facts"]["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (3, 5, "apps[0].name")


def test_a_push_builds_signs_and_uploads(fleet, cli, tmp_path):
    """The server gets the archive, the signed manifest and the signature of the key that keygen made."""
    import base64

    from rollwave.packages.manifest import Manifest
    from rollwave.packages.signing import PublicKey

    source = tmp_path / "site"
    source.mkdir()
    (source / "index.html").write_text("hello")
    fleet.on("PUT", "packages/shop/1.4.2", PACKAGE, status=201)

    made = cli("package", "keygen", "--json").document
    result = cli("package", "push", source, "--app", "shop", "--version", "1.4.2", "--commit", "c0ffee")

    request = fleet.requests[-1]
    manifest = base64.b64decode(request.headers["Rollwave-Manifest"])
    parsed = Manifest.parse(manifest)
    key = PublicKey.from_pem((tmp_path / ".rollwave" / "keys" / "signing.key.pub").read_bytes())
    key.verify(manifest, base64.b64decode(request.headers["Rollwave-Signature"]))
    assert result.code == Exit.OK
    assert made["key_id"] == key.key_id == request.headers["Rollwave-Key-Id"]
    assert (parsed.app, parsed.version, parsed.size) == ("shop", "1.4.2", len(request.content))
    assert parsed.provenance.commit == "c0ffee"


def test_a_push_without_a_key_says_how_to_make_one(fleet, cli, tmp_path):
    """The file that is missing is named."""
    result = cli("package", "push", tmp_path, "--app", "shop", "--version", "1")

    assert result.code == Exit.USAGE
    assert "signing.key" in result.err
    assert "rollwave package keygen" in result.err


def test_keygen_never_overwrites(cli):
    """A key that is gone orphans every package that it signed."""
    assert cli("package", "keygen").code == Exit.OK
    assert cli("package", "keygen").code == Exit.USAGE


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


def test_a_damaged_audit_log_fails_and_says_where(api, cli):
    """A script that looks every night has to notice."""
    flaws = [{"seq": 3, "what": "entry 3 is missing"}]
    api.on("GET", "audit/verify", {"intact": False, "count": 9, "head": "9:ab", "flaws": flaws})

    result = cli("audit", "verify", "--head", "8:cd")

    assert result.code == Exit.FAILED
    assert "entry 3: entry 3 is missing" in result.out
    assert "tampered" in result.err
    assert api.requests[-1].url.params["head"] == "8:cd"


def test_the_audit_log_is_exported_as_it_comes(api, cli, tmp_path):
    """Byte for byte, into the file that was named."""
    api.on("GET", "audit/export", lambda _request: httpx.Response(200, content=b'{"seq":1}\n{"seq":2}\n'))

    result = cli("audit", "export", "-o", str(tmp_path / "audit.jsonl"))

    assert result.code == Exit.OK
    assert (tmp_path / "audit.jsonl").read_bytes() == b'{"seq":1}\n{"seq":2}\n'


def test_a_new_token_gets_the_roles_that_were_asked_for(fleet, cli):
    """And no key that nobody asked for: the server fills in what is right."""
    cli("token", "create", "ci", "--role", "operator:shop/production")

    assert fleet.sent() == {"name": "ci", "roles": ["operator:shop/production"]}


def test_a_subscription_is_put_as_a_file_says_and_its_secret_is_shown_once(fleet, cli, tmp_path):
    file = tmp_path / "hook.yaml"
    file.write_text("channel: webhook\nsettings: {url: https://hooks.example/}\ntopics: [braked]\n")

    result = cli("subscription", "put", "chat", "-f", str(file))

    assert result.code == Exit.OK
    assert fleet.sent() == {
        "channel": "webhook",
        "settings": {"url": "https://hooks.example/"},
        "topics": ["braked"],
    }
    assert "whsec_new" in result.out
    assert cli("subscription", "put", "chat", "-f", str(tmp_path / "none.yaml")).code != Exit.OK
    file.write_text("topics: [braked")
    assert cli("subscription", "put", "chat", "-f", str(file)).code == Exit.USAGE


def test_a_test_that_does_not_arrive_fails(api, cli):
    api.on("POST", "subscriptions/chat/test", {**DELIVERY, "arrived": False, "said": "status 500"})
    result = cli("subscription", "test", "chat")
    assert result.code == 1
    assert "did not arrive: status 500" in result.out


def test_settings_are_shown_as_they_stand_in_the_file(api, cli):
    """Table by table; what is not set is a dash."""
    tables = {"engine": {"lease_s": 10.0, "parallel": None}, "database": {"url": "postgresql://rw:(hidden)@db/rw"}}
    api.on("GET", "settings", {"version": "0.1.0", "data_dir": "/srv/rollwave", "tables": tables})

    result = cli("settings")
    said = result.out
    assert not result.code, result.err

    assert "[engine]\nlease_s = 10.0\nparallel = -" in said
    assert "url = 'postgresql://rw:(hidden)@db/rw'" in said


def test_what_an_action_would_do_is_asked_and_nothing_is_done(fleet, cli):
    """The same figures as in the portal's dialog; a dry run sends nothing but a question."""
    told = {
        "action": "rollback",
        "closed": "the deployment is over (success)",
        "dangerous": True,
        "title": "Roll back to 1.4.0?",
        "sentences": ["3 targets leave 1.4.1."],
    }
    fleet.on("GET", "deployments/12/consequences/rollback", told)

    result = cli("rollback", "12", "--to", "1.4.0", "--dry-run")

    assert result.out.splitlines() == [told["title"], *told["sentences"], f"not open now: {told['closed']}"]
    assert [request.method for request in fleet.requests] == ["GET"]
    assert fleet.requests[0].url.params["version"] == "1.4.0"


def test_a_dry_rollback_of_a_group_at_rest_is_the_plan_of_one(fleet, cli):
    """The command starts a rollback there, so this is what is shown, as by `plan`; the last release is over anyway."""
    fleet.on("GET", "deployments", lambda request: httpx.Response(200, json=[]))
    fleet.on("POST", "plans", {**PLAN, "kind": "rollback"})

    result = cli("rollback", "shop-prod", "--to", "1.4.0", "--dry-run")

    assert not result.code, result.err
    assert "plan of a rollback" in result.out
    assert fleet.sent() == {"group": "shop-prod", "version": "1.4.0", "kind": "rollback"}
    assert [one.url.path.rpartition("/")[2] for one in fleet.requests] == ["deployments", "plans"]
    assert cli("rollback", "shop-prod", "--dry-run", "--json").document["kind"] == "rollback"


def test_a_dry_rollback_of_a_group_that_moves_is_asked_of_what_moves(fleet, cli):
    told = {"closed": None, "title": "Roll back to 1.4.1?", "sentences": ["This release is given up."]}
    fleet.on("GET", "deployments/12/consequences/rollback", told)

    assert cli("rollback", "shop-prod", "--dry-run").out.splitlines() == [told["title"], *told["sentences"]]
    assert {request.method for request in fleet.requests} == {"GET"}


def test_a_dry_raise_of_the_limit_asks_about_the_percent(fleet, cli):
    told = {"closed": None, "title": "Raise the limit?", "sentences": ["Then 40 %: 4 of 10."]}
    fleet.on("GET", "deployments/12/consequences/raise_limit", told)

    assert told["sentences"][0] in cli("raise-limit", "12", "40", "--dry-run").out
    assert fleet.requests[-1].url.params["max_unavailable_percent"] == "40"


def test_two_releases_are_compared_and_what_is_the_same_is_left_out(fleet, cli):
    rows = [
        {"field": "group", "a": "shop-prod", "b": "shop-prod", "differs": False},
        {"field": "failures", "a": {}, "b": {"health.timeout": 2}, "differs": True},
    ]
    fleet.on("GET", "deployments/compare", {"a": 11, "b": 12, "fields": rows})

    result = cli("compare", "11", "12")

    assert "2 health.timeout" in result.out
    assert "group" not in result.out
    assert "group" in cli("compare", "11", "12", "--all").out


def test_a_search_names_what_it_finds(fleet, cli):
    found = {
        "deployments": [{"id": 12, "group": "shop-prod", "goal_version": "1.4.2"}],
        "groups": [],
        "servers": [{"name": "web-01", "address": "10.0.0.1", "site": "fra"}],
        "packages": [],
    }
    fleet.on("GET", "search", found)

    assert cli("search", "12").out.splitlines() == ["deployment 12  shop-prod 1.4.2", "server web-01  10.0.0.1 fra"]


def test_an_archive_is_kept_only_if_it_is_what_was_signed(fleet, cli, tmp_path):
    """Whatever came half or changed leaves no file behind."""
    content = b"archive" * 1000
    path = tmp_path / "shop.tar.zst"
    package = {**PACKAGE, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    fleet.on("GET", "packages/shop/1.4.2", package)
    fleet.on("GET", "packages/shop/1.4.2/archive", lambda _: httpx.Response(200, content=content[:-1]))

    result = cli("package", "fetch", "shop", "1.4.2", "-o", path)
    assert "does not match" in result.err
    assert list(tmp_path.iterdir()) == []
    fleet.on("GET", "packages/shop/1.4.2/archive", lambda _: httpx.Response(200, content=content))
    assert cli("package", "fetch", "shop", "1.4.2", "-o", path).code == 0
    assert path.read_bytes() == content


def test_the_fleet_is_written_as_a_file(fleet, cli, tmp_path):
    document = {"spec": {"apps": [{"name": "shop"}]}, "text": "apps:\n  - { name: shop }\n"}
    fleet.on("GET", "spec", document)

    assert cli("export", "--app", "shop").out == document["text"]
    assert fleet.requests[-1].url.params["app"] == "shop"
    cli("export", "-o", tmp_path / "fleet.yaml")
    assert (tmp_path / "fleet.yaml").read_text() == document["text"]


def test_an_export_of_the_audit_log_is_filtered_as_the_page_is(fleet, cli):
    fleet.on("GET", "audit/export", lambda _: httpx.Response(200, content=b""))

    cli("audit", "export", "--subject", "shop-prod", "--actor", "maria", "--since", "2026-01-31T08:00Z")

    sent = fleet.requests[-1].url.params
    assert (sent["subject"], sent["actor"], sent["since"]) == ("shop-prod", "maria", "2026-01-31T08:00Z")


def test_a_package_is_built_and_left_here_for_a_page_to_take(fleet, cli, tmp_path):
    """The archive, and beside it what names and signs it; nothing is sent."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.txt").write_text("hello")
    cli("package", "keygen", tmp_path / "k")
    archive = tmp_path / "shop.tar.zst"

    result = cli(
        "package", "build", source, "--app", "shop", "--version", "1.4.2", "--key", tmp_path / "k", "-o", archive
    )

    assert result.code == 0, result.err
    signed = json.loads((tmp_path / "shop.tar.zst.signed.json").read_text())
    manifest = json.loads(base64.b64decode(signed["manifest"]))
    assert (manifest["app"], manifest["version"]) == ("shop", "1.4.2")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in str(manifest)
    assert fleet.requests == []
