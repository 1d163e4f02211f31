"""Loopback ports for the processes that the tests start.

A port is given once in a run, so that a process with many ports never gets one twice. All lie below those that a system
takes for outgoing connections (from 32768 on Linux, from 49152 elsewhere): a server that comes back finds its port as it
left it, and no client that waits for it can be given that port and meet itself.
"""

import random
import socket

FIRST, LAST = 20_000, 32_767

_untried = random.sample(range(FIRST, LAST + 1), LAST + 1 - FIRST)


def free_port() -> int:
    """A port on which nothing listens now."""
    while _untried:
        port = _untried.pop()
        if _is_free(port):
            return port
    raise AssertionError(f"no port from {FIRST} to {LAST} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
