"""Field names, values and lists as bytes."""

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corsproxy.http.fields import HOP_BY_HOP, PLAIN_OPTIONS, is_field_value, is_token, list_members, nominated

TOKENS = [b"GET", b"x", b"X-Request-Id", b"!#$%&'*+-.^_`|~09azAZ"]
NO_TOKENS = [
    b"",
    b" ",
    b"a b",
    b"a:b",
    b"a,b",
    b'"a"',
    b"a/b",
    b"a\n",
    b"a\x00",
    b"caf\xc3\xa9",
    b"(a)",
    b"a;b",
    b"\x7f",
]


@pytest.mark.parametrize("text", TOKENS)
def test_tokens(text: bytes) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token(text: bytes) -> None:
    assert not is_token(text)


@given(st.integers(0, 255))
def test_every_byte_that_ends_a_line_or_controls_a_terminal_is_no_field_value(byte: int) -> None:
    control = (byte < 0x20 and byte != 0x09) or byte == 0x7F
    assert is_field_value(b"a" + bytes((byte,)) + b"b") is not control


def test_an_empty_value_is_a_value() -> None:
    assert is_field_value(b"")


class List(NamedTuple):
    says: str
    value: bytes
    members: list[bytes]


LISTS = [
    List("one member", b"close", [b"close"]),
    List("white space around members is not theirs", b" a ,\tb\t", [b"a", b"b"]),
    List("empty members are dropped", b",a,, ,b,", [b"a", b"b"]),
    List("nothing", b"", []),
    List("case and order are kept", b"B,a", [b"B", b"a"]),
    List("white space inside a member is kept", b"a b", [b"a b"]),
]


@pytest.mark.parametrize("case", LISTS, ids=lambda case: case.says)
def test_list_members(case: List) -> None:
    assert list_members(case.value) == case.members


class Nominated(NamedTuple):
    says: str
    values: list[bytes]
    names: set[bytes]


NOMINATED = [
    Nominated("no Connection field", [], set()),
    Nominated("names are compared without case", [b"X-Hop, x-HOP"], {b"x-hop"}),
    Nominated("several lines are one list", [b"a", b"b, c"], {b"a", b"b", b"c"}),
    Nominated(
        "options that are no field names come along", [b"close, keep-alive"], {b"close", b"keep-alive"}
    ),
    *(
        Nominated(
            f"CVE-2024-45410: {name} is not for a client to take away",
            [b"X-Hop, " + name.encode()],
            {b"x-hop"},
        )
        for name in (
            "Host",
            "content-LENGTH",
            "Origin",
            "Cookie",
            "Set-Cookie",
            "Authorization",
            "Forwarded",
            "X-Forwarded-For",
            "x-forwarded-proto",
            "Vary",
            "Via",
            "Cache-Control",
            "Access-Control-Request-Method",
            "access-control-allow-origin",
        )
    ),
]


@pytest.mark.parametrize("case", NOMINATED, ids=lambda case: case.says)
def test_nominated(case: Nominated) -> None:
    assert nominated(case.values) == case.names


@given(st.lists(st.binary(max_size=40), max_size=4))
@example([b"Access-Control-Anything", b"\xa0x"])
def test_what_is_nominated_is_lower_case_and_never_of_the_policy(values: list[bytes]) -> None:
    for name in nominated(values):
        assert name == name.lower()
        assert not name.startswith((b"access-control-", b"x-forwarded-"))
        assert name not in {b"host", b"origin", b"content-length"}


def test_the_hop_by_hop_fields_are_those_of_rfc_9110() -> None:
    """RFC 9110 §7.6.1: what a Connection field may leave unsaid; §11.7: authentication with a proxy."""
    assert {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    } <= HOP_BY_HOP
    assert {b"proxy-authenticate", b"proxy-authorization", b"http2-settings"} <= HOP_BY_HOP
    assert b"content-length" not in HOP_BY_HOP


def test_plain_options_name_no_field_that_would_cross_the_proxy() -> None:
    assert {option.lower() for option in PLAIN_OPTIONS} == {b"close", b"keep-alive"}
