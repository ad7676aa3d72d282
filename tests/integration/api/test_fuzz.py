"""Requests made from the OpenAPI document by schemathesis, good and bad: no answer that it does not declare."""

from __future__ import annotations

import json
import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from rollwave.web.json_text import encode
from rollwave.web.urls import api

EXAMPLES = 6
"""For each operation; they are the same in every run."""

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


schema = schemathesis.openapi.from_dict(json.loads(encode(api.get_openapi_schema())))


@pytest.fixture(scope="session")
def tokens(served):
    """Of somebody who may do everything, and of somebody who may look."""
    wish = {"name": f"fuzz-viewer-{os.getpid()}", "roles": ["viewer"]}
    headers = {"Authorization": f"Bearer {served.token}"}
    answer = httpx.post(f"{served.endpoint}/api/v1/tokens", json=wish, headers=headers)
    return {"admin": served.token, "viewer": answer.json()["token"]}


# A stream goes on for as long as its deployment does: tests of its own read it.
@pytest.mark.parametrize("who", ["admin", "viewer"])
@schema.exclude(path_regex="/events$|/live$").parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_answer_is_undocumented(case, served, tokens, who):
    """Whatever the request and whoever asks, status, type and form of the answer are in the document; none is a 500."""
    case.call_and_validate(base_url=served.endpoint, headers={"Authorization": f"Bearer {tokens[who]}"}, checks=CHECKS)
