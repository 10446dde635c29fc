"""`traceparent`: which values are valid, what they say, how ours are written (W3C Trace Context, §3.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.trace_context import TraceParent, parse_traceparent, traceparent

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
READ = TraceParent(int(TRACE, 16), int(SPAN, 16), 1)

VALID = [
    (b"00-%b-%b-01" % (TRACE, SPAN), READ),
    (b"00-%b-%b-00" % (TRACE, SPAN), TraceParent(READ.trace_id, READ.parent_id, 0)),
    (b"00-%b-%b-03" % (TRACE, SPAN), TraceParent(READ.trace_id, READ.parent_id, 3)),
    (b"01-%b-%b-01" % (TRACE, SPAN), READ),
    (b"cc-%b-%b-01-what-the-future-will-be-like" % (TRACE, SPAN), READ),
]
INVALID = {
    "a version that is none": b"ff-%b-%b-01" % (TRACE, SPAN),
    "version 00 ends with the flags": b"00-%b-%b-01-more" % (TRACE, SPAN),
    "version 00 ends with the flags, without a dash": b"00-%b-%b-01-" % (TRACE, SPAN),
    "a later version needs a dash before more": b"01-%b-%b-011" % (TRACE, SPAN),
    "upper case": b"00-%b-%b-01" % (TRACE.upper(), SPAN),
    "a trace id of zeros": b"00-%b-%b-01" % (b"0" * 32, SPAN),
    "a span id of zeros": b"00-%b-%b-01" % (TRACE, b"0" * 16),
    "a short trace id": b"00-%b-%b-01" % (TRACE[1:], SPAN),
    "a long span id": b"00-%b-%b-01" % (TRACE, SPAN + b"0"),
    "letters that are no digits": b"00-%b-%b-0x" % (TRACE, SPAN),
    "two lines, joined": b"00-%b-%b-01, 00-%b-%b-01" % (TRACE, SPAN, TRACE, SPAN),
    "a line end": b"00-%b-%b-01\n" % (TRACE, SPAN),
    "nothing": b"",
}


@pytest.mark.parametrize(("value", "read"), VALID, ids=str)
def test_a_valid_one_is_read(value: bytes, read: TraceParent) -> None:
    assert parse_traceparent(value) == read
    assert read.is_sampled == bool(read.flags & 1)


@pytest.mark.parametrize("value", INVALID.values(), ids=INVALID)
def test_an_invalid_one_is_none(value: bytes) -> None:
    assert parse_traceparent(value) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read_again(trace_id: int, span_id: int, flags: int) -> None:
    written = traceparent(trace_id, span_id, flags)
    assert len(written) == 55
    assert parse_traceparent(written) == TraceParent(trace_id, span_id, flags)


@given(st.binary(max_size=80))
def test_nothing_that_is_sent_breaks_it(value: bytes) -> None:
    read = parse_traceparent(value)
    assert read is None or (read.trace_id and read.parent_id)
