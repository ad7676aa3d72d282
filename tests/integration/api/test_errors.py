"""Everything that a client can get wrong: the right status, a stable code, the field, and nothing changed."""

from __future__ import annotations

import httpx
import pytest

from rollwave.packages.signing import SigningKey


def told(response: httpx.Response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    return error


def test_without_a_token_nothing_is_told(api):
    for path in ("/apps", "/groups", "/deployments", "/tokens", "/audit", "/deployments/1/events"):
        response = httpx.get(str(api.http.base_url) + path.removeprefix("/"))
        told(response, 401, "auth.unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic YTpi", "wrong"])
def test_a_wrong_token_is_no_token(api, header):
    told(api.http.get("/apps", headers={"Authorization": header}), 401, "auth.unauthorized")


def test_a_deleted_and_an_expired_token_are_no_token(api, shop):
    name = f"ci-{shop.name}"
    made = api.post("/tokens", {"name": name}, 201)
    as_ci = {"Authorization": f"Bearer {made['token']}"}
    assert api.http.get("/apps", headers=as_ci).status_code == 200
    assert api.http.delete(f"/tokens/{name}").status_code == 204
    told(api.http.get("/apps", headers=as_ci), 401, "auth.unauthorized")
    past = {"name": name, "expires_at": "2020-01-01T00:00:00Z"}
    assert told(api.http.post("/tokens", json=past), 422, "input.invalid_value")["field"] == "expires_at"


def test_tokens_have_names_of_their_own_and_never_show_their_value_again(api, shop):
    name = f"bot-{shop.name}"
    value = api.post("/tokens", {"name": name}, 201)["token"]
    told(api.http.post("/tokens", json={"name": name}), 409, "token.exists")
    assert value not in api.http.get("/tokens").text
    told(api.http.delete("/tokens/nobody"), 404, "input.not_found")
    told(api.http.post("/tokens", json={"name": "a b"}), 422, "request.invalid")
    actor = api.http.post(
        f"/groups/{shop.name}/instances/{shop.servers[0]}/hold",
        json={},
        headers={"Authorization": f"Bearer {value}"},
    ).json()
    assert actor["hold_by"] == name


def test_a_body_that_is_not_json(api):
    told(api.http.post("/deployments", content=b'{"group": '), 400, "request.malformed")
    told(api.http.post("/deployments", content=b"\xff\xfe"), 400, "request.malformed")


def test_a_body_of_the_wrong_form_names_every_problem(api, shop):
    """All problems at once, each with its path, and a hint where a key is misspelled."""
    body = {"version": "../etc", "kind": "yolo", "config": {"max_unavailble_percent": 10, "canary_count": "one"}}

    error = told(api.http.post("/deployments", json=body), 422, "request.invalid")

    problems = {one["path"]: one["message"] for one in error["facts"]["problems"]}
    assert set(problems) == {
        "group",
        "version",
        "kind",
        "config.max_unavailble_percent",
        "config.canary_count",
    }
    assert "did you mean 'max_unavailable_percent'?" in problems["config.max_unavailble_percent"]
    assert problems["config.canary_count"] == "config.canary_count is 'one'; expected a whole number from 0 to 1000"
    assert error["field"] in problems


@pytest.mark.parametrize("percent", [0, 51, 101, -1, "25", 2.5, True, None])
def test_a_percentage_is_a_whole_number_from_1_to_50(api, shop, percent):
    body = {"group": shop.name, "version": "1.0", "config": {"max_unavailable_percent": percent}}
    for path in ("/deployments", "/plans"):
        error = told(api.http.post(path, json=body), 422, "request.invalid")
        assert error["field"] == "config.max_unavailable_percent"
        assert error["message"].endswith("expected a whole number from 1 to 50")
    assert api.get("/deployments", group=shop.name) == []


