"""What crosses the proxy as it came, in either direction, and who is asked in what order.

The number that opens a case's words is the requirement's of docs/http.md, with its RFC section.
"""

import asyncio
import hashlib
from dataclasses import dataclass

import pytest

from corsproxy.config.table import Timeouts
from corsproxy.http.methods import FORWARDABLE_METHODS
from tests.proxy.conftest import APP, proxy, route
from tests.proxy.test_tunnel import SWITCH, opened
from tests.wire import PATIENCE, Upstream, Wire, answers, ask, get, ok, upstream

HIGH = "".join(map(chr, range(0x80, 0x100)))
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class Line:
    says: str
    line: str


REQUEST_LINES = [
    Line("32 (RFC 9110 7.6.3): Via is handed on, and none of ours is added", "Via: 1.0 fred, 1.1 p.test"),
    Line("34 (RFC 9110 5.5): every byte above ASCII", f"X-A: {HIGH}"),
    Line("35 (RFC 9110 5.1): every printable byte in a value", f"X-A: {PRINTABLE}"),
    Line("35 (RFC 9110 5.1): every character that a name may have", "!#$%&'*+-.^_`|~09AZaz: 1"),
    Line("35 (RFC 9110 5.1): a name with an underscore is another name", "x_tenant: 5"),
    Line("35 (RFC 9110 5.5): an empty value", "X-A: "),
    Line("35 (RFC 9110 5.6): quotes and commas in a value", 'X-A: "a, \\"b", , c;d="e f"'),
    Line("35 (RFC 9110 5.5): spaces and tabs inside a value", "X-A: a \t  b"),
    Line("36 (RFC 9110 11.6.2): Authorization", "Authorization: Basic dXNlcjpwYXNz"),
    Line(
        "36 (RFC 9110 11.6.2): Authorization in small letters and a scheme of one's own",
        "authorization: X y=z",
    ),
    Line("38 (RFC 9110 5.4): a field of 7 KiB", "X-A: " + "a" * 7168),
    Line(
        "53 (RFC 9110 8.4): what the client accepts is asked of the upstream",
        "Accept-Encoding: br, zstd;q=0.5",
    ),
    Line("35 (RFC 9110 14.2): Range", "Range: bytes=0-4,-1"),
    Line("35 (RFC 9110 13.1): If-None-Match", 'If-None-Match: W/"a", "b"'),
    Line("35 (RFC 6265 5.4): Cookie", 'Cookie: a=1; b="2"; c=\xe9'),
]


@pytest.mark.parametrize("case", REQUEST_LINES, ids=lambda case: case.says)
async def test_a_line_of_a_request_crosses_as_it_is(case: Line) -> None:
    name, _, value = case.line.partition(":")
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        assert (await ask(front.address, get("/", case.line))).status == 200
        assert [field for field in legacy.requests[0].fields if field[0] == name] == [
            (name, value.strip(" "))
        ]
        assert ("Via" in dict(legacy.requests[0].fields)) is (name == "Via")


