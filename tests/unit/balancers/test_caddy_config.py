from rollwave.balancers.caddy import dial_of
from rollwave.balancers.caddy_config import CaddyPool, HealthWatch, caddy_config
from rollwave.ports.balancer import Member


def test_every_pool_is_found_by_its_id() -> None:
    """Each pool is one handler with its name as @id, its members as upstreams, and its own listener."""
    pools = [
        CaddyPool(name="web", listen="127.0.0.1:80", upstreams=("a:1", "b:2")),
        CaddyPool(name="api", listen="127.0.0.1:81", upstreams=()),
    ]

    config = caddy_config(pools, admin="127.0.0.1:2019")

    assert config["admin"]["listen"] == "127.0.0.1:2019"
    servers = config["apps"]["http"]["servers"].values()
    handlers = [server["routes"][0]["handle"][0] for server in servers]
    assert [server["listen"] for server in servers] == [["127.0.0.1:80"], ["127.0.0.1:81"]]
    assert {h["@id"]: h["upstreams"] for h in handlers} == {"web": [{"dial": "a:1"}, {"dial": "b:2"}], "api": []}


def test_only_get_is_sent_twice() -> None:
    """Nothing widens what Caddy may send again after a request has reached a member: its default is GET alone."""
    config = caddy_config([CaddyPool(name="web", listen=":80", upstreams=())], admin="localhost:2019")

    (server,) = config["apps"]["http"]["servers"].values()
    assert "retry_match" not in server["routes"][0]["handle"][0]["load_balancing"]


def test_health_watch_is_asked_for() -> None:
    """Caddy asks members' health pages exactly where a pool says so."""
    watched = CaddyPool(name="w", listen=":80", upstreams=(), health=HealthWatch(path="/up", interval_ms=100))
    config = caddy_config([watched, CaddyPool(name="p", listen=":81", upstreams=())], admin="localhost:2019")

    checks = {
        name: server["routes"][0]["handle"][0]["health_checks"].get("active")
        for name, server in config["apps"]["http"]["servers"].items()
    }
    assert checks["p"] is None
    assert (checks["w"]["uri"], checks["w"]["interval"]) == ("/up", "100ms")


def test_ipv6_members_are_dialed_in_brackets() -> None:
    """An IPv6 address is bracketed, as every dial address is."""
    assert dial_of(Member(pool="p", name="n", address="::1", port=80)) == "[::1]:80"
