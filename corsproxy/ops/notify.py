"""What systemd is told: serving, reloading, stopping, and that the event loop still turns (sd_notify(3)).

Here:  datagrams to $NOTIFY_SOCKET, and the watchdog's beat. Without that variable, nothing at all.
Never: when these words are true (process), or what the manager makes of them (deploy/systemd).
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Self

__all__ = ["Notifier"]

_log = logging.getLogger(__name__)


class Notifier:
    """One end of the manager's socket.

    address: a path, or `@` and a name in the abstract namespace; "" = nobody wants to know.
    watchdog: seconds within which the manager must hear from us, 0 = it does not watch.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._watchdog = watchdog
        self._beat: asyncio.TimerHandle | None = None
        self._failed = False  # the log says it once, not at every beat

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, as the manager sets them."""
        address = env.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":  # vsock:, for virtual machines: not a service's business
            _log.warning("NOTIFY_SOCKET=%s is no Unix socket: the service manager is told nothing", address)
            address = ""
        return cls(address, _watchdog_seconds(env))

    def ready(self, status: str = "") -> None:
        """It serves: after the start, and again when a reload is over, whatever came of that."""
        self._send("READY=1", *_status_line(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it. The time tells that READY=1 from an earlier one."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The graceful stop has begun. The beat goes on: a drain that hangs is to be noticed, too."""
        self._send("STOPPING=1", *_status_line(status))

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status_line(status))

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat from this loop, twice in the time allowed, until `close`; nothing where no watchdog asks."""
        if self._address and self._watchdog and self._beat is None:
            self._on_beat(loop)

    def close(self) -> None:
        """No more beats."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _on_beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send("WATCHDOG=1")
        self._beat = loop.call_later(self._watchdog / 2, self._on_beat, loop)

    def _send(self, *lines: str) -> None:
        if not (self._address and lines):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                # A manager that does not read must not hold up the event loop.
                manager.setblocking(False)
                manager.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            if not self._failed:
                _log.warning(
                    "the service manager cannot be told (%s): %s", self._address, error.strerror or error
                )
            self._failed = True
        else:
            self._failed = False


def _status_line(status: str) -> tuple[str, ...]:
    """STATUS= with the text on one line, as a line break would begin another assignment; () for no text."""
    return (f"STATUS={' '.join(status.split())}",) if status else ()


def _watchdog_seconds(env: Mapping[str, str]) -> float:
    """How long the manager waits; 0 when it does not, or for another process (sd_watchdog_enabled(3))."""
    microseconds = env.get("WATCHDOG_USEC", "")
    meant_for = env.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(os.getpid()):
        return 0.0
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
