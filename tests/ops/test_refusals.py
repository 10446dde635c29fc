"""Refusals that were not seen before: said once, with the remedy, and never too many of them."""

import asyncio
import contextlib
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.cors.decide import Preflight, decide_actual, decide_preflight
from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.refusals import LINES_A_MINUTE, MORE, MOST_KNOWN, Bulletin, Refusal, Refusals
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.supervisor import Supervisor
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange
from tests.wire import answers, ask, get, ok, upstream

APP, EVIL = b"https://app.example.com", b"https://evil.example"

TEXT = """\
policies:
  web:
    allow_origins: [https://app.example.com]
    allow_headers: [content-type]
    allow_credentials: true
routes:
  - name: api
    match: {path: /api}
    upstream: http://u.test
    cors: web
  - name: trial
    match: {path: /trial}
    upstream: http://u.test
    cors:
      allow_origins: [https://app.example.com]
      mode: report_only
  - {name: open, upstream: "http://u.test", cors: off}
"""


def table() -> Table:
    made, problems = load_table(TEXT, "corsproxy.yaml", {})
    assert made is not None, problems
    return made


TABLE = table()


def refused(origin: bytes = EVIL, preflight: Preflight | None = None, at: int = 0) -> Exchange:
    made = Exchange(0.0, "192.0.2.1")
    made.method, made.path, made.origin = b"GET", b"/", origin
    made.route = TABLE.routes[at]
    policy = made.route.policy
    assert policy is not None
    if preflight is None:
        made.decision = decide_actual(policy, origin)
    else:
        made.method, made.requested_method = b"OPTIONS", preflight.method
        made.decision = decide_preflight(policy, preflight)
    assert not made.decision.allowed
    return made


class Listener:
    """Refusals, and what was said of them."""

    def __init__(self) -> None:
        self.said: list[Refusal] = []
        self.refusals = Refusals("corsproxy.yaml", self.said.append)

    def note(self, made: Exchange, at: float = 100.0) -> None:
        self.refusals.note(made, at)

    @property
    def words(self) -> list[str]:
        return [refusal.says for refusal in self.said]


# What is said


@dataclass(frozen=True)
class Case:
    says: str
    made: Exchange
    line: str


