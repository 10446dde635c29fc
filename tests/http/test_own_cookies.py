"""Cookies of requests, sifted by name."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.own_cookies import cookie_names, is_deletion, set_cookie_name, sift_cookies


class Case(NamedTuple):
    says: str
    lines: list[bytes]
    kept: list[bytes]


OWN = frozenset({b"sid", b"csrf"})

CASES = [
    Case("all are the upstream's: not a byte changes", [b"Cookie: sid=1;csrf=2"], [b"Cookie: sid=1;csrf=2"]),
    Case("trap 42: a cookie of another program stays", [b"Cookie: sid=1; other=2"], [b"Cookie: sid=1"]),
    Case("order is kept", [b"cookie: x=0; csrf=2; y=0; sid=1"], [b"cookie: csrf=2; sid=1"]),
    Case("a line without any left is gone", [b"Accept: */*", b"Cookie: other=2"], [b"Accept: */*"]),
    Case("each line for itself", [b"Cookie: other=1", b"COOKIE: sid=2"], [b"COOKIE: sid=2"]),
    Case("names are compared with case", [b"Cookie: SID=1; sid=2"], [b"Cookie: sid=2"]),
    Case("a name twice, as with two paths", [b"Cookie: sid=1; sid=2; o=3"], [b"Cookie: sid=1; sid=2"]),
    Case("a value without a name is nobody's", [b"Cookie: sid; sid=1"], [b"Cookie: sid=1"]),
    Case("an equals sign in the value", [b"Cookie: o=sid=1; sid=a=b"], [b"Cookie: sid=a=b"]),
    Case("quotes do not hide a semicolon", [b'Cookie: o="a; sid=1"'], [b'Cookie: sid=1"']),
    Case("spaces and tabs around", [b"Cookie:\to=1 ;\tsid=1"], [b"Cookie: sid=1"]),
    Case("another field of a like name", [b"Cookie2: o=1", b"X-Cookie: o=1"],
         [b"Cookie2: o=1", b"X-Cookie: o=1"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_what_goes_on(case: Case) -> None:
    assert sift_cookies(case.lines, OWN) == case.kept


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"sid=1; Path=/", b"sid"),
        (b" sid = 1", b"sid"),
        (b"sid", b""),
        (b"=1", b""),
        (b"a=b=c; D", b"a"),
        (b"", b""),
    ],
)
def test_the_name_that_a_response_sets(line: bytes, name: bytes) -> None:
    assert set_cookie_name(line) == name


@pytest.mark.parametrize(
    ("line", "deletes"),
    [
        (b"sid=; Max-Age=0", True),
        (b"sid=; max-age=-1; Path=/", True),
        (b"sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", True),
        (b"sid=; expires=Thu, 01-Jan-1970 00:00:01 GMT", True),
        (b"sid=; Expires=Thu, 01-Jan-70 00:00:00 GMT", True),
        (b"sid=; Expires=Thursday, 31-Dec-99 23:59:59 GMT", True),
        (b"sid=; Expires=Thu Jan  1 00:00:00 1970", True),
        (b"sid=; Expires=1970 Jan 01 00:00:00", True),
        (b"sid=1; Expires=Sunday, 01-Jan-69 00:00:00 GMT", False),
        (b"sid=1; Expires=Fri, 20-Nov-00 10:00:00 GMT", False),
        (b"sid=1; Expires=Mon, 01 Jan 1600 00:00:00 GMT", False),
        (b"sid=1; Expires=Mon, 01 Jan", False),
        (b"sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", False),
        (b"sid=; Max-Age=0; Max-Age=60", False),
        (b"sid=; Max-Age=soon", False),
        (b"sid=1; Expires=Fri, 20 Nov 2099 10:00:00 GMT", False),
        (b"sid=1", False),
        (b"sid=Max-Age=0", False),
        (b"", False),
    ],
)
def test_what_only_deletes(line: bytes, deletes: bool) -> None:
    assert is_deletion(line) is deletes


values = st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\r\n\x00"))


@given(values, st.sets(st.binary(max_size=5)))
def test_no_other_name_ever_goes_on(value: bytes, own: set[bytes]) -> None:
    for line in sift_cookies([b"Cookie: " + value], own):
        assert set(cookie_names(line.partition(b":")[2])) <= own