@pytest.mark.parametrize(
    "line",
    [
        "content_length: 5",
        "X_Forwarded_For: 6.6.6.6",
        "x_forwarded_proto: https",
        "Transfer_Encoding: chunked",
    ],
)
async def test_11_no_other_spelling_of_what_the_proxy_itself_says_gets_past_it(line: str) -> None:
    """To an upstream of CGI's kin both are one name (RFC 3875 §4.1.18)."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        assert (await ask(front.address, get("/", line))).status == 200
        assert legacy.requests[0].one(line.partition(":")[0]) is None


RESPONSE_LINES = [
    Line("32 (RFC 9110 7.6.3): Via of a response", "Via: 1.1 cache.test"),
    Line("34 (RFC 9110 5.5): every byte above ASCII, back", f"X-A: {HIGH}"),
    Line("35 (RFC 9110 5.1): every printable byte, back", f"X-A: {PRINTABLE}"),
    Line("35 (RFC 9110 5.1): every character of a name, back", "!#$%&'*+-.^_`|~09AZaz: 1"),
    Line("36 (RFC 9110 11.6.1): WWW-Authenticate", 'WWW-Authenticate: Basic realm="a, b", X y=z'),
    Line("35 (RFC 9110 8.8.3): a weak ETag", 'ETag: W/"a"'),
    Line("35 (RFC 9110 6.6.1): Date of the upstream", "Date: Sat, 01 Jan 2000 00:00:00 GMT"),
    Line("35 (RFC 9110 10.2.4): Server", "Server: legacy/1.0 (x)"),
    Line("33 (RFC 9110 5.3): Set-Cookie", "Set-Cookie: a=1; Expires=Sat, 01 Jan 2000 00:00:00 GMT; Path=/"),
    Line("53 (RFC 9110 8.4): a content coding", "Content-Encoding: br"),
    Line("35 (RFC 9110 14.4): Content-Range", "Content-Range: bytes 0-4/10"),
]


@pytest.mark.parametrize("case", RESPONSE_LINES, ids=lambda case: case.says)
async def test_a_line_of_a_response_crosses_as_it_is(case: Line) -> None:
    name, _, value = case.line.partition(":")
    async with upstream(answers(ok(b"hello", case.line))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/"))
        assert [field for field in answer.fields if field[0] == name] == [(name, value.strip())]
        assert ("Via" in dict(answer.fields)) is (name == "Via")


async def test_33_lines_of_one_name_keep_their_order_and_case() -> None:
    """RFC 9110 §5.3: in both directions, with others between them."""
    lines = [f"{'Set-Cookie' if n % 2 else 'set-cookie'}: c{n}=1" for n in range(50)]
    asked = ["X-A: 1", "Accept: a", "x-a: 2", "Accept: b", "X-a: 3"]
    async with upstream(answers(ok(b"", *lines))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", *asked))
        cookies = [f"{name}: {value}" for name, value in answer.fields if name.lower() == "set-cookie"]
        assert cookies == lines
        sent = [f"{name}: {value}" for name, value in legacy.requests[0].fields]
        assert [line for line in sent if line in asked] == asked


TARGETS = [
    *("/", "/?", "/??", "/?a=b&c=d", "/?a=%20+%2B", "/?/../?", "/?q=http://x.test/", "/?[]{}|^`"),
    *("/a/", "/a//", "//a", "///", "/a//b", "/a/b/", "/a;b=c;d", "/a,b", "/a:b@c", "/@a", "/:80", "/*"),
    *("/%41", "/%7e", "/%7E", "/%20", "/%00", "/%ff", "/%C3%A9", "/%", "/%z", "/%2", "/%25", "/%252e"),
    *("/'", '/"', "/<>", "/{}", "/|", "/^", "/`", "/~", "/-._~!$&'()*+,;=:@", "/" + "a" * 8000),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"25 (RFC 9110 7.7): {target[:20]!r}")
async def test_25_a_target_crosses_byte_for_byte(target: str) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get(target))
        assert (answer.status, legacy.requests[0].first_line) == (200, f"GET {target} HTTP/1.1")


@pytest.mark.parametrize("method", sorted(FORWARDABLE_METHODS), ids=lambda method: method.decode())
async def test_59_a_method_crosses_as_it_is(method: bytes) -> None:
    """RFC 9110 §9.1."""
    async with upstream(answers(ok(b""))) as legacy, proxy(route(legacy.port)) as front:
        request = get("/", "Content-Length: 0", method=method.decode())
        assert (await ask(front.address, request)).status == 200
        assert legacy.requests[0].first_line == f"{method.decode()} / HTTP/1.1"


async def test_59_trace_is_refused_and_shows_nothing() -> None:
    """RFC 9110 §9.3.8: the answer would show what others added on the way."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", "Cookie: secret=1", method="TRACE"))
        assert (answer.status, legacy.connections) == (405, 0)
        assert b"secret" not in answer.body


@pytest.mark.parametrize("theirs", ["1.0", "1.1"])
@pytest.mark.parametrize("asked", ["1.0", "1.1"])
async def test_30_each_side_hears_the_proxys_own_version(asked: str, theirs: str) -> None:
    """RFC 9112 §2.3."""
    response = ok(b"hello").replace(b"HTTP/1.1", b"HTTP/" + theirs.encode())
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/").replace(b"HTTP/1.1", b"HTTP/" + asked.encode()))
        assert answer.first_line == "HTTP/1.1 200 OK"
        assert legacy.requests[0].first_line == "GET / HTTP/1.1"


@dataclass(frozen=True)
class Expect:
    says: str
    expectation: str
    interim: bytes  # what the upstream says before the body
    final: bytes
    statuses: tuple[int, ...]  # as the client sees them
    version: str = "1.1"


GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
NO = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
EXPECTATIONS = [
    Expect("39 (RFC 9110 10.1.1): 100, then the response", "100-continue", GO_ON, ok(), (100, 200)),
    Expect("39 (RFC 9110 10.1.1): in another case", "100-Continue", GO_ON, ok(), (100, 200)),
    Expect("39 (RFC 9110 10.1.1): a refusal instead of 100", "100-continue", b"", NO, (417,)),
    Expect("39 (RFC 9110 10.1.1): a success instead of 100", "100-continue", b"", ok(), (200,)),
    Expect("39 (RFC 9110 10.1.1): 100 twice", "100-continue", GO_ON * 2, ok(), (100, 100, 200)),
    Expect("39 (RFC 9110 15.2): 100 that was not asked for ends here", "", GO_ON, ok(), (200,)),
    Expect(
        "39 (RFC 9110 10.1.1): an expectation of HTTP/1.0 is none", "100-continue", b"", ok(), (200,), "1.0"
    ),
    Expect("39 (RFC 9110 10.1.1): an unknown expectation ends here", "200-ok", b"", ok(), (200,)),
]


