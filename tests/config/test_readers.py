"""The small readers: units, variables, addresses, matches, and which route covers which."""

import re
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.addresses import parse_endpoint, parse_host_pattern, parse_listen, parse_network
from corsproxy.config.expand import expand
from corsproxy.config.findings import Mistake
from corsproxy.config.matching import parse_path, parse_path_regex
from corsproxy.config.reach import Earlier, covers
from corsproxy.config.scalars import resolve, trap_in
from corsproxy.config.table import Address, Endpoint, Match
from corsproxy.config.units import duration_text, parse_duration, parse_size, size_text
from corsproxy.config.words import count, did_you_mean, printable, quoted
from corsproxy.http.forwarded import PRIVATE


class Case(NamedTuple):
    says: str
    given: str
    expected: object  # a Mistake's code when there is one


def outcome(value: object) -> object:
    return value.code if isinstance(value, Mistake) else value


def rows(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.says)


@rows(
    [
        Case("milliseconds", "250ms", 0.25),
        Case("hours", "2h", 7200.0),
        Case("a fraction", "1.5s", 1.5),
        Case("no unit is for numbers", "5", None),
        Case("no spaces", "5 s", None),
        Case("no sign", "-5s", None),
        Case("no compound", "1h30m", None),
        Case("no digits of other scripts", "٥s", None),
    ]
)
def test_duration(case: Case) -> None:
    assert parse_duration(case.given) == case.expected


@rows(
    [
        Case("powers of two", "64KiB", 65536),
        Case("powers of ten", "10MB", 10_000_000),
        Case("bytes", "7B", 7),
        Case("no unit is for numbers", "7", None),
        Case("units are written one way", "7kib", None),
        Case("no fractions", "1.5MB", None),
    ]
)
def test_size(case: Case) -> None:
    assert parse_size(case.given) == case.expected


@given(st.integers(0, 10**9))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    read_back = parse_duration(duration_text(seconds))
    assert read_back is not None
    assert read_back == pytest.approx(seconds, rel=1e-5)


@given(st.integers(0, 2**45))
def test_a_size_survives_being_written(size: int) -> None:
    text = size_text(size)
    assert (int(text) if text.isdigit() else parse_size(text)) == size


ENV = {"NAME": "value", "EMPTY": "", "DOLLAR": "${NAME}"}


@rows(
    [
        Case("a name", "a${NAME}b", "avalueb"),
        Case("two names", "${NAME}${NAME}", "valuevalue"),
        Case("a default that is not needed", "${NAME:-x}", "value"),
        Case("a default for an unset name", "${NOPE:-x:y}", "x:y"),
        Case("an empty default", "${NOPE:-}", ""),
        Case("a default for an empty name, as in a shell", "${EMPTY:-x}", "x"),
        Case("an empty name is set", "${EMPTY}", ""),
        Case("an unset name", "${NOPE}", "env-unset"),
        Case("two dollars are one", "$${NAME}", "${NAME}"),
        Case("a lone dollar stays, for regular expressions", r"^/a$", r"^/a$"),
        Case("a dollar and a name stay", "$NAME", "$NAME"),
        Case("what comes out is not expanded again", "${DOLLAR}", "${NAME}"),
        Case("no name", "${}", "env-syntax"),
        Case("a name with a space", "${A B}", "env-syntax"),
        Case("another operator of shells", "${NAME:?x}", "env-syntax"),
        Case("never closed", "${NAME", "env-syntax"),
    ]
)
def test_expand(case: Case) -> None:
    assert outcome(expand(case.given, ENV)) == case.expected


@rows(
    [
        Case("null", "~", None),
        Case("nothing", "", None),
        Case("on is true", "on", True),
        Case("No is false", "No", False),
        Case("y is text", "y", "y"),
        Case("a number", "-12", -12),
        Case("a fraction", "0.5", 0.5),
        Case("an exponent is text", "1e3", "1e3"),
        Case("a version is text", "1.2.3", "1.2.3"),
        Case("a number too long to be meant", "1" * 40, "1" * 40),
    ]
)
def test_scalar(case: Case) -> None:
    value = resolve(case.given)
    assert (value, type(value)) == (case.expected, type(case.expected))


@rows(
    [
        Case("octal", "010", "yaml-octal"),
        Case("octal of YAML 1.2", "0o17", "yaml-octal"),
        Case("a leading zero that is no octal digit", "09", "yaml-octal"),
        Case("zero alone", "0", None),
        Case("a port mapping", "22:22", "yaml-base-60"),
        Case("a listen address with a high port", "80:8080", None),
        Case("an IPv6 address", "::1", None),
        Case("a date", "2024-01-31", "yaml-date"),
        Case("a time stamp", "2024-01-31T10:00:00Z", "yaml-date"),
        Case("a name that starts like a date", "2024-01-31-web", None),
        Case("hexadecimal", "0xFF", "yaml-number"),
        Case("underscores", "1_000", "yaml-number"),
        Case("infinity", ".inf", "yaml-number"),
        Case("text", "legacy", None),
    ]
)
def test_trap(case: Case) -> None:
    trap = trap_in(case.given)
    assert (trap and trap.code) == case.expected


