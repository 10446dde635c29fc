"""The clients of the endurance test: each kind does one thing again and again, and checks what comes back.

Here:  one method a kind; what a whole answer, a proper refusal and a cut one look like.
Never: what goes wrong meanwhile (chaos).
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
from collections.abc import Awaitable, Callable

from bench.soak.ledger import Ledger, Outcome
from bench.soak.legacy import EVENT, item
from corsproxy.config.table import Address
from tests.wire import Message, Wire, dial, get

__all__ = ["ORIGIN", "Clients"]

ORIGIN = "https://app.example.com"
APP = f"Origin: {ORIGIN}"
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PREFLIGHT = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: content-type", APP)
EXPLAINED = {502, 503, 504}  # what the proxy may answer in place of an upstream that is in trouble
LOST = (asyncio.IncompleteReadError, OSError)

Check = Callable[[Message], bool]
Kind = Callable[[str, Wire], Awaitable[None]]


class Clients:
    """All clients of one leg."""

    def __init__(self, address: Address, ledger: Ledger, seed: int) -> None:
        self._address = address
        self._ledger = ledger
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask, and go on until `stop`."""
        kinds: list[tuple[str, Kind, int]] = [
            ("get, kept", self._keep_asking, 6),
            ("get, anew", self._ask_once, 2),
            ("get, pipelined", self._pipeline, 2),
            ("upload", self._upload, 4),
            ("preflight", self._preflight, 2),
            ("events", self._listen, 6),
            ("websocket", self._talk, 6),
            ("impatient", self._leave, 3),
            ("into trouble", self._ask_for_trouble, 3),
        ]
        self._is_over = False
        self._tasks = [
            asyncio.create_task(self._again(name, kind)) for name, kind, count in kinds for _ in range(count)
        ]

    async def stop(self) -> None:
        """Let each finish what it does."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _again(self, kind: str, once: Kind) -> None:
        while not self._is_over:
            try:
                wire = await dial(self._address)
            except OSError:
                self._ledger.note(kind, Outcome.UNANSWERED)
                await asyncio.sleep(0.05)
                continue
            try:
                await once(kind, wire)
            except TimeoutError:
                self._ledger.accuse(kind, "nothing came for 5 s")
            except (AssertionError, ValueError) as error:
                self._ledger.accuse(kind, f"not HTTP as it should be: {error!r}")
            finally:
                await wire.close()

    # One request, one answer

    async def _exchange(self, kind: str, wire: Wire, request: bytes, check: Check) -> bool:
        """Ask, and judge what comes; False when the connection is of no use any more."""
        self._ledger.asked += 1
        await _send(wire, request)
        return await self._response(kind, wire, check)

    async def _response(self, kind: str, wire: Wire, check: Check) -> bool:
        answer = await self._head(kind, wire)
        if answer is None:
            return False
        try:
            await wire.finish(answer)
        except LOST:
            self._ledger.note(kind, Outcome.CUT)
            return False
        self._judge(kind, answer, check)
        return answer.one("Connection") != "close"

    async def _head(self, kind: str, wire: Wire) -> Message | None:
        try:
            answer = await wire.head()
        except LOST:
            self._ledger.note(kind, Outcome.UNANSWERED)
            return None
        self._ledger.note_answer(answer.status)
        return answer

    def _judge(self, kind: str, answer: Message, check: Check) -> None:
        """Sort it in. What is served must be right, and what is refused must be readable for a script."""
        if answer.all("Access-Control-Allow-Origin") != [ORIGIN]:
            self._ledger.accuse(kind, f"{answer.status} without the CORS fields of the policy")
        if answer.one("Proxy-Status") is not None:
            if not _is_proper_refusal(answer):
                self._ledger.accuse(kind, f"refused by {answer.status} {answer.fields}")
            self._ledger.note(kind, Outcome.REFUSED)
        elif check(answer):
            self._note_version(kind, answer)
            self._ledger.note(kind, Outcome.SERVED)
        else:
            self._ledger.accuse(kind, f"{answer.status} {answer.body[:60]!r} is not what was asked for")

    def _note_version(self, kind: str, answer: Message) -> None:
        """The route's own field and the policy's tell of the same configuration."""
        version = answer.one("X-Version")
        if version is None:  # an answer of the proxy's own
            return
        if answer.one("Access-Control-Expose-Headers") != f"X-Of-{version}":
            self._ledger.accuse(kind, f"a mixture of two configurations: {answer.fields}")
        self._ledger.versions.add(int(version))

    def _item(self, *, largest: int = 1 << 18) -> tuple[str, Check]:
        number, size = next(self._numbers), self._random.choice((0, 64, 1024, 16384, largest))
        framing = self._random.choice(("whole", "chunked"))
        body = item(number, size)
        return f"/item/{number}/{size}/{framing}", lambda answer: answer.status == 200 and answer.body == body

    # The kinds

    async def _keep_asking(self, kind: str, wire: Wire) -> None:
        for _ in range(self._random.randint(1, 200)):
            path, check = self._item()
            if self._is_over or not await self._exchange(kind, wire, get(path, APP), check):
                return

    async def _ask_once(self, kind: str, wire: Wire) -> None:
        path, check = self._item()
        await self._exchange(kind, wire, get(path, APP, "Connection: close"), check)

    async def _pipeline(self, kind: str, wire: Wire) -> None:
        asked = [self._item(largest=1 << 14) for _ in range(5)]
        self._ledger.asked += len(asked)
        await _send(wire, b"".join(get(path, APP) for path, _ in asked))
        for _, check in asked:
            if not await self._response(kind, wire, check):
                return  # those behind it are not served any more; nobody was told that they were

    async def _upload(self, kind: str, wire: Wire) -> None:
        for _ in range(20):
            body = self._random.randbytes(self._random.choice((1, 1000, 40_000, 200_000)))
            digest = hashlib.sha256(body).hexdigest().encode()
            framing, sent = _framed(body, chunked=self._random.random() < 0.5)
            request = get("/upload", APP, "Content-Type: text/plain", framing, method="PUT") + sent

            def is_acknowledged(answer: Message, digest: bytes = digest) -> bool:
                self._ledger.uploads += answer.status == 200
                return answer.status == 200 and answer.body == digest

            if self._is_over or not await self._exchange(kind, wire, request, is_acknowledged):
                return

    async def _preflight(self, kind: str, wire: Wire) -> None:
        request = get("/upload", *PREFLIGHT, method="OPTIONS")
        for _ in range(50):
            if self._is_over or not await self._exchange(kind, wire, request, _is_granted):
                return
            self._ledger.preflights += 1
            await asyncio.sleep(0.005)

    async def _listen(self, kind: str, wire: Wire) -> None:
        count = self._random.randint(20, 100)
        events = b"".join(EVENT % number for number in range(count))
        await self._exchange(kind, wire, get(f"/events/{count}", APP), lambda answer: answer.body == events)

    async def _talk(self, kind: str, wire: Wire) -> None:
        self._ledger.asked += 1
        await _send(wire, get("/echo", APP, *HANDSHAKE))
        answer = await self._head(kind, wire)
        if answer is None:
            return
        if answer.status != 101:
            await wire.finish(answer)
            self._judge(kind, answer, lambda _: False)
            return
        try:
            for _ in range(self._random.randint(5, 50)):
                payload = self._random.randbytes(self._random.choice((10, 1000, 30_000)))
                frame = _masked(payload)
                await wire.send(frame)
                async with asyncio.timeout(5):
                    if await wire.reader.readexactly(len(frame)) != frame:
                        self._ledger.accuse(kind, "another frame came back than was sent")
                await asyncio.sleep(0.02)
        except LOST:
            self._ledger.note(kind, Outcome.CUT)
        else:
            self._ledger.note(kind, Outcome.SERVED)

    async def _leave(self, kind: str, wire: Wire) -> None:
        """Hang up in the middle of a head, of a body, or of the answer."""
        upload = get("/upload", APP, "Content-Length: 100000", method="PUT") + b"x" * 30_000
        many = get(f"/item/{next(self._numbers)}/{1 << 20}/chunked", APP)
        step = self._random.choice((many[:20], upload, many))
        self._ledger.asked += step is not many[:20]
        await _send(wire, step)
        try:
            async with asyncio.timeout(self._random.choice((0.0, 0.01, 0.1))):
                await wire.reader.readexactly(20_000)
        except (TimeoutError, *LOST):
            pass
        if self._random.random() < 0.5 and not wire.writer.is_closing():
            wire.abort()
        self._ledger.note(kind, Outcome.LEFT)
        await asyncio.sleep(0.05)

    async def _ask_for_trouble(self, kind: str, wire: Wire) -> None:
        path = self._random.choice(("/stall", "/reset", "/nonsense"))
        await self._exchange(kind, wire, get(path, APP), lambda _: False)


async def _send(wire: Wire, data: bytes) -> None:
    """Send; when the other side has closed, what it said before that is still to be read."""
    with contextlib.suppress(OSError):
        await wire.send(data)


def _is_granted(answer: Message) -> bool:
    return answer.status == 204 and answer.one("Access-Control-Allow-Methods") is not None


def _is_proper_refusal(answer: Message) -> bool:
    exposed = (answer.one("Access-Control-Expose-Headers") or "").lower()
    says = json.loads(answer.body)
    return answer.status in EXPLAINED and "proxy-status" in exposed and says["status"] == answer.status


def _framed(body: bytes, *, chunked: bool) -> tuple[str, bytes]:
    if not chunked:
        return f"Content-Length: {len(body)}", body
    pieces = [body[at : at + 9000] for at in range(0, len(body), 9000)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "Transfer-Encoding: chunked", framed + b"0\r\n\r\n"


def _masked(payload: bytes) -> bytes:
    """A frame with a mask of zeros: what comes back is told apart from nothing else."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + b"\0\0\0\0" + payload