def test_names_that_do_not_exist(api, shop):
    """404 with the kind and the name, and what comes close."""
    near = f"{shop.name}x"
    error = told(api.http.post("/deployments", json={"group": near, "version": "1.0"}), 404, "input.not_found")
    assert error["facts"]["kind"] == "group"
    assert "did you mean" in error["message"]
    error = told(api.http.post("/deployments", json={"group": shop.name, "version": "1.00"}), 404, "input.not_found")
    assert error["facts"]["kind"] == "package"
    for path in ("/apps/nope", "/groups/nope", "/servers/nope", "/packages/nope/1", "/packages/nope/1/archive"):
        told(api.http.get(path), 404, "input.not_found")
    for path in ("/deployments/999999", "/deployments/999999/targets", "/deployments/999999/events"):
        told(api.http.get(path), 404, "input.not_found")
    for path in (
        "/servers/nope/offline",
        "/groups/nope/rollback",
        "/groups/nope/instances/s/hold",
        f"/groups/{shop.name}/instances/nope/hold",
        "/deployments/999999/actions/brake",
    ):
        told(api.http.post(path, json={}), 404, "input.not_found")


def test_a_rollout_names_its_version(api, shop):
    error = told(api.http.post("/deployments", json={"group": shop.name}), 422, "input.invalid_value")
    assert error["field"] == "version"


def test_without_a_stable_package_there_is_nothing_to_go_back_to(api, shop):
    for body in ({"kind": "rollback"}, {"kind": "scale_out"}, {"kind": "reroll"}):
        response = api.http.post("/deployments", json={"group": shop.name, **body})
        told(response, 409, "group.no_stable_package")
    told(api.http.post(f"/groups/{shop.name}/rollback"), 409, "group.no_stable_package")
    deployment = shop.deploy("1.0")["id"]
    told(api.http.post(f"/deployments/{deployment}/actions/rollback"), 409, "group.no_stable_package")
    told(api.http.post(f"/groups/{shop.name}/rollback"), 409, "group.no_stable_package")


def test_a_rollback_leads_to_what_was_good_before_by_every_way_in(api, make_shop):
    """Nobody gets round approval and canary by calling a new version a rollback; the answer names what may be."""
    shop = make_shop(2, versions=("1.0", "1.1", "2.0"), config={"max_unavailable_percent": 50})
    for version in ("1.0", "1.1"):
        shop.release(version)
    body = {"group": shop.name, "kind": "rollback", "version": "2.0"}

    for path in ("/plans", "/deployments"):
        error = told(api.http.post(path, json=body), 409, "group.never_released")
        assert error["facts"]["possible"] == ["1.1", "1.0"]
    told(api.http.post(f"/groups/{shop.name}/rollback", json={"version": "2.0"}), 409, "group.never_released")
    deployment = shop.deploy("2.0")["id"]
    for path in (f"/deployments/{deployment}/actions/rollback", f"/groups/{shop.name}/rollback"):
        told(api.http.post(path, json={"version": "2.0"}), 409, "group.never_released")
    assert api.get(f"/deployments/{deployment}")["abort"] is None

    assert shop.act(deployment, "rollback", {"version": "1.0"})["abort"]["rollback_to"] == "1.0"


def test_an_empty_group_cannot_be_released_to(api, make_shop):
    shop = make_shop(0, versions=("1.0",))
    for path in ("/deployments", "/plans"):
        told(api.http.post(path, json={"group": shop.name, "version": "1.0"}), 409, "group.empty")


def test_a_group_has_one_deployment_at_a_time(api, shop):
    first = shop.deploy("1.0")["id"]

    error = told(api.http.post("/deployments", json={"group": shop.name, "version": "1.1"}), 409, "deployment.active")

    assert error["facts"]["deployment_id"] == first
    assert len(api.get("/deployments", group=shop.name)) == 1


def test_a_closed_action_says_why_and_what_is_open(api, shop):
    deployment = shop.deploy("1.0")["id"]
    seen = shop.until(deployment, "verify_success")

    error = told(api.http.post(f"/deployments/{deployment}/actions/rollout"), 409, "deployment.action_not_allowed")

    assert error["facts"]["available"] == seen["available_actions"]
    assert error["facts"]["phase"] == "verify_success"
    shop.act(deployment, "abort")
    told(api.http.post(f"/deployments/{deployment}/actions/promote"), 409, "deployment.action_not_allowed")


