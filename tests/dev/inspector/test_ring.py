"""The ring: bounded whatever comes, without gaps, and told to whoever waits."""

import json
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from corsproxy.cors.decide import Decision, Kind, Reason
from corsproxy.dev.inspector.ring import DEFAULT_BYTES, DEFAULT_COUNT, Ring
from corsproxy.http.faults import Fault
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.request import Request, read_request

FIELDS = st.lists(
    st.tuples(st.from_regex(rb"[A-Za-z-]{1,20}", fullmatch=True), st.binary(max_size=300)), max_size=12
)


def request(path: bytes = b"/", fields: list[tuple[bytes, bytes]] | None = None) -> Request:
    read = read_request(
        b"GET", path, [(b"Host", b"h.test"), *(fields or [])], is_http10=False, keep_alive=True
    )
    assert not isinstance(read, Fault), read
    return read


def exchange(path: bytes = b"/", answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Exchange:
    taken = Exchange(time.monotonic(), "127.0.0.1")
    taken.method, taken.path, taken.status = b"GET", path, 200
    taken.decision = Decision(Kind.NOT_CORS, Reason.NOT_CORS, "", allowed=True, fields=(), vary=())
    taken.capture = Capture(request(), b"http")
    taken.capture.answer = answer
    return taken


@given(
    count=st.integers(1, 20),
    limit=st.integers(0, 20_000),
    heads=st.lists(st.tuples(st.binary(max_size=4000), FIELDS), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_it_never_holds_more_than_it_may(
    count: int, limit: int, heads: list[tuple[bytes, list[tuple[bytes, bytes]]]]
) -> None:
    ring = Ring(count, limit)
    for path, fields in heads:
        head = b"\r\n".join([b"HTTP/1.1 200 OK", *(name + b": " + value for name, value in fields), b"", b""])
        ring.record(exchange(b"/" + path, head), time.monotonic())
        entries = ring.after(0)
        assert len(entries) == ring.kept <= count
        assert ring.size == sum(entry.size for entry in entries) <= limit
        assert [entry.id for entry in entries] == list(range(ring.last - len(entries) + 1, ring.last + 1))
        assert all(json.loads(entry.row)["id"] == entry.id for entry in entries)
    assert ring.last == len(heads)


def filled(number: int, count: int = 5) -> Ring:
    ring = Ring(count)
    for _ in range(number):
        ring.record(exchange(), time.monotonic())
    return ring


def test_what_came_since_is_found_by_id() -> None:
    ring = filled(8)
    assert [entry.id for entry in ring.after(0)] == [4, 5, 6, 7, 8]
    assert [entry.id for entry in ring.after(6)] == [7, 8]
    assert ring.after(8) == ring.after(99) == []


def test_one_is_found_while_it_is_there() -> None:
    ring = filled(8)
    found = ring.get(5)
    assert found is not None
    assert found.id == 5
    assert [ring.get(number) for number in (-1, 0, 3, 9)] == [None] * 4


def test_ids_go_on_after_it_was_emptied() -> None:
    ring = filled(3)
    ring.clear()
    assert (ring.kept, ring.size, ring.after(0), ring.get(3)) == (0, 0, [], None)
    ring.record(exchange(), time.monotonic())
    assert [entry.id for entry in ring.after(0)] == [4]


def test_all_who_wait_are_told_and_none_who_left() -> None:
    ring = Ring()
    with ring.news() as one:
        with ring.news() as other:
            ring.record(exchange(), time.monotonic())
            assert one.is_set()
            assert other.is_set()
            other.clear()
        ring.record(exchange(), time.monotonic())
        assert not other.is_set()


def test_without_fields_a_row_is_kept_all_the_same() -> None:
    ring = Ring()
    bare = exchange()
    bare.capture = None
    ring.record(bare, time.monotonic())
    entry = ring.get(1)
    assert entry is not None
    assert entry.detail == ""
    assert json.loads(entry.row)["path"] == "/"


def test_the_page_about_it_names_its_bounds() -> None:
    text = (Path(__file__).parents[3] / "docs" / "inspector.md").read_text(encoding="utf-8")
    assert f"{DEFAULT_COUNT} exchanges, or {DEFAULT_BYTES // 2**20} MiB" in text
