"""The head of a response on its way to the client: what ends, what is owned, what is added."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.cors.decide import NO_POLICY, decide_actual
from corsproxy.cors.policy import PolicySpec
from corsproxy.http.fields import HOP_BY_HOP, Fields
from corsproxy.proxy.response import Framing, ResponseHead, response_head, trailer_section
from corsproxy.proxy.service import Ready
from tests.proxy.conftest import APP, SPEC, policy, words

ORIGIN = APP.encode()
OTHER = b"https://other.example"
OPEN = PolicySpec("open", allow_origins=words("*"))


def ready(spec: PolicySpec = SPEC, origin: bytes | None = ORIGIN, **changes: object) -> Ready:
    compiled = policy(spec, **changes)
    return Ready(decide_actual(compiled, origin), compiled)


OFF = Ready(NO_POLICY, None)
CORS = [
    b"Access-Control-Allow-Origin: https://app.example.com",
    b"Access-Control-Allow-Credentials: true",
    b"Access-Control-Expose-Headers: X-Total-Count",
]


def head(
    fields: Fields, of: Ready, *, status: int = 200, reason: bytes = b"OK", head_only: bool = False
) -> ResponseHead:
    found = response_head(status, reason, fields, of, head_only=head_only)
    assert isinstance(found, ResponseHead), found
    return found


def lines(fields: Fields, of: Ready, *, status: int = 200) -> list[bytes]:
    """The field lines for the client, one each."""
    return b"\r\n".join(head(fields, of, status=status).lines[1:]).split(b"\r\n")


class Case(NamedTuple):
    says: str
    fields: Fields
    ready: Ready
    lines: list[bytes]


VARY = b"Vary: Origin"

CASES = [
    Case("an allowed origin", [], ready(), [*CORS, VARY]),
    Case("trap 9: an origin that is not allowed still varies", [], ready(origin=OTHER), [VARY]),
    Case("trap 9: no Origin still varies", [], ready(origin=None), [VARY]),
    Case("a plain * does not vary", [], ready(OPEN), [b"Access-Control-Allow-Origin: *"]),
    Case(
        "a plain * stands on responses without Origin",
        [],
        ready(OPEN, None),
        [b"Access-Control-Allow-Origin: *"],
    ),
    Case(
        "other fields cross in order and case",
        [(b"x-B", b"1"), (b"A", b"2")],
        ready(origin=None),
        [b"x-B: 1", b"A: 2", VARY],
    ),
    Case(
        "33 (RFC 9110 5.3): Set-Cookie lines stay apart",
        [(b"Set-Cookie", b"a"), (b"set-cookie", b"b")],
        ready(origin=None),
        [b"Set-Cookie: a", b"set-cookie: b", VARY],
    ),
    Case(
        "26 (RFC 9110 7.6.1): hop-by-hop fields end here",
        [
            (b"Keep-Alive", b"x"),
            (b"Proxy-Authenticate", b"x"),
            (b"UPGRADE", b"h2c"),
            (b"Trailer", b"x"),
            (b"te", b"x"),
        ],
        ready(origin=None),
        [VARY],
    ),
    Case(
        "26 (RFC 9110 7.6.1): what Connection names ends here, wherever it stands",
        [(b"X-Hop", b"1"), (b"Connection", b"x-HOP, y-hop"), (b"Y-Hop", b"2"), (b"X-Kept", b"3")],
        ready(origin=None),
        [b"X-Kept: 3", VARY],
    ),
    Case(
        "26 (RFC 9110 7.6.1): over several Connection lines",
        [(b"Connection", b"a"), (b"A", b"1"), (b"connection", b"close, b"), (b"B", b"2")],
        ready(origin=None),
        [VARY],
    ),
    Case(
        "27 (CVE-2024-45410): Connection takes away neither framing, cookies nor ours",
        [
            (b"Connection", b"Content-Length, Set-Cookie, Access-Control-Allow-Origin, Vary"),
            (b"Content-Length", b"1"),
            (b"Set-Cookie", b"a"),
        ],
        ready(),
        [b"Content-Length: 1", b"Set-Cookie: a", *CORS, VARY],
    ),
    Case(
        "trap 11: the upstream's lines go, in any case and number",
        [
            (b"access-control-allow-origin", b"*"),
            (b"ACCESS-CONTROL-ALLOW-ORIGIN", b"https://evil.test"),
            (b"Access-Control-Allow-CREDENTIALS", b"true"),
            (b"aCCESS-cONTROL-mAX-aGE", b"1"),
            (b"Access-Control-Allow-Methods", b"*"),
            (b"Access-Control-Allow-Headers", b"*"),
            (b"Access-Control-Expose-Headers", b"*"),
            (b"Access-Control-Allow-Private-Network", b"true"),
            (b"Access-Control-Not-Invented-Yet", b"1"),
        ],
        ready(),
        [*CORS, VARY],
    ),
    Case(
        "trap 12: they go for an origin that is not allowed",
        [(b"Access-Control-Allow-Origin", OTHER)],
        ready(origin=OTHER),
        [VARY],
    ),
    Case(
        "trap 12: they go when there is no Origin",
        [(b"Access-Control-Allow-Origin", b"*")],
        ready(origin=None),
        [VARY],
    ),
    Case(
        "trap 13: no credentials are added to what an upstream reflects",
        [(b"access-control-allow-origin", OTHER), (b"access-control-allow-credentials", b"true")],
        ready(origin=OTHER),
        [VARY],
    ),
    Case(
        "cors off: everything passes",
        [(b"access-control-allow-origin", b"*"), (b"X", b"1")],
        OFF,
        [b"X: 1", b"access-control-allow-origin: *"],
    ),
    Case("cors off: Vary is the upstream's", [(b"Vary", b"Accept")], OFF, [b"Vary: Accept"]),
    Case(
        "report only: the upstream's fields stay and none of ours is added",
        [(b"Access-Control-Allow-Origin", b"*")],
        ready(mode="report_only"),
        [b"Access-Control-Allow-Origin: *"],
    ),
    Case("trap 10: Vary is merged", [(b"Vary", b"Accept")], ready(origin=None), [b"Vary: Accept, Origin"]),
    Case(
        "trap 10: Origin is not repeated, in any case",
        [(b"vary", b"accept, ORIGIN")],
        ready(origin=None),
        [b"Vary: accept, ORIGIN"],
    ),
    Case("Vary: * covers all", [(b"Vary", b"*")], ready(origin=None), [b"Vary: *"]),
    Case("Vary: * in a list covers all", [(b"Vary", b"Accept, *")], ready(origin=None), [b"Vary: Accept, *"]),
    Case(
        "trap 10: Vary on several lines stays so",
        [(b"Vary", b"Accept"), (b"VARY", b"Cookie")],
        ready(origin=None),
        [b"Vary: Accept", b"Vary: Cookie, Origin"],
    ),
    Case(
        "a plain * leaves Vary alone",
        [(b"Vary", b"Accept")],
        ready(OPEN),
        [b"Access-Control-Allow-Origin: *", b"Vary: Accept"],
    ),
    Case(
        "Timing-Allow-Origin is the upstream's",
        [(b"Timing-Allow-Origin", b"*")],
        ready(origin=None),
        [b"Timing-Allow-Origin: *", VARY],
    ),
    Case(
        "Timing-Allow-Origin is ours when the policy sets it",
        [(b"timing-allow-origin", b"*")],
        ready(timing_allow_origin=True),
        [*CORS, b"Timing-Allow-Origin: https://app.example.com", VARY],
    ),
    Case(
        "Timing-Allow-Origin: the upstream's admits no origin that we refuse",
        [(b"Timing-Allow-Origin", b"*")],
        ready(origin=OTHER, timing_allow_origin=True),
        [VARY],
    ),
    Case(
        "Cross-Origin-Resource-Policy is the upstream's",
        [(b"cross-origin-resource-policy", b"same-site")],
        ready(origin=None),
        [b"cross-origin-resource-policy: same-site", VARY],
    ),
    Case(
        "Cross-Origin-Resource-Policy is ours when the policy sets it: two lines match nothing",
        [(b"CROSS-Origin-Resource-Policy", b"same-site")],
        ready(origin=None, cross_origin_resource_policy="cross-origin"),
        [b"Cross-Origin-Resource-Policy: cross-origin", VARY],
    ),
    Case(
        "expose *: the names on the response, less what needs no exposing",
        [(b"ETag", b"x"), (b"Content-Type", b"x"), (b"Set-Cookie", b"x"), (b"x-a", b"1"), (b"X-A", b"2")],
        ready(expose_headers=words("*")),
        [
            b"ETag: x",
            b"Content-Type: x",
            b"Set-Cookie: x",
            b"x-a: 1",
            b"X-A: 2",
            *CORS[:2],
            b"Access-Control-Expose-Headers: etag, x-a",
            VARY,
        ],
    ),
    Case(
        "expose *: what ends at this hop is not promised",
        [(b"ETag", b"x"), (b"Keep-Alive", b"x"), (b"Connection", b"X-Hop"), (b"X-Hop", b"1")],
        ready(expose_headers=words("*")),
        [b"ETag: x", *CORS[:2], b"Access-Control-Expose-Headers: etag", VARY],
    ),
    Case(
        "expose * without credentials is a *",
        [(b"ETag", b"x")],
        ready(OPEN, expose_headers=words("*")),
        [b"ETag: x", b"Access-Control-Allow-Origin: *", b"Access-Control-Expose-Headers: *"],
    ),
    Case(
        "merge_expose: the upstream's exposed names are kept beside ours, nothing else of its own",
        [
            (b"access-control-expose-headers", b"ETag, x-total-count"),
            (b"Access-Control-Expose-Headers", b"X-B"),
            (b"Access-Control-Allow-Origin", b"*"),
        ],
        ready(upstream_cors="merge_expose"),
        [*CORS[:2], b"Access-Control-Expose-Headers: X-Total-Count, etag, x-b", VARY],
    ),
    Case(
        "merge_expose: a malformed list exposes nothing (trap 24)",
        [(b"Access-Control-Expose-Headers", b"ETag; X-B")],
        ready(upstream_cors="merge_expose"),
        [*CORS, VARY],
    ),
    Case(
        "merge_expose: nothing for an origin that is not allowed",
        [(b"Access-Control-Expose-Headers", b"ETag")],
        ready(origin=OTHER, upstream_cors="merge_expose"),
        [VARY],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_response_fields(case: Case) -> None:
    assert lines(case.fields, case.ready) == case.lines


class Framed(NamedTuple):
    says: str
    fields: Fields
    framing: Framing
    length: bool = False
    status: int = 200
    head_only: bool = False


LENGTH = (b"Content-Length", b"5")
CHUNKED = (b"transfer-encoding", b"Chunked")

FRAMED = [
    Framed("a length", [LENGTH], Framing.LENGTH, length=True),
    Framed("chunks; the coding is made anew", [CHUNKED], Framing.CHUNKED),
    Framed("neither: up to the end", [], Framing.CLOSE),
    Framed("HEAD keeps the length", [LENGTH], Framing.NONE, length=True, head_only=True),
    Framed("HEAD with chunks", [CHUNKED], Framing.NONE, head_only=True),
    Framed("304 keeps the length (RFC 9110 8.6)", [LENGTH], Framing.NONE, length=True, status=304),
    Framed("204 loses the length (RFC 9110 8.6)", [LENGTH], Framing.NONE, status=204),
    Framed("204 without a length", [], Framing.NONE, status=204),
]


@pytest.mark.parametrize("case", FRAMED, ids=lambda case: case.says)
def test_framing(case: Framed) -> None:
    found = head(case.fields, ready(), status=case.status, head_only=case.head_only)
    assert found.framing is case.framing
    assert (b"Content-Length: 5" in found.lines) is case.length
    assert not any(line.lower().startswith(b"transfer-encoding") for line in found.lines)


@pytest.mark.parametrize(
    "coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"chunked;q=1"]
)
def test_4_a_coding_that_is_not_just_chunked_is_unusable(coding: bytes) -> None:
    assert isinstance(
        response_head(200, b"OK", [(b"Transfer-Encoding", coding)], ready(), head_only=False), str
    )


def test_4_chunked_on_two_lines_is_unusable() -> None:
    assert isinstance(response_head(200, b"OK", [CHUNKED, CHUNKED], ready(), head_only=False), str)


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x0A, 0x0D, 0x1B, 0x7F])
def test_10_a_control_byte_in_the_reason_is_unusable(byte: int) -> None:
    """RFC 9112 §4. Asked twice: what was refused is not remembered as good."""
    reason = b"O" + bytes((byte,)) + b"K"
    for _ in range(2):
        assert isinstance(response_head(200, reason, [], ready(), head_only=False), str)


@pytest.mark.parametrize("reason", [b"", b"OK", b"caf\xe9", b"a\tb", b"x" * 200])
def test_a_reason_crosses_as_it_is(reason: bytes) -> None:
    assert head([], ready(), reason=reason).lines[0] == b"HTTP/1.1 200 " + reason


def test_how_many_lines_were_taken_off_is_told() -> None:
    fields = [(b"Access-Control-Allow-Origin", b"*")] * 3
    assert head(fields, ready()).cors_stripped == 3
    assert head(fields, OFF).cors_stripped == 0


class Trailer(NamedTuple):
    says: str
    trailers: Fields
    section: bytes


TRAILERS = [
    Trailer("a trailer goes on", [(b"X-Sum", b"7")], b"X-Sum: 7\r\n"),
    Trailer(
        "trap 49: none adds to the policy",
        [(b"access-CONTROL-allow-origin", b"*"), (b"Timing-Allow-Origin", b"*")],
        b"",
    ),
    Trailer("none adds a neighbour of the policy", [(b"Cross-Origin-Resource-Policy", b"cross-origin")], b""),
    Trailer(
        "15 (RFC 9110 6.5.1): nor to the framing",
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        b"",
    ),
    Trailer(
        "15 (RFC 9110 6.5.1): nor to the session", [(b"Set-Cookie", b"a"), (b"Authorization", b"x")], b""
    ),
    Trailer("15 (RFC 9110 6.5.1): nor to caching", [(b"Vary", b"*"), (b"Cache-Control", b"x")], b""),
    Trailer("26 (RFC 9110 7.6.1): nor to the hop", [(b"Connection", b"close"), (b"Trailer", b"x")], b""),
    Trailer(
        "order and repetition are kept",
        [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")],
        b"b: 1\r\na: 2\r\nb: 3\r\n",
    ),
    Trailer("nothing", [], b""),
]


@pytest.mark.parametrize("case", TRAILERS, ids=lambda case: case.says)
def test_trailers(case: Trailer) -> None:
    assert trailer_section(case.trailers) == case.section


field_names = st.sampled_from(
    [
        b"Access-Control-Allow-Origin",
        b"access-control-expose-headers",
        b"Vary",
        b"X-A",
        b"Connection",
        b"Set-Cookie",
        b"Trailer",
    ]
)
field_values = st.sampled_from([b"*", b"https://other.example", b"X-A", b"Origin", b"close, Vary", b""])
readies = st.sampled_from(
    [
        ready(),
        ready(origin=OTHER),
        ready(origin=None),
        ready(expose_headers=words("*")),
        ready(upstream_cors="merge_expose"),
    ]
)


@given(st.lists(st.tuples(field_names, field_values), max_size=8), readies)
def test_whatever_an_upstream_sends_the_policy_owns_the_cors_fields(fields: Fields, of: Ready) -> None:
    sent = [line.partition(b": ") for line in lines(fields, of)]
    lowered = [name.lower() for name, _, _ in sent]
    for name in (
        b"access-control-allow-origin",
        b"access-control-allow-credentials",
        b"access-control-expose-headers",
    ):
        assert lowered.count(name) <= 1
    allowed = {name.lower(): value for name, _, value in sent}.get(b"access-control-allow-origin")
    assert allowed == (ORIGIN if of.decision.allowed and of.decision.fields else None)
    assert not HOP_BY_HOP & set(lowered)
    varies = {
        token.strip().lower() for name, _, value in sent if name == b"Vary" for token in value.split(b",")
    }
    assert varies & {b"origin", b"*"}


def test_reasons_that_upstreams_invent_are_not_remembered_without_bound() -> None:
    from corsproxy.proxy import response as module

    for number in range(3000):
        head([(b"X-%d" % number, b"")], ready(), reason=b"reason %d" % number)
    assert len(module._STATUS_LINES) <= module._SEEN_LIMIT
    assert len(module._SEEN) <= module._SEEN_LIMIT


def test_a_ready_block_does_not_change_with_use() -> None:
    """Trap 45: nothing that one response adds is seen by the next."""
    shared = ready(upstream_cors="merge_expose")
    first = lines([(b"Access-Control-Expose-Headers", b"ETag"), (b"Vary", b"Accept")], shared)
    assert b"Access-Control-Expose-Headers: X-Total-Count, etag" in first
    assert lines([], shared) == [*CORS, VARY]