def test_an_unknown_action_names_the_known_ones(api, shop):
    deployment = shop.deploy("1.0")["id"]
    error = told(api.http.post(f"/deployments/{deployment}/actions/promot"), 404, "input.not_found")
    assert error["message"] == "no action 'promot'; did you mean 'promote'?"


def test_actions_check_what_they_are_given(api, shop):
    deployment = shop.deploy("1.0", config={"max_unavailable_percent": 30})["id"]
    path = f"/deployments/{deployment}/actions"
    shop.until(deployment, "verify_success")
    told(api.http.post(f"{path}/raise_limit", json={}), 422, "input.invalid_value")
    told(api.http.post(f"{path}/raise_limit", json={"max_unavailable_percent": 30}), 422, "input.invalid_value")
    told(api.http.post(f"{path}/raise_limit", json={"max_unavailable_percent": 51}), 422, "request.invalid")
    error = told(api.http.post(f"{path}/retry", json={"targets": [shop.servers[0]]}), 422, "input.invalid_value")
    assert error["field"] == "targets"
    told(api.http.post(f"{path}/brake", json={"why": "typo"}), 422, "request.invalid")


def test_a_key_does_a_command_once(api, shop):
    """The same key with the same request gives the same answer, with another request a conflict (I22)."""
    key = f"{shop.name}-deploy"
    body = {"group": shop.name, "version": "1.0"}

    first = api.post("/deployments", body, 201, Idempotency_Key=key)
    again = api.post("/deployments", body, 201, Idempotency_Key=key)
    other = api.http.post("/deployments", json={**body, "version": "1.1"}, headers={"Idempotency-Key": key})

    assert first["id"] == again["id"]
    told(other, 409, "command.key_conflict")
    shop.until(first["id"], "verify_success")
    brake = f"/deployments/{first['id']}/actions/brake"
    assert api.post(brake, {"reason": "a"}, Idempotency_Key=f"{key}-brake")["brake"]
    assert api.post(brake, {"reason": "a"}, Idempotency_Key=f"{key}-brake")["brake"]
    response = api.http.post(brake, json={"reason": "b"}, headers={"Idempotency-Key": f"{key}-brake"})
    told(response, 409, "command.key_conflict")
    asked = [
        one for one in api.get("/audit", subject=f"deployment/{first['id']}") if one["action"] == "deployment.brake"
    ]
    assert len(asked) == 1
    too_long = api.http.post(brake, json={}, headers={"Idempotency-Key": "x" * 181})
    told(too_long, 422, "request.invalid")


def test_a_server_with_several_instances_needs_a_port(api, make_shop):
    shop = make_shop(1)
    group = shop.spec["groups"][0]
    server = shop.servers[0]
    group["deploy_path"] = "/srv/{server}/{group}-{port}"
    group["instances"] = [{"server": server, "port": 8080}, {"server": server, "port": 8081}]
    api.post("/spec", {"spec": shop.spec})
    path = f"/groups/{shop.name}/instances/{server}/hold"

    error = told(api.http.post(path, json={}), 422, "input.invalid_value")
    assert (error["field"], "one of 8080, 8081" in error["message"]) == ("port", True)
    assert api.post(path, {"port": 8081})["name"].endswith(":8081")


