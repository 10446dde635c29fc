"""The line of an exchange: what it says in each format, which exchanges get one, what it never says."""

import io
import json
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.table import Log
from corsproxy.http.faults import CLIENT_GONE, UPSTREAM_REFUSED
from corsproxy.http.forwarded import PRIVATE
from corsproxy.http.trace_context import Trace
from corsproxy.ops import lines
from corsproxy.ops.log import ExchangeLog, combined_line, is_remarkable, json_line, pretty_line
from corsproxy.proxy.exchange import Exchange
from tests.ops.exchanges import APP, EVIL, exchange, route
from tests.proxy.conftest import proxy
from tests.proxy.conftest import route as served_route
from tests.wire import answers, ask, get, ok, sent_lines, upstream

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


def as_json(made: Exchange) -> dict[str, object]:
    line = json_line(made, made.started + 0.0015, 0.0)
    assert "\n" not in line
    read: dict[str, object] = json.loads(line)
    return read


# What a line says


def test_everything_there_is_to_say_in_json() -> None:
    made = exchange(
        host=b"api.example.com",
        scheme=b"https",
        user_agent=b"Mozilla/5.0",
        request_id=b"r-1",
        traceparent=PARENT,
        client="203.0.113.7",
        endpoint="http://u.test",
        address="192.0.2.9:80",
        responded=100.001,
        retries=1,
        sent_bytes=15,
        received_bytes=7,
        fault=CLIENT_GONE.because("why"),
    )
    assert as_json(made) == {
        "ts": "1970-01-01T00:00:00.000Z",
        "method": "GET",
        "path": "/",
        "status": 200,
        "ms": 1.5,
        "bytes": 15,
        "bytes_in": 7,
        "peer": "192.0.2.1",
        "scheme": "https",
        "host": "api.example.com",
        "protocol": "HTTP/1.1",
        "route": "api",
        "origin": "https://app.example.com",
        "client": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "request_id": "r-1",
        "trace_id": TRACE,
        "span_id": SPAN,
        "policy": "route api",
        "kind": "actual",
        "cors": "allowed",
        "reason": "allowed",
        "upstream": "http://u.test",
        "upstream_address": "192.0.2.9:80",
        "upstream_ms": 1.0,
        "retries": 1,
        "fault": "client-gone",
        "side": "client",
        "fault_detail": "why",
    }


def test_what_is_not_known_is_left_out_in_json() -> None:
    optional = {"client", "user_agent", "request_id", "trace_id", "span_id", "upstream", "retries", "fault"}
    assert not optional & as_json(exchange()).keys()


def test_a_pretty_line() -> None:
    made = exchange(EVIL, traceparent=PARENT, retries=2, fault=UPSTREAM_REFUSED.because("http://u.test"))
    line = pretty_line(made, 100.0015, 0.0)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  GET      /  ! 200  1\.5ms  https://evil\.example  "
        r"origin-not-allowed: https://evil\.example  sent 3 times  connection-refused: http://u\.test  "
        rf"trace {TRACE} span {SPAN}",
        line,
    )


COMBINED = [
    (
        exchange(user_agent=b"curl/8", referrer=b"https://app.example.com/", sent_bytes=15),
        (
            '192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 15 '
            '"https://app.example.com/" "curl/8"'
        ),
    ),
    (
        exchange(is_http10=True),
        '192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.0" 200 0 "-" "-"',
    ),
    (
        exchange(client="203.0.113.7", user_agent=b'a"b\\\r\n\x1b[31m\xff'),
        '203.0.113.7 - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 0 "-" '
        r'"a\x22b\x5c\x0d\x0a\x1b[31m' + '\xff"',
    ),
]


@pytest.mark.parametrize(
    ("made", "line"),
    COMBINED,
    ids=["a browser", "HTTP/1.0, nothing known", "a client that would forge a line"],
)
def test_a_combined_line(made: Exchange, line: str) -> None:
    assert combined_line(made, 0.0, 0.0) == line


HOSTILE = st.binary(max_size=300) | st.text(alphabet='"\\\n\x00\x7f{}\u2028aé', max_size=40).map(str.encode)


@given(path=HOSTILE, host=HOSTILE, origin=HOSTILE, user_agent=HOSTILE, request_id=HOSTILE, detail=st.text())
def test_json_stays_json_whatever_clients_send(detail: str, **sent: bytes) -> None:
    made = exchange(fault=CLIENT_GONE.because(detail), **sent)
    members = json.loads(json_line(made, made.started + 0.0015, 0.0), object_pairs_hook=list)
    told = dict(members)
    assert len(told) == len(members)
    assert (told["status"], told["fault"], told.get("fault_detail", "")) == (200, CLIENT_GONE.code, detail)
    assert all(told.get(name, "").isprintable() for name in sent)


def test_what_clients_send_is_remembered_within_bounds() -> None:
    for number in range(3000):
        as_json(exchange(origin=b"https://%d.test" % number, user_agent=b"u" * (number % 1000)))
    assert len(lines._KNOWN) <= 1024
    assert max(map(len, lines._KNOWN)) <= 256


