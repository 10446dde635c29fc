"""Any requests in a row on one connection: each gets its own answer, and the upstream sees only its bytes.

Whatever the proxy answers by itself, forwards, or has of a body in the same read: nothing may be left for
what comes next (RFC 9112 §9.3).
"""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from corsproxy.config.table import Match
from tests.proxy.conftest import APP, Proxy, policy, proxy, route
from tests.wire import Upstream, Wire, ok, upstream

EVIL = "Origin: https://evil.test"
PREFLIGHT = (f"Origin: {APP}", "Access-Control-Request-Method: PUT")
# First line without the version, field lines, and the status; 200 = it is forwarded.
KINDS = [
    ("GET /api/a", (), 200),
    ("POST /api/a", (), 200),
    ("PUT /api/a?b", (f"Origin: {APP}",), 200),
    ("POST /blocked", (EVIL,), 403),
    ("POST /nowhere", (), 404),
    ("POST /api/..%2fblocked", (), 400),
    ("OPTIONS /api/a", PREFLIGHT, 204),
    ("OPTIONS /api/a", (EVIL, PREFLIGHT[1]), 403),
    ("OPTIONS /api/a", ("Max-Forwards: 0",), 200),
]
SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: hidden.test\r\n\r\n"
BODIES = st.one_of(
    st.binary(max_size=64), st.just(SMUGGLED), st.just(b"hello" + SMUGGLED), st.just(b"x" * 3_000)
)


@dataclass(frozen=True)
class Sent:
    """One request."""

    line: str
    fields: tuple[str, ...]
    status: int
    body: bytes | None  # None = no body is announced
    is_chunked: bool
    cut: int  # where its bytes are sent apart; 0 = in one piece

    @property
    def is_forwarded(self) -> bool:
        return self.status == 200 and "Max-Forwards: 0" not in self.fields

    def as_bytes(self) -> bytes:
        body, framing = self.body or b"", []
        if self.body is not None and self.is_chunked:
            framing = ["Transfer-Encoding: chunked"]
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif self.body is not None:
            framing = [f"Content-Length: {len(body)}"]
        head = "\r\n".join([f"{self.line} HTTP/1.1", "Host: proxy.test", *self.fields, *framing, "", ""])
        return head.encode() + body


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    line, fields, status = draw(st.sampled_from(KINDS))
    body = None if line.startswith("GET") else draw(st.none() | BODIES)
    return Sent(line, fields, status, body, draw(st.booleans()), draw(st.just(0) | st.integers(1, 200)))


async def echo(server: Upstream, wire: Wire) -> None:
    while True:
        request = await server.request(wire)
        await wire.send(ok(request.body))


async def send(wire: Wire, sent: Sent) -> None:
    data = sent.as_bytes()
    for piece in (data[: sent.cut], data[sent.cut :]):
        if piece:
            await wire.send(piece)


async def is_answered(wire: Wire, sent: Sent) -> bool:
    """Its answer is its own; True when another may follow on this connection."""
    answer = await wire.message()
    assert answer.status == sent.status, sent
    if sent.is_forwarded:
        assert answer.body == (sent.body or b""), sent
    return answer.one("Connection") != "close"


async def in_turn(front: Proxy, row: list[Sent]) -> list[Sent]:
    """Each is sent when the one before has its answer, on a new connection where that one ended."""
    wire = await front.dial()
    for sent in row:
        await send(wire, sent)
        if not await is_answered(wire, sent):
            wire = await front.dial()
    return row


async def pipelined(front: Proxy, row: list[Sent]) -> list[Sent]:
    """All are sent at once; those behind the end of the connection count for nothing."""
    wire = await front.dial()
    await wire.send(b"".join(sent.as_bytes() for sent in row))
    for at, sent in enumerate(row, 1):
        if not await is_answered(wire, sent):
            return row[:at]
    return row


@settings(max_examples=60, deadline=None)
@given(st.lists(requests(), min_size=2, max_size=8), st.booleans())
async def test_each_gets_its_own_answer_and_nothing_is_left_for_the_next(
    row: list[Sent], at_once: bool
) -> None:
    async with (
        upstream(echo) as legacy,
        proxy(
            route(legacy.port, match=Match(path=b"/api")),
            route(legacy.port, match=Match(path=b"/blocked"), policy=policy(on_denied="block")),
        ) as front,
    ):
        answered = await (pipelined if at_once else in_turn)(front, row)
        wanted = [sent.body or b"" for sent in answered if sent.is_forwarded]
        assert [request.body for request in legacy.requests][: len(wanted)] == wanted
        assert all("/smuggled" not in request.first_line for request in legacy.requests)