CASES = [
    Case(
        "an origin",
        refused(),
        "route api: a request from https://evil.example is refused: origin-not-allowed "
        "(policy web, corsproxy.yaml:3). If it is yours, let it through: add https://evil.example to "
        "policies.web.allow_origins (corsproxy.yaml:3)",
    ),
    Case(
        "a method",
        refused(APP, Preflight(APP, b"DELETE")),
        "route api: a preflight from https://app.example.com is refused: method-not-allowed DELETE "
        "(policy web, corsproxy.yaml:2). If it is yours, let it through: "
        "set policies.web.allow_methods to [DELETE] (corsproxy.yaml:2)",
    ),
    Case(
        "a header",
        refused(APP, Preflight(APP, b"POST", b"content-type,x-id")),
        "route api: a preflight from https://app.example.com is refused: header-not-allowed x-id "
        "(policy web, corsproxy.yaml:4). If it is yours, let it through: "
        "add x-id to policies.web.allow_headers (corsproxy.yaml:4)",
    ),
    Case(
        "a list of headers that no browser sends",
        refused(APP, Preflight(APP, b"POST", b"x-id;")),
        "route api: a preflight from https://app.example.com is refused: request-header-list-malformed x-id; "
        "(policy web, corsproxy.yaml:2). No browser sends such a list: look at the tool that did",
    ),
    Case(
        "an origin that is made to look like one of ours",
        refused(b"https://app.example.com.evil.test"),
        "route api: a request from https://app.example.com.evil.test is refused: origin-not-allowed "
        "(policy web, corsproxy.yaml:3). No change of the file is recommended: "
        "https://app.example.com.evil.test looks like example.com, but belongs to whoever owns evil.test",
    ),
    Case(
        "what would be refused",
        refused(at=1),
        "route trial: a request from https://evil.example would be refused (report_only): origin-not-allowed "
        "(corsproxy.yaml:15). If it is yours, let it through: "
        "add https://evil.example to routes[1].cors.allow_origins (corsproxy.yaml:15)",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_the_line(case: Case) -> None:
    listener = Listener()
    listener.note(case.made)
    assert listener.words == [case.line]


def test_what_a_client_sends_cannot_break_the_line() -> None:
    listener = Listener()
    listener.note(refused(b"https://\r\n\x1b[31m" + b"x" * 9999))
    (line,) = listener.words
    assert line.isprintable()
    assert len(line) < 1500


def test_with_cors_off_nothing_is_refused_by_a_policy() -> None:
    made = refused()
    made.route = TABLE.routes[2]
    listener = Listener()
    listener.note(made)
    assert listener.said == []


# How often


def test_each_is_said_once() -> None:
    listener = Listener()
    for made in (refused(), refused(), refused(at=1), refused(APP, Preflight(APP, b"PUT")), refused()):
        listener.note(made)
    assert [refusal.key[:3] for refusal in listener.said] == [
        ("api", "https://evil.example", "origin-not-allowed"),
        ("trial", "https://evil.example", "report-only"),
        ("api", "https://app.example.com", "method-not-allowed"),
    ]


def test_another_configuration_makes_it_news_again() -> None:
    listener = Listener()
    listener.note(refused())
    listener.refusals.forget()
    listener.note(refused())
    assert len(listener.said) == 2


def test_of_many_in_a_minute_a_few_are_said_and_that_there_are_more() -> None:
    listener = Listener()
    for number in range(100):
        listener.note(refused(b"https://o%d.example" % number), 100.0 + number / 10)
    assert len(listener.said) == LINES_A_MINUTE + 1
    assert listener.said[-1] is MORE


def test_one_that_had_to_wait_is_said_in_a_later_minute() -> None:
    listener = Listener()
    for number in range(LINES_A_MINUTE + 5):
        listener.note(refused(b"https://o%d.example" % number), 100.0)
    late = refused(b"https://o%d.example" % (LINES_A_MINUTE + 2))
    listener.note(late, 159.9)
    assert listener.said[-1] is MORE
    listener.note(late, 160.0)
    assert listener.said[-1].key[1] == f"https://o{LINES_A_MINUTE + 2}.example"


def test_memory_is_bounded() -> None:
    bulletin = Bulletin()
    for number in range(3 * MOST_KNOWN):
        assert bulletin.take((str(number),), number * 60.0) == "new"
    assert len(bulletin._known) <= MOST_KNOWN


def test_memory_of_decisions_is_bounded_too() -> None:
    listener = Listener()
    for _ in range(2 * MOST_KNOWN):
        listener.note(refused())  # decided anew each time
    assert len(listener.said) == 1
    assert len(listener.refusals._heard) <= MOST_KNOWN


def test_a_refusal_crosses_between_processes() -> None:
    listener = Listener()
    listener.note(refused())
    assert Refusal.from_json(listener.said[0].as_json()) == listener.said[0]


# While serving


@contextlib.asynccontextmanager
async def serving(port: int, workers: int) -> AsyncIterator[SingleProcess | Supervisor]:
    text = f"""
listen: 127.0.0.1:0
admin: off
workers: {workers}
log: {{access: false}}
drain: {{timeout: 2s}}
routes:
  - name: api
    upstream: http://127.0.0.1:{port}
    cors: {{allow_origins: [https://app.example.com]}}
"""
    source = Source("", {})
    loaded = load_text(text, source)
    out = LineWriter(io.StringIO())
    plane = SingleProcess(source, loaded, out) if workers == 1 else Supervisor(source, loaded, out)
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()
        out.close()


class Heard(logging.Handler):
    """Lines of the log about refusals, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put_nowait(record.getMessage())

    async def line(self) -> str:
        async with asyncio.timeout(10):
            return await self._lines.get()


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    logger, handler = logging.getLogger("corsproxy.ops.refusals"), Heard()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
async def test_it_is_said_once_by_all_together(workers: int, heard: Heard) -> None:
    async with upstream(answers(ok())) as legacy, serving(legacy.port, workers) as plane:
        address = plane.addresses[0]
        for _ in range(20):  # connections go to either worker
            assert (await ask(address, get("/", "Origin: https://evil.example"))).status == 200
        await ask(address, get("/", "Origin: https://other.example"))
        first = await heard.line()
        assert "https://evil.example" in first
        assert "https://other.example" in await heard.line()
        assert (await plane.apply(plane.text + "# changed\n")).ok
        await ask(address, get("/", "Origin: https://evil.example"))
        assert await heard.line() == first
