"""Where WebSocket frames end, whatever the pieces in which they come."""

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corsproxy.http.websocket import GOING_AWAY, FrameEdges

SMALL, MEDIUM, LARGE = 125, 65535, 65536


def frame(payload: bytes, *, first: int = 0x82, mask: bytes = b"", form: int | None = None) -> bytes:
    """One frame (RFC 6455 §5.2). form: how many bytes hold the length; None = as few as will do."""
    size = len(payload)
    if form is None:
        form = 1 if size <= SMALL else 2 if size <= MEDIUM else 8
    bit = 0x80 if mask else 0
    if form == 1:
        return bytes((first, bit | size)) + mask + payload
    return bytes((first, bit | {2: 126, 8: 127}[form])) + size.to_bytes(form, "big") + mask + payload


@dataclass(frozen=True)
class Case:
    says: str
    data: bytes
    at_edge: bool


CASES = [
    Case("nothing was sent", b"", True),
    Case("one byte of a header", b"\x81", False),
    Case("an empty frame", b"\x89\x00", True),
    Case("a short text", frame(b"hi"), True),
    Case("a short text without its last byte", frame(b"hi")[:-1], False),
    Case("a length of two bytes, of which one is here", b"\x82\x7e\x01", False),
    Case("a length of two bytes and no payload", b"\x82\x7e\x01\x00", False),
    Case("the longest short frame", frame(b"x" * 125), True),
    Case("the shortest of two bytes", frame(b"x" * 126), True),
    Case("the longest of two bytes", frame(b"x" * 65535), True),
    Case("the shortest of eight", frame(b"x" * 65536), True),
    Case("a length in more bytes than it needs", frame(b"x", form=8), True),
    Case("an empty one in eight", frame(b"", form=8), True),
    Case("a mask is part of the header", frame(b"hi", mask=b"\1\2\3\4"), True),
    Case("a masked empty one without its mask", b"\x89\x80\1\2\3", False),
    Case("a fragment ends with an edge, too", frame(b"hel", first=0x01), True),
    Case("the leave that is taken", GOING_AWAY, True),
    Case("a frame and half of the next", frame(b"hi") + frame(b"there")[:4], False),
    Case("the longest that can be said", b"\x82\x7f" + b"\xff" * 8, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_edges(case: Case) -> None:
    edges = FrameEdges()
    edges.take(case.data)
    assert edges.at_edge is case.at_edge


def test_the_leave_is_a_close_frame_with_1001() -> None:
    assert frame((1001).to_bytes(2, "big"), first=0x88) == GOING_AWAY


frames = st.builds(
    lambda payload, first, mask, wide: frame(payload, first=first, mask=mask, form=8 if wide else None),
    st.one_of(
        st.binary(max_size=20), st.integers(100, 300).map(bytes), st.sampled_from((65535, 65536)).map(bytes)
    ),
    st.integers(0, 255),
    st.sampled_from((b"", b"\xaa\xbb\xcc\xdd")),
    st.booleans(),
)
cuts = st.lists(st.one_of(st.integers(0, 64), st.integers(0, 70_000)), max_size=12)


def pieces_of(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream cut into pieces of these sizes, the rest at the end."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [*pieces, stream[at:]]


def edges_of(sent: list[bytes]) -> set[int]:
    """The places between frames."""
    places, at = {0}, 0
    for each in sent:
        at += len(each)
        places.add(at)
    return places


@given(st.lists(frames, max_size=6), cuts)
@example([frame(b"x" * 65536)], [2, 8, 65536])
@example([frame(b"hi"), frame(b"")], [1, 1, 1, 1, 1, 1])
def test_any_split_gives_the_same_edges(sent: list[bytes], sizes: list[int]) -> None:
    stream, expected = b"".join(sent), edges_of(sent)
    edges, at = FrameEdges(), 0
    for piece in pieces_of(stream, sizes):
        edges.take(piece)
        at += len(piece)
        assert edges.at_edge is (at in expected)


@given(st.lists(frames, min_size=1, max_size=4), st.data())
def test_what_is_taken_to_the_edge_ends_the_frame_and_no_other(
    sent: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(sent)
    which = data.draw(st.integers(0, len(sent) - 1))
    begun = len(b"".join(sent[:which])) + data.draw(st.integers(1, len(sent[which]) - 1))
    edges = FrameEdges()
    edges.take(stream[:begun])
    at = begun
    for piece in pieces_of(stream[begun:], data.draw(cuts)):
        if not edges.at_edge:
            at += edges.take_to_edge(piece)
    assert at == len(b"".join(sent[: which + 1]))


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_confuse_it(pieces: list[bytes]) -> None:
    """It follows what upstreams send, and some send anything."""
    whole, parts = FrameEdges(), FrameEdges()
    whole.take(b"".join(pieces))
    for piece in pieces:
        parts.take(piece)
    assert whole.at_edge is parts.at_edge
