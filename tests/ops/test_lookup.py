"""Names that are asked of the system, and a system that does not answer."""

import asyncio
import socket
import threading

import pytest

from corsproxy.ops.lookup import look_up
from corsproxy.ops.loop import run_loop

PATIENCE = 10.0


async def test_an_answer() -> None:
    found = await look_up("127.0.0.1", 80)
    assert [(family, kind, place) for family, kind, _, _, place in found] == [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 80))
    ]


@pytest.mark.parametrize("host", ["name.invalid", "a" * 64 + ".test"], ids=["no such name", "no name at all"])
async def test_no_answer(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo

    def ask_nobody(host: str, port: int, *, type: int) -> object:  # noqa: A002 - that of the system
        if host == "name.invalid":  # no name server is needed for this test
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(host, port, type=type)

    monkeypatch.setattr(socket, "getaddrinfo", ask_nobody)
    with pytest.raises((OSError, UnicodeError)):
        await look_up(host, 80)


def test_the_end_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def ask(*_: object, **__: object) -> list[object]:
        release.wait(PATIENCE)
        return []

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await look_up("api.test", 80)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    run_loop(give_up())
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "lookup")
    assert (thread.is_alive(), thread.daemon) == (True, True)
    release.set()
    thread.join(PATIENCE)  # what it found out too late is of no interest


async def test_no_thread_is_a_failure_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="temporarily unavailable"):
        await look_up("api.test", 80)
