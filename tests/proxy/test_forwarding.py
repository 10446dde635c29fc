"""What crosses the proxy unchanged, and what must not cross it."""

import asyncio
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from tests.proxy.conftest import APP, Match, proxy, route
from tests.wire import answers, ask, get, names_of, ok, sent_lines, upstream

ORIGIN = f"Origin: {APP}"


async def test_a_request_arrives_with_its_lines_in_order_and_case() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        lines = ["X-b: 1", "x-A: 2", "Cookie: a=1", "Cookie: b=2", "X-Latin: caf\xe9", "Accept:*/*", ORIGIN]
        await ask(front.address, get("/a%2Fb/%7e?x=1&&y=%20", *lines))
        seen = legacy.requests[0]
        assert seen.first_line == "GET /a%2Fb/%7e?x=1&&y=%20 HTTP/1.1"
        ours = ("Host", "X-Forwarded", "X-Request-Id")
        crossing = [line for line in sent_lines(seen) if not line.startswith(ours)]
        assert crossing == [line.replace(":*", ": *") for line in lines]


TARGETS = [
    "/",
    "/?",
    "/a?",
    "/a?b#c".replace("#c", ""),
    "//a//b",
    "/a/%zz",
    "/caf%C3%A9",
    "/a;b=c",
    "/a%00b",
    "/~%7E",
    "/'\"<>|",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_target_is_forwarded_byte_for_byte(target: str) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        response = await ask(front.address, get(target))
        assert (response.status, legacy.requests[0].first_line) == (200, f"GET {target} HTTP/1.1")


async def test_the_upstream_is_told_who_asked_and_a_client_cannot_forge_it() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        forged = [
            "X-Forwarded-For: 6.6.6.6",
            "x-forwarded-proto: https",
            "Forwarded: for=6.6.6.6",
            "X-Real-IP: 6.6.6.6",
        ]
        await ask(front.address, get("/", *forged, host="public.test"))
        seen = legacy.requests[0]
        assert names_of(seen, "x-forwarded-.*|forwarded|x-real-ip") == [
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
        ]
        assert seen.one("X-Forwarded-For") == "127.0.0.1"
        assert seen.one("X-Forwarded-Host") == "public.test"
        assert seen.one("Host") == f"127.0.0.1:{legacy.port}"


async def test_fields_of_the_hop_end_here_in_both_directions() -> None:
    response = ok(b"x", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-Kept: 1")
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        lines = [
            "Connection: X-Secret, Origin, keep-alive",
            "X-Secret: 1",
            "Keep-Alive: 1",
            "TE: gzip",
            ORIGIN,
        ]
        answer = await ask(front.address, get("/", *lines, "Proxy-Authorization: Basic eA==", "Upgrade: h2c"))
        assert names_of(legacy.requests[0], "x-secret|keep-alive|te|connection|proxy-.*|upgrade") == []
        assert legacy.requests[0].one("Origin") == APP  # CVE-2024-45410: Connection cannot take it away
        assert names_of(answer, "x-hop|keep-alive|connection|x-kept") == ["X-Kept"]


async def test_nothing_is_invented_for_either_side() -> None:
    async with upstream(answers(ok(b""))) as legacy, proxy(route(legacy.port, policy=None)) as front:
        answer = await ask(front.address, get("/"))
        assert [name for name, _ in legacy.requests[0].fields] == [
            "Host",
            "X-Request-Id",
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
        ]
        assert [name for name, _ in answer.fields] == ["Content-Length", "Date"]


DATE = "Sat, 01 Jan 2000 00:00:00 GMT"


async def test_a_response_without_date_gets_one_and_another_keeps_its_own() -> None:
    """RFC 9110 §6.6.1: a recipient with a clock adds the time of receipt before it forwards."""
    for lines, expected in (([], False), ([f"dATE: {DATE}"], True)):
        async with upstream(answers(ok(b"", *lines))) as legacy, proxy(route(legacy.port)) as front:
            date = (await ask(front.address, get("/"))).one("Date")
            assert (date == DATE) is expected
            assert date is not None
            assert abs(time.time() - parsedate_to_datetime(date).timestamp()) < 5 or expected


async def test_options_with_max_forwards_0_is_answered_here() -> None:
    """RFC 9110 §7.6.2: by the last recipient, as itself; with the CORS fields of the route."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for target in ("/a", "*"):
            answer = await ask(front.address, get(target, ORIGIN, "Max-Forwards: 0", method="OPTIONS"))
            assert (answer.status, answer.one("Content-Length")) == (200, "0")
            assert "OPTIONS" in (answer.one("Allow") or "")
            assert answer.one("Access-Control-Allow-Origin") == APP
        assert legacy.connections == 0
        assert [exchange.status for exchange in front.recorder.exchanges] == [200, 200]


async def test_options_with_max_forwards_above_0_loses_a_hop() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        assert (await ask(front.address, get("/", "Max-Forwards: 7", method="OPTIONS"))).status == 200
        assert legacy.requests[0].all("Max-Forwards") == ["6"]


async def test_repeated_response_fields_stay_apart_and_in_order() -> None:
    cookies = [f"Set-Cookie: c{n}=\xe9; Path=/" for n in range(5)]
    async with upstream(answers(ok(b"", *cookies))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/"))
        assert [f"Set-Cookie: {value}" for value in answer.all("set-cookie")] == cookies


@dataclass(frozen=True)
class Body:
    says: str
    response: bytes
    framing: str
    body: bytes


BODIES = [
    Body("a length stays a length", ok(b"x" * 3000), "Content-Length: 3000", b"x" * 3000),
    Body("an empty body", ok(b""), "Content-Length: 0", b""),
    Body(
        "chunks are chunked again",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked",
        b"abcde",
    ),
    Body(
        "content codings are not touched",
        ok(b"\x1f\x8bnot gzip", "Content-Encoding: gzip"),
        "Content-Length: 10",
        b"\x1f\x8bnot gzip",
    ),
]


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.says)
async def test_response_bodies(case: Body) -> None:
    async with upstream(answers(case.response)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):  # the connection is in a sane state afterwards
            await wire.send(get("/", ORIGIN))
            answer = await wire.message()
            assert case.framing in sent_lines(answer)
            assert answer.body == case.body
        assert legacy.connections == 1


async def test_a_body_that_ends_with_the_connection_is_chunked_for_the_client() -> None:
    async def behave(server, wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/"))
            answer = await wire.message()
            assert (answer.one("Transfer-Encoding"), answer.body) == ("chunked", b"to the end")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_status_without_body_ends_with_its_head(status: str) -> None:
    response = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/", ORIGIN))
            answer = await wire.message()
            assert (answer.first_line, answer.one("Access-Control-Allow-Origin")) == (
                f"HTTP/1.1 {status}",
                APP,
            )
        assert legacy.connections == 1


async def test_head_keeps_the_length_and_the_connections() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(3):
            await wire.send(get("/", method="HEAD"))
            answer = await wire.message(head_only=True)
            assert answer.one("Content-Length") == "1000"
        assert legacy.connections == 1


async def test_an_upload_with_a_length_arrives_whole() -> None:
    body = bytes(range(256)) * 4096
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/", f"Content-Length: {len(body)}", method="POST") + body)
            assert (await wire.message()).status == 200
        assert [request.body for request in legacy.requests] == [body, body]
        assert legacy.requests[0].one("Content-Length") == str(len(body))


async def test_a_chunked_upload_arrives_whole_and_its_trailers_do_not_become_fields() -> None:
    head = get("/", "Transfer-Encoding: chunked", method="POST")
    chunks = b"5\r\n\r\n\r\nx\r\n" + b"3\r\nabc\r\n" + b"0\r\nX-Evil: 1\r\nAuthorization: x\r\n\r\n"
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(head + chunks + head)
        assert (await wire.message()).status == 200
        await wire.send(chunks)
        assert (await wire.message()).status == 200
        assert [request.body for request in legacy.requests] == [b"\r\n\r\nxabc"] * 2
        assert names_of(legacy.requests[0], "x-evil|content-length|authorization") == []


async def test_an_upload_streams_piece_by_piece() -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def behave(server, wire) -> None:
        await wire.head()
        for _ in range(3):
            await seen.put(await wire.reader.readexactly(4))
        await wire.send(ok(b"done"))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Content-Length: 12", method="PUT"))
        for piece in (b"one.", b"two.", b"six."):
            await wire.send(piece)
            assert await seen.get() == piece  # before the next one is even sent
        assert (await wire.message()).body == b"done"


async def test_a_download_streams_piece_by_piece() -> None:
    release = asyncio.Event()

    async def behave(server, wire) -> None:
        await server.request(wire)
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await wire.send(b"7\r\nfirst\n\n\r\n")
        await release.wait()
        await wire.send(b"8\r\nsecond\n\n\r\n0\r\n\r\n")
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        await wire.head()
        assert await wire.reader.readexactly(12) == b"7\r\nfirst\n\n\r\n"
        release.set()
        assert await wire.reader.readexactly(18) == b"8\r\nsecond\n\n\r\n0\r\n\r\n"


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def behave(server, wire) -> None:
        nonlocal sent
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            wire.writer.write(b"x" * 65536)
            sent += 65536
            try:
                async with asyncio.timeout(0.3):
                    await wire.writer.drain()
            except TimeoutError:
                stuck.set()
                return

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        async with asyncio.timeout(5):
            await stuck.wait()
        assert sent < 64 * 1024 * 1024  # the kernel's buffers, not ours
        wire.abort()


async def test_pipelined_requests_are_answered_in_order_over_one_connection() -> None:
    async def behave(server, wire) -> None:
        while True:
            request = await server.request(wire)
            await wire.send(ok(request.first_line.encode()))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(b"".join(get(f"/{n}") for n in range(50)))
        for n in range(50):
            assert (await wire.message()).body == f"GET /{n} HTTP/1.1".encode()


async def test_a_good_request_before_a_bad_one_is_served() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/good") + b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n" + get("/never"))
        assert (await wire.message()).status == 200
        assert (await wire.message()).status == 400
        assert await wire.ended()
        assert len(legacy.requests) == 1


async def test_http10_gets_a_body_without_chunks_and_a_closed_connection() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await wire.message()
        assert (answer.body, answer.one("Connection")) == (b"abc", "close")
        assert legacy.requests[0].first_line.endswith("HTTP/1.1")


async def test_http10_keeps_alive_when_asked_and_possible() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (await wire.message()).one("Connection") == "keep-alive"
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await wire.message()).one("Connection") == "close"
        assert await wire.ended()


async def test_interim_responses_go_on_to_the_client() -> None:
    async def behave(server, wire) -> None:
        head = await wire.head()
        assert head.one("Expect") == "100-continue"
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await wire.reader.readexactly(4) == b"body"
        await wire.send(ok(b"thanks"))
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        hints, go_on = await wire.head(), await wire.head()
        assert (hints.status, hints.one("Link"), go_on.status) == (103, "</x>", 100)
        await wire.send(b"body")
        assert (await wire.message()).body == b"thanks"


async def test_an_early_answer_reaches_the_client_and_ends_the_connection() -> None:
    async def behave(server, wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Content-Length: 1000000", method="POST") + b"x" * 100)
        answer = await wire.message()
        assert (answer.status, answer.body, answer.one("Connection")) == (401, b"no", "close")
        await wire.send(b"x" * 1000)  # still sending: the answer is not lost to a reset
        assert await wire.ended()


async def test_a_head_that_says_close_is_kept_to_when_the_upload_is_complete_by_the_end() -> None:
    """RFC 9112 §9.6: a client that reads it sends nothing more, and would wait for the end in vain."""

    async def behave(server, wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        await wire.reader.readexactly(4)
        await wire.send(b"two")
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Content-Length: 4", method="POST") + b"bo")
        head = await wire.head()
        await wire.send(b"dy")
        await wire.finish(head)
        assert (head.status, head.body, head.one("Connection")) == (200, b"onetwo", "close")
        assert await wire.ended()


async def test_trailers_go_on_when_wanted_without_cors_fields() -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\n"
        b"X-Sum: 7\r\nAccess-Control-Allow-Origin: *\r\nSet-Cookie: a=1\r\n\r\n"
    )
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        wanted = await ask(front.address, get("/", "TE: trailers", "Connection: TE"))
        assert wanted.trailers == [("X-Sum", "7")]
        assert legacy.requests[0].one("TE") == "trailers"
        assert (await ask(front.address, get("/"))).trailers == []


async def test_the_prefix_is_stripped_and_the_upstreams_own_path_prepended() -> None:
    async with upstream(answers(ok())) as legacy:
        settings = {"match": Match(path=b"/api"), "strip_prefix": b"/api", "base_path": b"/v1"}
        async with proxy(route(legacy.port, **settings)) as front:
            for target in ("/api/x?y=1", "/api", "/%61pi/%7e", "/api?z"):
                await ask(front.address, get(target))
    seen = [request.first_line.split(" ")[1] for request in legacy.requests]
    assert seen == ["/v1/x?y=1", "/v1/", "/v1/%7e", "/v1/?z"]


async def test_a_connection_is_used_again_and_a_stale_one_is_replaced() -> None:
    async def behave(server, wire) -> None:
        await server.request(wire)
        await wire.send(ok())  # keep-alive, and closed all the same

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for method in ("GET", "POST", "GET"):
            await wire.send(get("/", *(["Content-Length: 0"] if method == "POST" else []), method=method))
            assert (await wire.message()).status == 200
            legacy.gone.clear()
        assert legacy.connections == 3


async def test_absolute_form_routes_by_its_own_host() -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port, match=Match(hosts=(b"inner.test",)))) as front,
    ):
        answer = await ask(front.address, b"GET http://inner.test/x?q HTTP/1.1\r\nHost: other.test\r\n\r\n")
        assert (answer.status, legacy.requests[0].first_line) == (200, "GET /x?q HTTP/1.1")
        assert legacy.requests[0].one("X-Forwarded-Host") == "inner.test"
