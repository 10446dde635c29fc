"""A proxy that is sent nonsense from both sides stays sane: nothing ambiguous passes, nothing is left behind.

CORSPROXY_FUZZ_SECONDS says for how long (default 5, with the same inputs every time; when it is set, with new
ones). What fails is printed: put the bytes into a file of tests/proxy/corpus/, which is replayed first.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from corsproxy.config.table import Timeouts
from tests.proxy import test_faults, test_framing
from tests.proxy.conftest import APP, Proxy, proxy, route
from tests.proxy.fuzzing import mutate, objection_to_request, objection_to_responses
from tests.wire import PATIENCE, Upstream, Wire, ask, get, ok, upstream

CORPUS = Path(__file__).parent / "corpus"
ENV = os.environ.get("CORSPROXY_FUZZ_SECONDS")
SEED = secrets.token_hex(4) if ENV else "table"
PARTS = 4  # two sides, two event loops
BATCH = 48
# Who does not go on is soon given up: each batch holds several that wait for more.
QUICK = Timeouts(client_head=0.2, keepalive=0.2, response=0.2, idle=0.2)


def corpus(side: str) -> list[bytes]:
    """The files of one side, in order of their names."""
    return [file.read_bytes() for file in sorted((CORPUS / side).glob("*.bin"))]


CLIENT_SEEDS = [
    *corpus("client"),
    *(case.request for case in (*test_framing.LENGTHS, *test_framing.CODINGS, *test_framing.FIELDS)),
    *(case.request for case in (*test_framing.LINES, *test_framing.HOSTS, *test_framing.FORMS)),
    *(case.request for case in (*test_framing.CHUNKS, *test_framing.FINE)),
]
EVIL = "Access-Control-Allow-Origin: https://evil.test"
UPSTREAM_SEEDS = [
    *corpus("upstream"),
    *(case.response for case in test_faults.UNUSABLE),
    *(case.data for case in test_faults.CUT),
    ok(b"hello", EVIL, "Vary: Accept"),
    test_faults.response("Transfer-Encoding: chunked", EVIL, body=b"5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n"),
    test_faults.response("Connection: close", body=b"until the end"),
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"hello", EVIL),
]


class World:
    """A proxy in front of an upstream that looks closely, and what was seen to be wrong."""

    def __init__(self, front: Proxy, legacy: Upstream, wrong: list[str]) -> None:
        self.front = front
        self.legacy = legacy
        self.wrong = wrong
        self.nonce = itertools.count()

    async def check(self) -> list[str]:
        """What is wrong by now: what was noted, a good request that fails, anything left over."""
        await self.good()
        try:
            async with asyncio.timeout(PATIENCE):
                while self.leftovers():
                    await asyncio.sleep(0.005)  # a connection's end is noticed in a later turn of the loop
        except TimeoutError:
            self.wrong.append(self.leftovers())
        wrong, self.wrong[:] = self.wrong[:], []
        return wrong

    async def good(self) -> None:
        """A request in order, on a connection of its own, gets its own response."""
        body = b"good %d" % next(self.nonce)
        try:
            answer = await ask(self.front.address, get("/" + body.hex(), "X-Good: 1"))
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            self.wrong.append(f"a good request ended in {error!r}")
        else:
            if (answer.status, answer.body) != (200, body):
                self.wrong.append(f"a good request got {answer}")

    def leftovers(self) -> str:
        """What is still there although nobody is: "" = nothing."""
        server = self.front.server
        (cluster,) = server._clusters.values()
        (pool,) = cluster.pools
        # More open than idle would be a leak; more idle than open a connection counted off twice.
        counts = {
            "client connections": server.connections,
            "requests in flight": pool.standing.in_flight,
            "pooled connections in nobody's hands": pool.open_count - len(pool.idle),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


Behaviour = Callable[["World", Upstream, Wire], Awaitable[None]]


@contextlib.asynccontextmanager
async def world(behaviour: Behaviour) -> AsyncIterator[World]:
    """A fresh world; exceptions that nobody caught, and errors in the log, count as wrong."""
    wrong: list[str] = []
    watch = _Errors(wrong)
    logging.getLogger().addHandler(watch)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: wrong.append(f"unhandled: {context}"))
    try:
        async with (
            upstream(lambda server, wire: behaviour(around, server, wire)) as legacy,
            proxy(route(legacy.port, timeouts=QUICK), timeouts=QUICK) as front,
        ):
            around = World(front, legacy, wrong)
            yield around
    finally:
        loop.set_exception_handler(None)
        logging.getLogger().removeHandler(watch)


class _Errors(logging.Handler):
    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        self.wrong.append(f"logged: {self.format(record)}")


async def read_and_answer(around: World, server: Upstream, wire: Wire) -> None:
    """Look at each request as an upstream that trusts the proxy would not, and answer it."""
    while True:
        head = await wire.reader.readuntil(b"\r\n\r\n")
        objection = objection_to_request(head)
        if objection:
            around.wrong.append(f"reached the upstream: {objection}")
            return
        await read_body(wire, head.lower())
        server.requests.append(await parsed(head))
        await wire.send(ok(good_body(head), "X-A: 1"))


async def read_body(wire: Wire, head: bytes) -> None:
    """Take the body as the one framing field says."""
    if b"\r\ncontent-length:" in head:
        await wire.reader.readexactly(int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
    elif b"\r\ntransfer-encoding:" in head:
        while size := int(await wire.reader.readuntil(b"\r\n"), 16):
            await wire.reader.readexactly(size + 2)
        await wire.reader.readuntil(b"\r\n")


def good_body(head: bytes) -> bytes:
    """What a good request asks to be told; else something."""
    path = head.split(b" ")[1].decode("latin-1")
    return bytes.fromhex(path.strip("/")) if b"X-Good: 1" in head else b"hello"
