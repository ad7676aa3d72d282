"""A plan is checked field by field before anything is done with it."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest

from rollwave.host import driver

GOOD: dict[str, Any] = {
    "format": 1,
    "deployment_id": 7,
    "created_us": 1_900_000_000_000_000,
    "instance": "app-prod/web1:8080",
    "server": "web1",
    "port": 8080,
    "deploy_path": "/srv/app",
    "app": "app",
    "version": "1.0",
    "package": {
        "sha256": "a" * 64,
        "size": 10,
        "url": "https://packages.example/app-1.0.tar.zst",
        "manifest": base64.b64encode(b"{}").decode(),
        "signature": base64.b64encode(bytes(64)).decode(),
        "key_id": "0123456789abcdef",
    },
    "previous_version": None,
    "start": ["/bin/start"],
    "stop": ["/bin/stop", ""],
    "health_path": "/healthz",
    "version_path": None,
    "startup_timeout_s": 60,
    "command_timeout_s": 60,
    "ignore_verify": False,
    "keep_versions": 5,
}

WRONG = {
    "format": [2, None, "1", True],
    "deployment_id": [0, "7", 1.0, True],
    "created_us": [0, "7", 1.0, True],
    "instance": ["", "a\nb", 7],
    "server": ["", None],
    "port": [0, 65536, "8080", True],
    "deploy_path": ["srv/app", "/", "/srv/../etc", "/srv/app/", "/srv//app", "/srv\0", None],
    "app": ["App", "", "a/b", "-a"],
    "version": ["", ".hidden", "..", "1/0", "1.0\n", "v" * 101, 1.0],
    "package": [None, [], {}],
    "previous_version": ["../1.0", "", 1],
    "start": [[], "start", [1], ["/bin/start\0"], [""], None],
    "stop": [[], "stop", None],
    "health_path": ["healthz", "/a b", "/a\r\nX: y", None],
    "version_path": ["version", "/a b"],
    "startup_timeout_s": [0, -1, 86401, 1.5],
    "command_timeout_s": [0, 86401, None],
    "ignore_verify": [0, "false", None],
    "keep_versions": [1, 1001, None],
    "package.sha256": ["A" * 64, "a" * 63, None],
    "package.size": [0, -1, "10"],
    "package.url": ["ftp://x/y", "/etc/passwd", "http://x/a b", "javascript:1"],
    "package.manifest": ["", "no base64!", None],
    "package.signature": [base64.b64encode(bytes(63)).decode(), "", 1],
    "package.key_id": ["../../evil", "0123456789ABCDEF", ""],
}


def parse(document: Any) -> Any:
    return driver.parse_plan(json.dumps(document).encode())


def place(document: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """Return the object and the key that a dotted name means."""
    return (document["package"], name.split(".")[1]) if "." in name else (document, name)


def test_a_good_plan_passes() -> None:
    """Every field arrives, bytes decoded."""
    plan = parse(GOOD)

    assert (plan.deployment_id, plan.start, plan.stop) == (7, ("/bin/start",), ("/bin/stop", ""))
    assert (plan.package.manifest, plan.package.signature) == (b"{}", bytes(64))


def test_every_field_has_wrong_values_here() -> None:
    """The table below is complete: a new field needs its own bad examples."""
    assert {*GOOD, *("package." + name for name in GOOD["package"])} == set(WRONG)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_field_is_named(name: str, value: object) -> None:
    """host.plan_invalid, and the message says which field and what was expected."""
    document = copy.deepcopy(GOOD)
    owner, key = place(document, name)
    owner[key] = value

    with pytest.raises(driver.RefusalError) as refused:
        parse(document)

    assert refused.value.code == "host.plan_invalid"
    assert refused.value.detail["field"].startswith(name)


@pytest.mark.parametrize("name", [name for name in WRONG if name != "version_path"])
def test_a_missing_field_is_named(name: str) -> None:
    """Nothing is defaulted behind the controller's back."""
    document = copy.deepcopy(GOOD)
    owner, key = place(document, name)
    del owner[key]

    with pytest.raises(driver.RefusalError) as refused:
        parse(document)

    assert refused.value.detail["field"] == name


def test_an_unknown_field_is_named() -> None:
    """A controller that is newer than this driver must not be half understood."""
    with pytest.raises(driver.RefusalError) as refused:
        parse({**GOOD, "shell": "yes"})

    assert refused.value.detail["field"] == "shell"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b'"plan"'])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    """Any bytes get an answer with a code."""
    with pytest.raises(driver.RefusalError) as refused:
        driver.parse_plan(content)

    assert refused.value.code == "host.plan_invalid"
