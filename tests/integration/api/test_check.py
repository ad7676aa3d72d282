"""Whether a server can be released to, over HTTP."""

from __future__ import annotations


def test_every_instance_of_a_server_is_looked_at(api, shop):
    """Each has the findings of its server and the word of its balancer, and is ready where nothing is missing."""
    server = shop.servers[0]

    (found,) = api.get(f"/servers/{server}/check")

    assert (found["instance"], found["ready"]) == (f"{shop.name}/{server}:8080", True)
    names = [one["name"] for one in found["findings"]]
    assert (names[:2], names[-1]) == (["reach", "clock"], "balancer")
    assert {"python", "openssl", "disk", "start", "health"} <= set(names)
    assert [found] == api.get(f"/servers/{server}/check", group=shop.name)


def test_a_server_without_a_place_is_not_found(api, shop):
    """An unknown server, or one that carries nothing of that group, is 404 that says what would be right."""
    error = api.get(f"/servers/{shop.servers[0]}x/check", 404)["error"]
    assert shop.servers[0] in error["message"]

    error = api.get(f"/servers/{shop.servers[0]}/check", 404, group="nobody")["error"]
    assert "into a group first" in error["message"]