@pytest.mark.parametrize("line", [json_line, pretty_line, combined_line], ids=lambda line: line.__name__)
def test_what_clients_send_cannot_break_a_line(line: object) -> None:
    assert callable(line)
    nasty = b"/\r\n\x1b]0;x\x07\x85\xe2\x80\xa8"
    sent = {
        "path": nasty,
        "user_agent": nasty,
        "host": nasty,
        "method": nasty,
        "client": nasty.decode("latin-1"),
    }
    text = line(exchange(nasty, **sent), 100.0, 0.0)
    assert len(text.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)


def test_long_words_of_clients_are_cut() -> None:
    assert len(str(as_json(exchange(path=b"/" * 30_000))["path"])) == 2048


# Traces


@dataclass(frozen=True)
class Traced:
    says: str
    sent: bytes
    ids: tuple[str, str] | None


TRACED = [
    Traced("none", b"", None),
    Traced("valid", PARENT, (TRACE, SPAN)),
    Traced("not sampled", PARENT[:-1] + b"0", (TRACE, SPAN)),
    Traced("invalid", b"00-x-y-01", None),
    Traced("zeros", b"00-%b-%b-01" % (b"0" * 32, SPAN.encode()), None),
]


@pytest.mark.parametrize("case", TRACED, ids=lambda case: case.says)
def test_the_trace_of_the_client(case: Traced) -> None:
    entry = as_json(exchange(traceparent=case.sent))
    assert (entry.get("trace_id"), entry.get("span_id")) == (case.ids or (None, None))
    assert ("trace " in pretty_line(exchange(traceparent=case.sent), 100.0, 0.0)) == bool(case.ids)


def test_where_it_is_traced_here_the_span_is_ours() -> None:
    entry = as_json(exchange(traceparent=PARENT, trace=Trace(1, 2, 3, 1)))
    assert (entry["trace_id"], entry["span_id"]) == (f"{1:032x}", f"{2:016x}")


# Which exchanges get a line

REPORTING = route(mode="report_only")
REMARKABLE = {
    "a fault": exchange(fault=CLIENT_GONE),
    "a refusal": exchange(EVIL),
    "what would be a refusal": exchange(EVIL, REPORTING),
    "a status of 500": exchange(status=500),
    "no route": exchange(at=None, fault=CLIENT_GONE),
}
UNREMARKABLE = {
    "allowed": exchange(),
    "not CORS": exchange(None),
    "an upstream's 404": exchange(status=404),
    "allowed, and only reported": exchange(APP, REPORTING),
}


@pytest.mark.parametrize("made", REMARKABLE.values(), ids=REMARKABLE)
def test_remarkable(made: Exchange) -> None:
    assert is_remarkable(made)


@pytest.mark.parametrize("made", UNREMARKABLE.values(), ids=UNREMARKABLE)
def test_unremarkable(made: Exchange) -> None:
    assert not is_remarkable(made)


async def logged(sample: float, made: list[Exchange]) -> list[str]:
    out = io.StringIO()
    log = ExchangeLog(Log(format="json", sample=sample), out, {})
    for each in made:
        log.record(each, 101.0)
    log.flush()
    return [json.loads(line)["path"] for line in out.getvalue().splitlines()]


SAMPLES = [
    (1.0, list(range(10))),
    (0.5, [0, 2, 4, 6, 8]),
    (0.3, [0, 3, 6]),
    (0.1, [0]),
    (0.0, []),
]


@pytest.mark.parametrize(("sample", "kept"), SAMPLES, ids=str)
async def test_of_ten_unremarkable_exchanges_these_have_a_line(sample: float, kept: list[int]) -> None:
    paths = await logged(sample, [exchange(path=b"/%d" % number) for number in range(10)])
    assert paths == [f"/{number}" for number in kept]


async def test_a_sample_is_as_large_as_was_asked_for() -> None:
    assert len(await logged(0.01, [exchange()] * 10_000)) == 100


async def test_remarkable_ones_have_a_line_whatever_the_sample_is() -> None:
    made = [exchange(EVIL, path=b"/refused"), exchange(path=b"/fine"), exchange(status=502, path=b"/broken")]
    assert await logged(0.0, made) == ["/refused", "/broken"]


# From the wire to the record


async def test_the_record_has_what_the_log_says_of_a_client() -> None:
    async with upstream(answers(ok())) as server, proxy(served_route(server.port)) as front:
        lines = (
            "User-Agent: curl/8",
            "Referer: https://app.test/a?token=x",
            f"traceparent: {PARENT.decode()}",
        )
        await ask(front.address, get("/", *lines, host="api.test"))
        made = front.last
    assert (made.host, made.scheme, made.is_http10) == (b"api.test", b"http", False)
    assert (made.user_agent, made.referrer) == (b"curl/8", b"https://app.test/a")
    assert (made.traceparent, made.trace, made.client) == (PARENT, None, "")
    assert [line for line in sent_lines(server.requests[0]) if line in lines] == list(lines)


async def test_behind_a_trusted_proxy_the_client_is_who_that_says() -> None:
    async with (
        upstream(answers(ok())) as server,
        proxy(served_route(server.port), trusted_proxies=PRIVATE) as front,
    ):
        await ask(front.address, get("/", "X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.0.0.2"))
    assert (front.last.peer, front.last.client) == ("127.0.0.1", "203.0.113.7")
