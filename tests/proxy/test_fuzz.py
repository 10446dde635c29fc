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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from corsproxy.config.table import Timeouts
from corsproxy.upstream.pool import Pool
from tests.proxy import test_faults, test_framing
from tests.proxy.conftest import APP, Proxy, proxy, route
from tests.proxy.fuzzing import mutate, objection_to_first_head, objection_to_request, objection_to_responses
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


class Input(NamedTuple):
    """What one side sends, and how its connection ends."""

    data: bytes
    end: str  # "stay" = it waits; "close"; "reset"
    cut: int  # where the bytes are sent apart; 0 = in one piece


ENDS = ("stay", "close", "reset")


def replayed(seeds: Iterable[bytes]) -> list[Input]:
    """Each seed as it is, with every end."""
    return [Input(data, end, 0) for data in seeds for end in ENDS]


def invented(rng: random.Random, seeds: Sequence[bytes]) -> Iterator[list[Input]]:
    """Batches without end."""
    while True:
        drawn = [mutate(rng, seeds) for _ in range(BATCH)]
        yield [Input(data, rng.choice(ENDS), rng.choice((0, rng.randrange(len(data))))) for data in drawn]


class World:
    """A proxy in front of an upstream, and what was seen to be wrong."""

    def __init__(self, behaviour: "Behaviour") -> None:
        self.behaviour = behaviour
        self.front: Proxy
        self.wrong: list[str] = []
        self.responses: dict[bytes, Input] = {}  # what the upstream says to whom
        self.numbers = itertools.count()

    @property
    def pool(self) -> Pool:
        """Of the one endpoint."""
        (cluster,) = self.front.server._clusters.serving.values()
        return cluster.pools[0]

    async def serve(self, server: Upstream, wire: Wire) -> None:
        """One connection to the upstream."""
        while True:
            head = await wire.reader.readuntil(b"\r\n\r\n")
            objection = objection_to_request(head)
            if objection:
                self.wrong.append(f"reached the upstream: {objection}")
                return
            await read_body(wire, head.lower())
            target = head.split(b" ")[1]
            if b"\r\nX-Good: 1\r\n" in head:
                await wire.send(ok(target))
            elif not await self.behaviour(self, wire, target):
                return

    async def check(self) -> list[str]:
        """What is wrong by now: what was noted, a good request that fails, anything left over."""
        await asyncio.gather(
            *(self.good() for _ in range(len(self.pool.idle) + 1))
        )  # each kept connection once
        try:
            async with asyncio.timeout(PATIENCE):
                # The end of a connection is noticed in a later turn of the loop, which sets no event.
                while self.leftovers():  # noqa: ASYNC110 - nothing tells when a count is back at zero
                    await asyncio.sleep(0.005)
        except TimeoutError:
            self.wrong.append(self.leftovers())
        wrong, self.wrong[:] = self.wrong[:], []
        return wrong

    async def good(self) -> None:
        """A request in order, on a connection of its own, gets its own response."""
        target = f"/good/{next(self.numbers)}"
        try:
            answer = await ask(self.front.address, get(target, "X-Good: 1"))
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            self.wrong.append(f"a good request ended in {error!r}")
        else:
            if (answer.status, answer.body) != (200, target.encode()):
                self.wrong.append(f"a good request got {answer}")

    def leftovers(self) -> str:
        """What is still there although nobody is: "" = nothing."""
        pool = self.pool
        counts = {
            "client connections": self.front.server.connections,
            "requests in flight": pool.standing.in_flight,
            "upstream connections in nobody's hands": pool.open_count - len(pool.idle),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


Behaviour = Callable[[World, Wire, bytes], Awaitable[bool]]
"""How the upstream answers for a target; False = the connection ends with it."""
Sender = Callable[[World, Input], Awaitable[None]]


@contextlib.asynccontextmanager
async def world(behaviour: Behaviour) -> AsyncIterator[World]:
    """A fresh one. Exceptions that nobody caught count as wrong, and so do errors in the log."""
    around = World(behaviour)
    # An upstream that always answers may take long to do so, on a machine that has other things to do.
    limits = replace(QUICK, response=PATIENCE) if behaviour is greet else QUICK
    watch = _Errors(around.wrong)
    logging.getLogger().addHandler(watch)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: around.wrong.append(f"unhandled: {context}"))
    try:
        async with (
            upstream(around.serve) as legacy,
            proxy(route(legacy.port, timeouts=limits), timeouts=limits) as front,
        ):
            around.front = front
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


