"""Where the demo lives: three ports of one machine, and the origins a browser sees there.

Here:  listening sockets on the first free port, and the three origins as one value.
Never: what is served there.
"""

import errno
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Places", "origin_of", "port_of", "take_port"]

LOOPBACK = "127.0.0.1"
TRIES = 50


@dataclass(frozen=True, slots=True)
class Places:
    """The three origins of the demo: three ports, but one site, localhost, and so one set of cookies."""

    page: str
    proxy: str
    legacy: str


def origin_of(port: int) -> str:
    """The origin as a browser writes it. By name: to cookies, which go by host, 127.0.0.1 is another one."""
    return f"http://localhost:{port}"


def port_of(listener: socket.socket) -> int:
    """The port that a bound socket really has."""
    port: int = listener.getsockname()[1]  # typeshed: Any, for the sake of other address families
    return port


def candidate_ports(first: int) -> Iterator[int]:
    """The ports to try, in order; from 0 on: whichever the system has free, asked a few times."""
    return iter(range(first, min(first + TRIES, 65536))) if first else itertools.repeat(0, TRIES)


def take_port(first: int) -> socket.socket:
    """A socket that listens on the first free port from `first` on; OSError when there is none."""
    for port in candidate_ports(first):
        try:
            listener = socket.create_server((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        if free_on_ipv6(port_of(listener)):
            return listener
        listener.close()
    raise OSError(errno.EADDRINUSE, f"ports {first} to {first + TRIES - 1} are all taken")


def free_on_ipv6(port: int) -> bool:
    """Does nobody listen there on [::1]? Of the two addresses of `localhost`, browsers often try this one."""
    try:
        socket.create_server(("::1", port), family=socket.AF_INET6).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # anything else: no IPv6 here, so no stranger there either
    return True
