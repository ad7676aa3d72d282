from __future__ import annotations

import pytest

from rollwave.balancers.haproxy import parse_servers
from rollwave.ports.balancer import Traffic

HEADER = "# pxname,svname,qcur,scur,status,addr,check_status,last_chk,"


@pytest.mark.parametrize(
    ("status", "requests", "traffic"),
    [
        ("UP", 0, Traffic.IN),
        ("UP 1/3", 4, Traffic.IN),
        ("no check", 0, Traffic.IN),
        ("DOWN", 0, Traffic.OUT),
        ("DOWN 1/2", 1, Traffic.DRAINING),
        ("DRAIN", 1, Traffic.DRAINING),
        ("DRAIN", 0, Traffic.OUT),
        ("NOLB", 0, Traffic.OUT),
        ("MAINT", 0, Traffic.OUT),
        ("MAINT (via web/other)", 2, Traffic.DRAINING),
    ],
)
def test_status_is_traffic(status: str, requests: int, traffic: Traffic) -> None:
    """Only a status that takes new requests is IN; what is queued counts as in flight."""
    rows = f"{HEADER}\nweb,any,{requests},0,{status},10.0.0.1:80,* L7STS,bad,\n\n"

    (server,) = parse_servers(rows)

    assert (server.traffic, server.address, server.check) == (traffic, "10.0.0.1:80", "L7STS bad")
