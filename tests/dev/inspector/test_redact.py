"""What is taken out of fields and targets before anything is kept."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.dev.inspector.redact import HIDDEN, MAX_FIELDS, shown_fields, shown_path, shown_query

JWT = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"
SECRET = "s3cr3tValue"


class Case(NamedTuple):
    says: str
    name: bytes
    value: bytes
    shown: str


CASES = [
    Case("cookies keep their names", b"Cookie", b"session=s3cr3t; theme=dark", "session=…; theme=…"),
    Case("a cookie without a name is all value", b"cookie", b"s3cr3t", "…"),
    Case(
        "a cookie that is set keeps name and attributes",
        b"Set-Cookie",
        b"id=s3cr3t; Path=/; HttpOnly; SameSite=Lax",
        "id=…; Path=/; HttpOnly; SameSite=Lax",
    ),
    Case("of credentials the scheme is seen", b"Authorization", b"Bearer s3cr3t", "Bearer …"),
    Case("a bare credential is hidden whole", b"AUTHORIZATION", b"s3cr3t", "…"),
    Case("credentials for a proxy likewise", b"Proxy-Authorization", b"Basic dTpw", "Basic …"),
    Case("a field whose name speaks of a token", b"X-Auth-Token", b"abc", "…"),
    Case("an API key", b"X-API-Key", b"abc", "…"),
    Case("a token against forgery", b"X-CSRF-Token", b"abc", "…"),
    Case("a challenge is no secret", b"WWW-Authenticate", b'Bearer realm="api"', 'Bearer realm="api"'),
    Case(
        "names of headers are no secrets",
        b"Access-Control-Request-Headers",
        b"authorization,x-api-key",
        "authorization,x-api-key",
    ),
    Case(
        "query values of a URL",
        b"Referer",
        b"https://a.test/p?q=term&page=2",
        "https://a.test/p?q=…&page=…",
    ),
    Case(
        "a fragment may hold a token", b"Location", b"https://a.test/#access_token=abc", "https://a.test/#…"
    ),
    Case("query and fragment", b"Location", b"/cb?code=abc#x", "/cb?code=…#…"),
    Case("a query that is one value", b"Location", b"/cb?abc", "/cb?…"),
    Case("a user and password in a URL", b"Location", b"https://u:p@a.test/", "https://…@a.test/"),
    Case(
        "all URLs of a list",
        b"Link",
        b'</a?key=1>; rel="next", </b?key=2>; rel="prev"',
        '</a?key=…>; rel="next", </b?key=…>; rel="prev"',
    ),
    Case("a JSON Web Token wherever it stands", b"X-Debug", b"user " + JWT, "user …"),
    Case("a key that says what it is", b"X-Debug", b"ghp_abcdefghijklmnop1234", "…"),
    Case("a long random word", b"X-Debug", b"a1" * 20, "…"),
    Case("a long word without digits is a word", b"X-Debug", b"a" * 40, "a" * 40),
    Case(
        "a UUID names a thing",
        b"X-Debug",
        b"123e4567-e89b-12d3-a456-426614174000",
        "123e4567-e89b-12d3-a456-426614174000",
    ),
    Case("a validator is what caches go by", b"ETag", b'"' + b"a1" * 20 + b'"', '"' + "a1" * 20 + '"'),
    Case("an ordinary field crosses as it is", b"Accept", b"text/html;q=0.9, */*", "text/html;q=0.9, */*"),
    Case("a long value is cut", b"X-Long", b"a " * 2000, "a " * 512 + HIDDEN),
    Case(
        "lists of CORS are judged later, so kept whole",
        b"Access-Control-Allow-Headers",
        b"x-a," * 500,
        "x-a," * 500,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_fields(case: Case) -> None:
    assert shown_fields([(case.name, case.value)]) == [[case.name.decode(), case.shown]]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"", ""),
        (b"?page=2&q=term", "?page=…&q=…"),
        (b"?s3cr3t", "?…"),
        (b"?a=1;b=2", "?a=…&b=…"),
        (b"?" + JWT + b"=1", "?…=…"),
    ],
)
def test_queries(query: bytes, shown: str) -> None:
    assert shown_query(query) == shown


def test_ids_stay_in_a_path_and_tokens_do_not() -> None:
    path = b"/users/123e4567-e89b-12d3-a456-426614174000/orders/5f2b6c1d9e8f7a6b5c4d3e2f1a0b9c8d"
    assert shown_path(path) == path.decode()
    assert shown_path(b"/reset/" + JWT + b"/now") == "/reset/…/now"


def test_more_fields_than_anyone_sends_are_not_kept() -> None:
    assert len(shown_fields([(b"a", b"b")] * 1000)) == MAX_FIELDS + 1


SENSITIVE = st.sampled_from(
    [b"Cookie", b"Authorization", b"Proxy-Authorization", b"X-Session", b"X-Access-Token", b"Client-Secret"]
)


@given(
    name=SENSITIVE,
    before=st.sampled_from([b"", b"a=", b"a=1; b=", b"Bearer ", b"Basic ", b"x, "]),
    after=st.sampled_from([b"", b"; c=2", b", y", b" z"]),
)
def test_no_part_of_a_secret_is_left(name: bytes, before: bytes, after: bytes) -> None:
    [[_, shown]] = shown_fields([(name, before + SECRET.encode() + after)])
    assert SECRET not in shown


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_is_sent_becomes_text(name: bytes, value: bytes) -> None:
    [[label, shown]] = shown_fields([(name, value)])
    assert label == name.decode("latin-1")
    shown.encode("utf-8")
    shown_path(value).encode("utf-8")
    shown_query(b"?" + value).encode("utf-8")