@pytest.mark.parametrize("case", EXPECTATIONS, ids=lambda case: case.says)
async def test_an_expectation_is_answered_and_never_hangs(case: Expect) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        head = await wire.head()
        server.requests.append(head)
        await wire.send(case.interim + case.final)
        await wire.rest()

    expectation = [f"Expect: {case.expectation}"] if case.expectation else []
    request = get("/", *expectation, "Content-Length: 4", method="POST")
    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(request.replace(b"HTTP/1.1", b"HTTP/" + case.version.encode()))
        statuses = tuple([(await wire.message()).status for _ in case.statuses])
        assert statuses == case.statuses
        crosses = case.expectation.lower() == "100-continue" and case.version == "1.1"
        assert (legacy.requests[0].one("Expect") is not None) is crosses


async def test_39_a_client_that_was_told_to_go_on_and_does_not_is_to_blame() -> None:
    async def behave(_: Upstream, wire: Wire) -> None:
        await wire.head()
        await wire.send(GO_ON)
        await wire.rest()

    timeouts = Timeouts(response=PATIENCE * 9, idle=0.05)
    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=timeouts)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert [(await wire.message()).status for _ in range(2)] == [100, 408]


async def test_an_interim_response_has_no_length() -> None:
    """RFC 9110 §8.6: whoever believed one would take what follows for a body."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n"
    async with upstream(answers(hints + ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        early, answer = await wire.message(), await wire.message()
        assert (early.status, early.one("Link"), early.one("Content-Length")) == (103, "</a>", None)
        assert (answer.status, answer.body) == (200, b"hello")


CODED = {
    "gzip": b"\x1f\x8b\x08\x00",
    "br": b"\x0b\x02\x80hello\x03",
    "zstd": b"\x28\xb5\x2f\xfd\x04",
    "deflate": b"not deflated",
    "gzip, br": b"twice",
    "unknown": b"\x00\x01\x02",
}


@pytest.mark.parametrize("coding", CODED, ids=lambda coding: f"53 (RFC 9110 7.7): {coding}")
async def test_53_a_coded_body_is_not_looked_into(coding: str) -> None:
    """Broken or not, up or down."""
    data = CODED[coding]
    line = f"Content-Encoding: {coding}"
    async with upstream(answers(ok(data, line))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", line, f"Content-Length: {len(data)}", method="PUT") + data)
        for message in (answer, legacy.requests[0]):
            assert (message.one("Content-Encoding"), message.body) == (coding, data)


SIZES = [0, 1, 2, 16383, 16384, 65535, 65536, 65537, 262144, 262145, 1 << 20, (8 << 20) + 3]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"54: {size} bytes")
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_54_a_body_of_any_size_arrives_whole_both_ways(size: int, coding: str) -> None:
    data = hashlib.shake_128(b"%d" % size).digest(size)

    async def behave(server: Upstream, wire: Wire) -> None:
        echoed = await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n" + framed(echoed.body, coding))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        sending = asyncio.ensure_future(
            wire.send(b"PUT / HTTP/1.1\r\nHost: p.test\r\n" + framed(data, coding))
        )
        answer = await wire.message()
        await sending
        assert legacy.requests[0].body == data
        assert answer.body == data


def framed(data: bytes, coding: str) -> bytes:
    """The rest of a head, and the body in that framing, in chunks of an odd size."""
    if coding == "length":
        return b"Content-Length: %d\r\n\r\n%b" % (len(data), data)
    pieces = (data[at : at + 40009] for at in range(0, len(data), 40009))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def test_58_those_who_wait_hold_up_nobody() -> None:
    """Idle connections, slow heads, open tunnels and requests without answer, all at once."""

    async def behave(server: Upstream, wire: Wire) -> None:
        head = await server.request(wire)
        if head.first_line.startswith("GET /ws "):
            await wire.send(SWITCH)
            await wire.send(await wire.reader.readexactly(10))
        elif head.first_line.startswith("GET /stuck "):
            await wire.rest()
        else:
            await wire.send(ok())

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        for _ in range(200):
            await front.dial()
        for _ in range(100):
            await (await front.dial()).send(b"GET / HTTP/1.1\r\nHost: a")
        for _ in range(150):
            await (await front.dial()).send(get("/stuck"))
        tunnels = [await opened(front, f"Origin: {APP}") for _ in range(50)]
        for _ in range(10):
            assert (await ask(front.address, get("/"))).status == 200
        await tunnels[-1].send(b"still here")
        assert await tunnels[-1].reader.readexactly(10) == b"still here"