@rows(
    [
        Case("host and port", "127.0.0.1:8080", Address("127.0.0.1", 8080)),
        Case("any free port", "localhost:0", Address("localhost", 0)),
        Case("IPv6 in brackets, compressed", "[0:0::1]:80", Address("::1", 80)),
        Case("every IPv6 address", "[::]:80", Address("::", 80)),
        Case("a Unix socket", "unix:/run/a.sock", Address(path="/run/a.sock")),
        Case("a Unix socket as a URL", "unix:///run/a.sock", Address(path="/run/a.sock")),
        Case("a socket path longer than the system takes", "unix:/" + "x" * 120, "bad-address"),
        Case("no host", ":8080", "bad-address"),
        Case("no port", "localhost", "bad-address"),
        Case("IPv6 without brackets", "::1:8080", "bad-address"),
        Case("a zone", "[fe80::1%eth0]:80", "bad-host"),
        Case("a port too high", "a:65536", "bad-port"),
        Case("digits of another script", "a:８０", "bad-port"),
        Case("four numbers, one too large", "1.2.3.256:80", "bad-host"),
        Case("a name that ends in a number", "a.1:80", "bad-host"),
        Case("an empty label", "a..b:80", "bad-host"),
        Case("a trailing newline", "localhost:80\n", "bad-port"),
    ]
)
def test_listen(case: Case) -> None:
    assert outcome(parse_listen(case.given)) == case.expected


@rows(
    [
        Case("the scheme's port", "http://api", (Endpoint("http", "api", 80), b"")),
        Case("TLS", "https://api", (Endpoint("https", "api", 443), b"")),
        Case("upper case", "HTTP://API.Example:81/", (Endpoint("http", "api.example", 81), b"")),
        Case("a base path without its last slash", "http://a/v1/", (Endpoint("http", "a", 80), b"/v1")),
        Case(
            "names of containers have underscores", "http://my_api:80", (Endpoint("http", "my_api", 80), b"")
        ),
        Case("a socket", "http+unix:///run/a", (Endpoint("http", "", 0, "/run/a"), b"")),
        Case("no host", "http:///x", "bad-host"),
        Case("an empty port", "http://a:/x", "bad-port"),
        Case("one slash", "http:/a", "bad-upstream-url"),
        Case("half an escape", "http://a/%4", "bad-upstream-url"),
        Case("a space", "http://a/b c", "bad-upstream-url"),
        Case("a control character", "http://a\x00", "bad-upstream-url"),
        Case("a password", "http://u:p@a", "bad-upstream-url"),
    ]
)
def test_endpoint(case: Case) -> None:
    assert outcome(parse_endpoint(case.given)) == case.expected


def test_a_password_is_never_shown() -> None:
    for url in (
        "http://u:secret@a",
        "htp://u:secret@a",
        "http://u:secret@a/ b",
        "http://u:secret@a?b",
        "u:secret@a",
    ):
        mistake = parse_endpoint(url)
        assert isinstance(mistake, Mistake)
        assert "secret" not in mistake.message + mistake.remedy


@rows(
    [
        Case("a name", "API.example.com", b"api.example.com"),
        Case("every name under one", "*.example.com", b"*.example.com"),
        Case("IPv6 as Host writes it", "[::1]", b"[::1]"),
        Case("a star in the middle", "a.*.com", "bad-host"),
        Case("half a label", "*api.example.com", "bad-host"),
        Case("a star alone", "*", "bad-host"),
        Case("a port", "example.com:80", "bad-host"),
        Case("a final dot", "example.com.", "bad-host"),
    ]
)
def test_host_pattern(case: Case) -> None:
    assert outcome(parse_host_pattern(case.given)) == case.expected


