from __future__ import annotations

import json
from hashlib import sha256

import pytest
from msgspec.structs import replace

from rollwave.executors.command_line import arguments_of, patience_s
from rollwave.executors.plan_file import plan_file
from rollwave.ports.executor import HostVerb


def test_a_plan_is_always_the_same_bytes_under_their_hash(command):
    """Canonical: sorted keys, no spaces, UTF-8; so a plan that is written twice is written once."""
    file = plan_file(command.plan)

    document = json.loads(file.content)
    assert file.content == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert file.sha256 == sha256(file.content).hexdigest()
    assert plan_file(replace(command.plan)) == file
    assert plan_file(replace(command.plan, keep_versions=4)).sha256 != file.sha256


def test_a_plan_says_everything_that_the_driver_reads(command):
    document = json.loads(plan_file(command.plan).content)

    assert document == {
        "format": 1,
        "deployment_id": 7,
        "created_us": 1_900_000_000_000_000,
        "instance": "shop/web-1:8080",
        "server": "web-1",
        "port": 8080,
        "deploy_path": "/srv/shop",
        "app": "shop",
        "version": "1.0",
        "package": {
            "sha256": "ab" * 32,
            "size": 10,
            "url": "file:///packages/shop",
            "manifest": "eyJhcHAiOiJzaG9wIn0=",
            "signature": "A" * 86 + "==",
            "key_id": "0123456789abcdef",
        },
        "previous_version": "0.9",
        "start": ["ctl", "start", "größe"],
        "stop": ["ctl", "stop"],
        "health_path": "/healthz",
        "version_path": None,
        "startup_timeout_s": 60,
        "command_timeout_s": 60,
        "ignore_verify": False,
        "keep_versions": 5,
    }


def test_the_command_line_carries_who_when_and_under_which_fence(command):
    identity = ("--plan-hash", "beef", "--attempt", "2", "--fence", "3", "--deadline", "1700000000.25")

    assert arguments_of(command, plan_path="/p", plan_hash="beef", wait_s=2.0) == (
        "install",
        "/p",
        *identity,
        "--wait",
        "2.0",
    )
    assert arguments_of(command, plan_path="/p", plan_hash="beef", wait_s=None) == (
        "status",
        "/p",
        *identity,
        "--verb",
        "install",
    )


@pytest.mark.parametrize(
    ("verb", "expected_s"),
    [
        (HostVerb.DOWNLOAD, 900 + 30),
        (HostVerb.INSTALL, 2 * 60 + 30),
        (HostVerb.VERIFY, 60 + 30),
        (HostVerb.PROVE, 30),
        (HostVerb.RESTORE, 2 * 60 + 60 + 30),
    ],
)
def test_patience_covers_what_the_plan_allows(command, verb, expected_s):
    """Whoever gives up earlier would call a verb unknown that is still within its own time."""
    assert patience_s(replace(command, verb=verb), download_s=900) == expected_s
