"""Response fields that belong to the policy, and the lists inside CORS fields."""

from typing import NamedTuple

import pytest

from corsproxy.cors.fields import (
    Fields,
    exposable,
    expose_also,
    is_cors_field,
    is_token,
    merge_vary,
    parse_names,
    shown,
)


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        (b"access-control-allow-origin", True),
        (b"access-control-allow-private-network", True),
        (b"access-control-made-up-tomorrow", True),  # trap 49: the prefix, not a list
        (b"access-control", False),
        (b"timing-allow-origin", False),
        (b"x-access-control-allow-origin", False),
    ],
)
def test_the_policy_owns_the_whole_prefix(name: bytes, is_ours: bool) -> None:
    assert is_cors_field(name) is is_ours


class Vary(NamedTuple):
    says: str
    lines: list[bytes]
    tokens: list[bytes]
    added: bytes | None


VARY = [
    Vary("nothing there yet", [], [b"Origin"], b"Origin"),
    Vary(
        "trap 10: the upstream's own tokens stay, ours is added", [b"Accept-Encoding"], [b"Origin"], b"Origin"
    ),
    Vary("already there", [b"Origin"], [b"Origin"], None),
    Vary("already there in another case", [b"accept, ORIGIN"], [b"Origin"], None),
    Vary("trap 10: already there on the second line", [b"Accept", b"Origin"], [b"Origin"], None),
    Vary("a star covers all", [b"*"], [b"Origin"], None),
    Vary("a star among others covers all", [b"Accept, *"], [b"Origin"], None),
    Vary("a longer name is another one", [b"Origin-Agent"], [b"Origin"], b"Origin"),
    Vary("only the missing ones", [b"Origin"], [b"Origin", b"A", b"B"], b"A, B"),
    Vary("nothing to add", [b"Accept"], [], None),
    Vary("an empty line", [b""], [b"Origin"], b"Origin"),
]


@pytest.mark.parametrize("case", VARY, ids=lambda case: case.says)
def test_vary(case: Vary) -> None:
    assert merge_vary(case.lines, case.tokens) == case.added


class Names(NamedTuple):
    says: str
    raw: bytes
    names: tuple[bytes, ...] | None


NAMES = [
    Names("as browsers send it", b"authorization,x-id", (b"authorization", b"x-id")),
    Names(
        "trap 22: re-cased and re-spaced on the way", b"X-Id ,\tAuthorization", (b"x-id", b"authorization")
    ),
    Names("twice the same", b"x-id,X-ID", (b"x-id",)),
    Names("an empty list", b"", ()),
    Names("sixteen empty elements", b"," * 15, ()),
    Names("seventeen", b"," * 16, None),
    Names("empty elements among names", b",x-a,,x-b,", (b"x-a", b"x-b")),
    Names("a space inside a name", b"x a", None),
    Names("a colon", b"x-a:", None),
    Names("a quoted name", b'"x-a"', None),
    Names("a line feed", b"x-a\n", None),
    Names("a NUL", b"\0", None),
    Names("letters outside ASCII", "é".encode(), None),
    Names("a star is a name here", b"*", (b"*",)),
    Names("trap 46: 8 KiB", b"a" * 8192, (b"a" * 8192,)),
    Names("trap 46: one byte more", b"a" * 8193, None),
]


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.says)
def test_names(case: Names) -> None:
    assert parse_names(case.raw) == case.names


def test_a_token_has_at_least_one_character() -> None:
    assert not is_token(b"")
    assert is_token(b"!#$%&'*+-.^_`|~09AZaz")


def test_exposable_leaves_out_what_needs_no_exposing_and_what_cannot_be_read() -> None:
    names = [
        b"Content-Type",
        b"ETag",
        b"Set-Cookie",
        b"Set-Cookie2",
        b"X-Id",
        b"etag",
        b"Access-Control-Max-Age",
        b"*",
    ]
    assert exposable(names) == (b"etag", b"x-id")


ACAO, ACAC, ACEH = (
    b"Access-Control-Allow-Origin",
    b"Access-Control-Allow-Credentials",
    b"Access-Control-Expose-Headers",
)
ANY = ((ACAO, b"*"),)
ONE = ((ACAO, b"https://a.example"), (ACAC, b"true"))


class Expose(NamedTuple):
    says: str
    fields: Fields
    names: list[bytes]
    result: Fields


EXPOSE = [
    Expose("no script may read the response", (), [b"x-id"], ()),
    Expose("nothing to add", ONE, [], ONE),
    Expose("the first names", ONE, [b"x-id", b"etag"], (*ONE, (ACEH, b"x-id, etag"))),
    Expose("more names", (*ONE, (ACEH, b"X-Id")), [b"etag"], (*ONE, (ACEH, b"X-Id, etag"))),
    Expose(
        "a name that is there in another case", (*ONE, (ACEH, b"X-Id")), [b"x-id"], (*ONE, (ACEH, b"X-Id"))
    ),
    Expose("a name twice", ONE, [b"x-id", b"x-id"], (*ONE, (ACEH, b"x-id"))),
    Expose("a star already covers them", (*ANY, (ACEH, b"*")), [b"x-id"], (*ANY, (ACEH, b"*"))),
    Expose("trap 21: with credentials a star says nothing", ONE, [b"*"], ONE),
    Expose("an upstream's star, without credentials", ANY, [b"*"], (*ANY, (ACEH, b"*"))),
    Expose(
        "before the neighbours",
        (*ONE, (b"Timing-Allow-Origin", b"x")),
        [b"x-id"],
        (*ONE, (ACEH, b"x-id"), (b"Timing-Allow-Origin", b"x")),
    ),
]


@pytest.mark.parametrize("case", EXPOSE, ids=lambda case: case.says)
def test_expose_also(case: Expose) -> None:
    assert expose_also(case.fields, case.names) == case.result


def test_what_is_shown_of_a_value_is_printable_and_short() -> None:
    assert shown(b"a\r\n\x1b[31m\xff") == "a???[31m?"
    assert shown(b"a" * 128) == "a" * 128
    assert shown(b"a" * 129) == "a" * 127 + "…"