@rows(
    [
        Case("a network", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        Case("an address", "::1", (ip_network("::1/128"),)),
        Case("the word", "private", PRIVATE),
        Case("bits beyond the mask", "10.0.0.1/8", "bad-network"),
        Case("a name", "proxy.local", "bad-network"),
    ]
)
def test_network(case: Case) -> None:
    assert outcome(parse_network(case.given)) == case.expected


@rows(
    [
        Case("plain", "/api/v1", b"/api/v1"),
        Case("unreserved characters are decoded", "/%61pi", b"/api"),
        Case("the other escapes are in upper case", "/a%c3%a9", b"/a%C3%A9"),
        Case("an escaped slash", "/a%2fb", "bad-path"),
        Case("dot segments", "/a/./b", "bad-path"),
        Case("doubled slashes", "//a", "bad-path"),
        Case("a back slash", "/a\\b", "bad-path"),
        Case("no slash", "api", "bad-path"),
        Case("nothing", "", "bad-path"),
    ]
)
def test_path(case: Case) -> None:
    assert outcome(parse_path(case.given)) == case.expected


@rows(
    [
        Case("a usual one", r"/v\d+/.*", None),
        Case("segments between slashes", r"/users/[^/]+/orders/[^/]+", None),
        Case("alternatives", r"/(?:a|b)/c", None),
        Case("nested repeats", r"/(a+)+", "unbounded-regex"),
        Case("two open repeats", r"/(.*)\.(.*)z", "unbounded-regex"),
        Case("two with a slash that either takes", r"/.*/.*/edit", "unbounded-regex"),
        Case("two with a slash between", r"/[^/]+/[^/]+/edit/.*", None),
        Case("one before an end", r"/.*\.json", None),
        Case("alternatives in upper case", r"/(A|A)*b", "unbounded-regex"),
        Case("alternatives with percent-encoding", r"/(%41|%41)*b", "unbounded-regex"),
        Case("alternatives that only odd bytes share", r"/(\W|[^\x00-\x7f])*b", "unbounded-regex"),
        Case("a look-ahead", r"/(?!x).*", "unbounded-regex"),
        Case("never closed", r"/(", "bad-regex"),
        Case("a count beyond reason", r"/a{99999999999}", "bad-regex"),
        Case("groups too deep", "(" * 500 + ")" * 500, "bad-regex"),
        Case("too long", "/" + "a" * 1024, "bad-regex"),
        Case("letters outside ASCII", "/é", "bad-regex"),
        Case("no slash at the front", r"v\d", "regex-never-matches"),
    ]
)
def test_path_regex(case: Case) -> None:
    value = parse_path_regex(case.given)
    assert (value.code if isinstance(value, Mistake) else None) == case.expected


class Cover(NamedTuple):
    says: str
    first: Match
    second: Match
    covers: bool


GET = frozenset({b"GET"})
COVERS = [
    Cover("any covers all", Match(), Match(b"/a", hosts=(b"x",), methods=GET), True),
    Cover("a prefix covers what is under it", Match(b"/a"), Match(b"/a/b"), True),
    Cover("a prefix ends at a segment", Match(b"/a"), Match(b"/ab"), False),
    Cover("a prefix covers an exact path", Match(b"/a"), Match(path_exact=b"/a/b"), True),
    Cover("an exact path covers itself", Match(path_exact=b"/a"), Match(path_exact=b"/a"), True),
    Cover("an exact path covers no prefix", Match(path_exact=b"/a"), Match(b"/a"), False),
    Cover(
        "a regex covers an exact path it matches",
        Match(path_regex=re.compile(b"/a.*")),
        Match(path_exact=b"/ab"),
        True,
    ),
    Cover(
        "a regex covers its twin",
        Match(path_regex=re.compile(b"/a")),
        Match(path_regex=re.compile(b"/a")),
        True,
    ),
    Cover(
        "of two other regexes nothing is certain",
        Match(path_regex=re.compile(b"/.*")),
        Match(path_regex=re.compile(b"/a")),
        False,
    ),
    Cover("only / covers a regex", Match(b"/a"), Match(path_regex=re.compile(b"/a/.*")), False),
    Cover("a host covers no other", Match(hosts=(b"a.x",)), Match(hosts=(b"b.x",)), False),
    Cover("a star covers a name under it", Match(hosts=(b"*.x",)), Match(hosts=(b"a.b.x", b"*.c.x")), True),
    Cover("a star covers no apex", Match(hosts=(b"*.x",)), Match(hosts=(b"x",)), False),
    Cover("some hosts do not cover any host", Match(hosts=(b"x",)), Match(), False),
    Cover("one of two hosts is not enough", Match(hosts=(b"x",)), Match(hosts=(b"x", b"y")), False),
    Cover("some methods do not cover any", Match(methods=GET), Match(), False),
    Cover("methods cover fewer", Match(methods=GET | {b"PUT"}), Match(methods=GET), True),
    Cover("a header more to ask for covers less", Match(headers=((b"a", b"1"),)), Match(), False),
    Cover("a header less to ask for covers more", Match(), Match(headers=((b"a", b"1"),)), True),
    Cover("the value counts", Match(headers=((b"a", b"1"),)), Match(headers=((b"a", b"2"),)), False),
]


@pytest.mark.parametrize("case", COVERS, ids=lambda case: case.says)
def test_covers(case: Cover) -> None:
    assert covers(case.first, case.second) is case.covers


def test_words_for_people() -> None:
    assert did_you_mean("ALLOW_ORIGIN", ["allow_origins", "mode"]) == "did you mean 'allow_origins'?"
    assert did_you_mean("zzz", ["allow_origins"]) == ""
    assert quoted("a\x1b[31m" + "x" * 200).startswith("'a\\x1b[31mxxx")
    assert len(quoted("x" * 200)) < 90
    assert printable("é\n\ud800") == "é\\n\\ud800"
    assert [count(1, "policy"), count(2, "policy"), count(0, "route")] == [
        "1 policy",
        "2 policies",
        "0 routes",
    ]


@pytest.mark.parametrize("case", COVERS, ids=lambda case: case.says)
def test_the_index_finds_what_the_comparison_finds(case: Cover) -> None:
    earlier = Earlier()
    earlier.add(0, Match(b"/elsewhere"))
    earlier.add(3, case.first)
    earlier.add(4, case.first)
    assert earlier.find_cover(case.second) == (3 if case.covers else None)