def put(api, upload, app, version, **headers):
    sent = {**upload.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.http.put(f"/packages/{app}/{version}", content=upload.data, headers=sent)


def test_a_package_is_put_once_and_read_back(api, shop):
    """201, then 200 for the same; the archive comes back byte for byte."""
    upload = api.build(shop.name, "2.0")
    assert put(api, upload, shop.name, "2.0").status_code == 201
    again = put(api, upload, shop.name, "2.0")
    assert again.status_code == 200
    assert api.get(f"/packages/{shop.name}/2.0") == again.json()
    assert again.json()["sha256"] == upload.built.archive.sha256
    assert api.http.get(f"/packages/{shop.name}/2.0/archive").content == upload.data
    assert "2.0" in [one["version"] for one in api.get("/packages", app=shop.name)]
    other = api.build(shop.name, "2.0", content="other")
    told(put(api, other, shop.name, "2.0"), 409, "package.version_taken")


def test_uploads_that_are_no_package_are_refused_and_leave_nothing(api, shop):
    """Not a package, tampered with, signed by somebody else, or about something else."""
    app = shop.name
    good = api.build(app, "3.0")
    flipped = bytes([good.data[0] ^ 1]) + good.data[1:]
    good_data = good.data
    good.data = flipped
    told(put(api, good, app, "3.0"), 422, "package.checksum_mismatch")
    good.data = good_data[:-3]
    told(put(api, good, app, "3.0"), 422, "package.checksum_mismatch")
    good.data = b""
    told(put(api, good, app, "3.0"), 422, "package.checksum_mismatch")
    good.data = good_data
    stranger = api.build(app, "3.0", key=SigningKey.generate())
    told(put(api, stranger, app, "3.0"), 422, "package.unknown_key")
    told(put(api, stranger, app, "3.0", Rollwave_Key_Id=good.built.key_id), 422, "package.signature_invalid")
    told(put(api, good, app, "3.1"), 422, "input.invalid_value")
    told(put(api, good, "nope", "3.0"), 422, "input.invalid_value")
    told(put(api, good, app, "3.0", Rollwave_Manifest="%%%"), 400, "request.malformed")
    told(put(api, good, app, "3.0", Rollwave_Manifest="e30="), 422, "package.manifest_invalid")
    unknown = api.build(f"{app}-unknown", "1.0")
    told(put(api, unknown, f"{app}-unknown", "1.0"), 404, "input.not_found")
    response = api.http.put(f"/packages/{app}/3.0", content=good.data)
    error = told(response, 422, "request.invalid")
    assert {one["path"] for one in error["facts"]["problems"]} == {
        "Rollwave-Manifest",
        "Rollwave-Signature",
        "Rollwave-Key-Id",
    }
    assert "3.0" not in [one["version"] for one in api.get("/packages", app=app)]


def test_signed_garbage_is_not_a_package(api, shop, tmp_path):
    """A signature in order does not make an archive of what is none."""
    import hashlib
    import json

    from rollwave.packages.build import BuiltPackage

    upload = api.build(shop.name, "4.0")
    upload.data = b"this is no archive at all"
    facts = json.loads(upload.built.manifest)
    facts |= {"sha256": hashlib.sha256(upload.data).hexdigest(), "size": len(upload.data)}
    manifest = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    upload.built = BuiltPackage(
        archive=upload.built.archive,
        manifest=manifest,
        signature=api.key.sign(manifest),
        key_id=api.key.public.key_id,
    )
    told(put(api, upload, shop.name, "4.0"), 422, "package.not_a_package")


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(api, served):
    """By its announced length at once, and by its real one where none was announced."""
    limit = 32 * 1024**2
    told(api.http.post("/spec", content=b" " * (limit + 1)), 413, "request.too_large")

    chunks = (b" " * 1024**2 for _ in range(40))
    told(api.http.post("/spec", content=chunks), 413, "request.too_large")


def test_an_unknown_address_and_a_wrong_method_are_told_like_every_error(api, served):
    told(api.http.get("/nope"), 404, "request.unknown_route")
    told(httpx.get(f"{served.endpoint}/api/nope"), 404, "request.unknown_route")
    response = api.http.delete("/apps")
    assert told(response, 405, "request.method_not_allowed")["facts"]["allowed"] == ["GET"]
    assert response.headers["Allow"] == "GET"


def test_queries_are_checked_too(api, shop):
    deployment = shop.deploy("1.0")["id"]
    for path in (
        "/deployments?limit=0",
        "/deployments?active=perhaps",
        f"/deployments/{deployment}/targets?standing=nope",
        f"/deployments/{deployment}/events?since=-1",
        "/audit?since=yesterday",
    ):
        told(api.http.get(path), 422, "request.invalid")
    for given in ("x", "9" * 5_000):
        headers = {"Last-Event-ID": given}
        told(api.http.get(f"/deployments/{deployment}/events", headers=headers), 400, "request.malformed")
