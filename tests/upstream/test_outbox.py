"""Those who send at the end of a turn."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from corsproxy.proxy import clients
from corsproxy.upstream import pool
from corsproxy.upstream.outbox import Outbox


async def test_all_of_a_turn_send_together_once_and_in_order() -> None:
    turns: list[list[str]] = []
    outbox = Outbox[str](turns.append)
    outbox.add("one")
    outbox.add("two")
    assert not turns
    await asyncio.sleep(0)
    outbox.add("three")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns == [["one", "two"], ["three"]]


async def test_who_comes_while_it_sends_is_sent_in_the_next_turn() -> None:
    turns: list[list[str]] = []

    def send(senders: list[str]) -> None:
        turns.append(senders)
        if senders == ["one"]:
            outbox.add("two")

    outbox = Outbox[str](send)
    outbox.add("one")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns == [["one"], ["two"]]


class Sender:
    """A client or a connection that has something to send."""

    def __init__(self, descriptor: int, fault: Exception | None = None) -> None:
        self.descriptor = descriptor
        self.held = b"request"
        self.is_tls = False
        self.address = "192.0.2.1:80"
        self.transport = self
        self.fault = fault
        self.done = ""

    def send_held(self) -> None:
        self.held = b""
        if self.fault is not None:
            raise self.fault
        self.done = "sent"

    def abandon(self) -> None:
        self.done = "ended"

    abort = abandon


@pytest.mark.parametrize("send", [clients._send_held, pool._send_held], ids=["clients", "connections"])
def test_a_mistake_with_one_is_nobody_elses(
    send: Callable[[list[Any]], None], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        bad, good = Sender(ours.fileno(), RuntimeError("planted")), Sender(theirs.fileno())
        send([bad, good])
    assert [bad.done, good.done] == ["ended", "sent"]
    assert "internal error" in caplog.text
