"""Free TCP ports for servers that tests start."""

import itertools
import os
import socket

# Below the range from which the kernel takes ports for outgoing connections: what is free now stays free.
_CANDIDATES = itertools.count(10_000 + os.getpid() % 180 * 100)


def free_port() -> int:
    for port in _CANDIDATES:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the count has no end")
