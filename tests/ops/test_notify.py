"""The words that systemd hears, on a real datagram socket."""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corsproxy.ops.notify import Notifier

PATIENCE = 5.0


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address  # as the variable has it
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hears(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def has_heard_all(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "a path" else f"@corsproxy-{uuid.uuid4()}"
    manager = Manager(address)
    yield manager
    manager.socket.close()


def told(manager: Manager, **env: str) -> Notifier:
    return Notifier.from_env({"NOTIFY_SOCKET": manager.address, **env})


Say = Callable[[Notifier], None]
CASES: dict[str, tuple[Say, list[str]]] = {
    "ready": (lambda n: n.ready(), ["READY=1"]),
    "ready, with what it does": (lambda n: n.ready("3 routes"), ["READY=1", "STATUS=3 routes"]),
    "stopping": (lambda n: n.stopping("draining"), ["STOPPING=1", "STATUS=draining"]),
    "a status alone": (lambda n: n.status("reload refused"), ["STATUS=reload refused"]),
    "a status cannot become another assignment": (
        lambda n: n.status("bad file\nSTOPPING=1"),
        ["STATUS=bad file STOPPING=1"],
    ),
}


@pytest.mark.parametrize("says", CASES)
def test_the_manager_hears(says: str, manager: Manager) -> None:
    say, lines = CASES[says]
    say(told(manager))
    assert manager.hears() == lines
    assert manager.has_heard_all()


def test_reloading_tells_the_monotonic_time(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    told(manager).reloading()
    word, clock = manager.hears()
    assert word == "RELOADING=1"
    assert before <= int(clock.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


async def test_the_watchdog_hears_the_loop_twice_in_its_time(manager: Manager) -> None:
    notifier = told(manager, WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid()))
    started = time.monotonic()
    notifier.watch(asyncio.get_running_loop())
    beats = [await asyncio.to_thread(manager.hears) for _ in range(3)]
    took = time.monotonic() - started
    notifier.close()
    assert beats == [["WATCHDOG=1"]] * 3
    assert took >= 0.19, "the first beat is at once, each further one after half the interval"


async def test_one_beat_at_a_time_and_none_once_closed(manager: Manager) -> None:
    loop = asyncio.get_running_loop()
    notifier = told(manager, WATCHDOG_USEC="20000000")
    notifier.watch(loop)
    notifier.watch(loop)
    assert manager.hears() == ["WATCHDOG=1"]
    assert manager.has_heard_all(), "watched twice, it beats once"
    beat = notifier._beat
    assert beat is not None
    assert beat.when() - loop.time() == pytest.approx(10, abs=1)
    notifier.close()
    assert beat.cancelled()


SILENT_WATCHDOGS = {
    "no watchdog": {},
    "a watchdog for another process": {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
    "no number": {"WATCHDOG_USEC": "soon"},
    "zero": {"WATCHDOG_USEC": "0"},
}


@pytest.mark.parametrize("says", SILENT_WATCHDOGS)
async def test_no_beat_for(says: str, manager: Manager) -> None:
    told(manager, **SILENT_WATCHDOGS[says]).watch(asyncio.get_running_loop())
    assert manager.has_heard_all()


def test_without_a_socket_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.from_env({"WATCHDOG_USEC": "20000"})
    notifier.ready("fine")
    notifier.reloading()
    notifier.stopping()
    assert not caplog.records


def test_a_manager_that_is_gone_is_a_warning_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.stopping()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No such file" in caplog.text


def test_a_manager_that_does_not_read_holds_up_nobody(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = told(manager)
    started = time.monotonic()
    while not caplog.records:  # until its queue is full
        notifier.status("x" * 1000)
        assert time.monotonic() - started < PATIENCE
    assert "temporarily unavailable" in caplog.text


def test_an_address_that_is_too_long_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / ("x" * 200))).ready()
    assert caplog.records[0].getMessage().endswith(": AF_UNIX path too long")


def test_an_address_that_is_no_unix_socket_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.from_env({"NOTIFY_SOCKET": "vsock:2:1234"}).ready()
    assert "vsock:2:1234" in caplog.text
