"""`python -m bench.paced PORT PATH RATE CONNECTIONS SECONDS`: GETs at a fixed rate, whatever the answers do.

Here:  an open loop. Each request has a moment at which it is due, and its latency counts from there: one
       that has to wait, because all connections are busy or this program is late, has waited all the same.
       So nothing is left out that a closed loop does not ask for while it waits (coordinated omission).
Never: CPU time of a proxy; saturation.

Sockets, epoll and a timerfd, without an event loop: that costs about 10 µs a request, of a core that it
shares with the upstream at most. How late it sent is printed (`lag_us`), and belongs to the latencies.
"""

import ctypes
import os
import select
import socket
import struct
import sys
import time
from collections import deque

from bench.load import BODY, ORIGIN
from bench.tally import percentile, totals_line

__all__ = ["main"]

TICK_SECONDS = 50e-6  # between looks at what is due
PATIENCE_SECONDS = 5.0  # for the last answers
LIBC = ctypes.CDLL(None, use_errno=True)
BODY_BYTES = len(BODY)


class Client:
    """A connection with one request at a time."""

    __slots__ = ("due", "received", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.due = 0.0
        self.received = b""

    def is_answered(self, data: bytes) -> bool:
        """True when the response is here in full; every one has the same body."""
        received = self.received + data if self.received else data
        end = received.find(b"\r\n\r\n")
        if end < 0 or len(received) < end + 4 + BODY_BYTES:
            self.received = received
            return False
        self.received = b""
        return True


class Timer:
    """Wakes an epoll at a fixed distance, finer than its own milliseconds (timerfd_create(2))."""

    def __init__(self, seconds: float) -> None:
        self.fd = LIBC.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        nanoseconds = round(seconds * 1e9)
        spec = struct.pack("qqqq", 0, nanoseconds, 0, nanoseconds)
        if self.fd < 0 or LIBC.timerfd_settime(self.fd, 0, spec, None):
            raise OSError(ctypes.get_errno(), "no timerfd")


class Pace:
    """The loop: sends what is due, reads what comes."""

    def __init__(self, clients: list[Client], request: bytes, rate: float) -> None:
        self.free = deque(clients)
        self.by_fd = {client.sock.fileno(): client for client in clients}
        self.request = request
        self.rate = rate
        self.waits: list[float] = []
        self.lags: list[float] = []
        self.is_held_up = False
        self.received = 0
        self.errors = {"closed": 0, "status": 0, "unanswered": 0}

    def run(self, seconds: float) -> None:
        timer = Timer(max(TICK_SECONDS, 1 / self.rate))
        poll = select.epoll()
        poll.register(timer.fd, select.EPOLLIN)
        for fd in self.by_fd:
            poll.register(fd, select.EPOLLIN)
        total = int(self.rate * seconds)
        began = time.monotonic()
        sent, until = 0, began + seconds + PATIENCE_SECONDS
        while len(self.waits) < total and not self.errors["closed"]:
            for fd, _ in poll.poll(1.0):
                if fd == timer.fd:
                    os.read(fd, 8)
                else:
                    self.read(self.by_fd[fd])
            now = time.monotonic()
            sent = self.send_due(began, sent, total, now)
            if now > until:
                break
        self.errors["unanswered"] = total - len(self.waits)

    def send_due(self, began: float, sent: int, total: int, now: float) -> int:
        """Send what is due, as far as connections are free; how many have been sent then in all.

        What waited for a connection was kept up by the proxy, not by us, and is no lag.
        """
        while sent < total and (due := began + sent / self.rate) <= now:
            if not self.free:
                self.is_held_up = True
                return sent
            client = self.free.popleft()
            client.due = due
            client.sock.send(self.request)
            if not self.is_held_up:
                self.lags.append(now - due)
            sent += 1
        self.is_held_up = False
        return sent

    def read(self, client: Client) -> None:
        data = client.sock.recv(65536)
        if not data:
            self.errors["closed"] += 1
            return
        if not client.received and not data.startswith(b"HTTP/1.1 200"):
            self.errors["status"] += 1
        self.received += len(data)
        if client.is_answered(data):
            self.waits.append(time.monotonic() - client.due)
            self.free.append(client)


def main(arguments: list[str]) -> None:
    port, path, rate, connections, seconds = arguments
    clients = [Client(int(port)) for _ in range(int(connections))]
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {ORIGIN}\r\n\r\n".encode()
    pace = Pace(clients, request, float(rate))
    print("ready", flush=True)
    sys.stdin.readline()
    pace.run(float(seconds))
    counts = {"lag_us": round(percentile(sorted(pace.lags), 0.99) * 1e6), **pace.errors}
    print(totals_line(len(pace.waits), pace.received, float(seconds), pace.waits, counts), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1:])