async def read_body(wire: Wire, head: bytes) -> None:
    """Take the body as the one framing field of a head in lower case says."""
    if b"\r\ncontent-length:" in head:
        await wire.reader.readexactly(int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
    elif b"\r\ntransfer-encoding:" in head:
        while size := int(await wire.reader.readuntil(b"\r\n"), 16):
            await wire.reader.readexactly(size + 2)
        await wire.reader.readuntil(b"\r\n")


async def spill(wire: Wire, given: Input) -> bool:
    """Send it; False when that was the end of the connection."""
    for piece in filter(None, (given.data[: given.cut], given.data[given.cut :])):
        await wire.send(piece)
        await asyncio.sleep(0)  # not to wait: to let the piece out on its own
    if given.end == "reset":
        wire.abort()
    elif given.end == "close":
        wire.writer.write_eof()
    return given.end == "stay"


# The two sides


async def greet(around: World, wire: Wire, target: bytes) -> bool:
    """What the upstream does while clients are odd."""
    await wire.send(ok(target))
    return True


async def odd_client(around: World, given: Input) -> None:
    """Send a message of the table's kind, and look at what comes back."""
    wire = await around.front.dial()
    received = b""
    with contextlib.suppress(ConnectionError):
        if await spill(wire, given) or given.end == "close":
            received = await wire.rest()
    await wire.close()
    objection = objection_to_first_head(received)
    if objection:
        around.wrong.append(f"reached the client: {objection}")


async def odd_answer(around: World, wire: Wire, target: bytes) -> bool:
    """What an odd upstream does."""
    return await spill(wire, around.responses.pop(target))


async def plain_client(around: World, given: Input) -> None:
    """Ask for one response, and look at all that comes before the end of the connection."""
    number = next(around.numbers)
    method = ("GET", "GET", "HEAD")[number % 3]
    target = f"/{number}"
    around.responses[target.encode()] = given
    wire = await around.front.dial()
    received = b""
    with contextlib.suppress(ConnectionError):
        await wire.send(get(target, f"Origin: {APP}", "Connection: close", "TE: trailers", method=method))
        received = await wire.rest()
    await wire.close()
    objection = objection_to_responses(received, head_only=method == "HEAD")
    if objection:
        around.wrong.append(f"reached the client: {objection}")


async def run(around: World, sender: Sender, batch: Sequence[Input]) -> list[str]:
    """Send a batch, all at once and good requests among them; what went wrong."""
    done = await asyncio.gather(
        *(sender(around, given) for given in batch), around.good(), around.good(), return_exceptions=True
    )
    around.wrong += [f"hangs: {outcome!r}" for outcome in done if isinstance(outcome, BaseException)]
    return await around.check()


async def culprits(behaviour: Behaviour, sender: Sender, batch: Sequence[Input]) -> str:
    """Those of a batch that do harm alone, each to a fresh proxy; the whole batch when none does."""
    found = []
    for given in batch:
        async with world(behaviour) as around:
            wrong = await run(around, sender, [given])
        if wrong:
            found.append(f"{given}\n  {wrong}")
    return "\n".join(found or ["none of them alone:", *map(str, batch)])


async def fuzz(behaviour: Behaviour, sender: Sender, kept: list[bytes], seeds: list[bytes]) -> None:
    """Replay what was kept, then the tables, then invent until the time is over."""
    until = time.monotonic() + float(ENV or 5) / PARTS
    start = replayed([*kept, *seeds]) if ENV else replayed(kept)
    batches = itertools.chain(
        (start[at : at + BATCH] for at in range(0, len(start), BATCH)), invented(random.Random(SEED), seeds)
    )
    async with world(behaviour) as around:
        for batch in batches:
            wrong = await run(around, sender, batch)
            assert not wrong, f"seed {SEED}: {wrong}\n{await culprits(behaviour, sender, batch)}"
            if time.monotonic() > until and batch[0].data not in kept:
                break


async def test_odd_clients() -> None:
    await fuzz(greet, odd_client, corpus("client"), CLIENT_SEEDS)


async def test_odd_upstreams() -> None:
    await fuzz(odd_answer, plain_client, corpus("upstream"), UPSTREAM_SEEDS)


def test_the_corpus_is_there() -> None:
    assert corpus("client")
    assert corpus("upstream")
