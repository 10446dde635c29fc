"""The grammar of an origin and the rules that admit one."""

from typing import NamedTuple

import pytest

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.origins import OriginPattern, OriginRule, OriginRules, canonical_ipv6, is_well_formed
from corsproxy.cors.policy import PolicySpec, Written


class Grammar(NamedTuple):
    says: str
    raw: bytes
    well_formed: bool


GRAMMAR = [
    Grammar("scheme and host", b"https://app.example.com", True),
    Grammar("a port that is not the scheme's own", b"https://app.example.com:8443", True),
    Grammar("the null origin", b"null", True),
    Grammar("null is compared with case", b"NULL", False),
    Grammar("a single label", b"http://localhost", True),
    Grammar("an underscore, as browsers send it", b"https://my_app.example.com", True),
    Grammar("punycode", b"https://xn--mnchen-3ya.example", True),
    Grammar("the root label's dot makes another origin, still an origin", b"https://example.com.", True),
    Grammar("an IPv4 address", b"http://127.0.0.1:3000", True),
    Grammar("an IPv4 address with a leading zero", b"http://127.0.0.01", False),
    Grammar("an IPv4 address in short form", b"http://127.1", False),
    Grammar("an IPv4 address in hexadecimal", b"http://127.0.0.0x1", False),
    Grammar("an IPv4 number above 255", b"http://127.0.0.256", False),
    Grammar("an endless number is no address, and costs nothing", b"http://1.1.1." + b"9" * 400, False),
    Grammar("an IPv6 address", b"http://[::1]:3000", True),
    Grammar("an IPv6 address in long form", b"http://[0:0:0:0:0:0:0:1]", False),
    Grammar("an IPv6 address with a mapped part in decimal", b"http://[::ffff:127.0.0.1]", False),
    Grammar("an IPv6 address with a mapped part in hexadecimal", b"http://[::ffff:7f00:1]", True),
    Grammar("an IPv6 address without its bracket", b"http://[::1", False),
    Grammar("an IPv6 zone", b"http://[fe80::1%25eth0]", False),
    Grammar("trap 33: a browser extension", b"moz-extension://1b3f-44", True),
    Grammar("trap 33: an app shell", b"capacitor://localhost", True),
    Grammar("trap 33: an app whose host has a dot", b"app://obsidian.md", True),
    Grammar("trap 33: a scheme with plus, digit and dot", b"web+a.1://x", True),
    Grammar("a scheme that begins with a digit", b"1https://app.example.com", False),
    Grammar("trap 32: upper case in the host", b"https://App.example.com", False),
    Grammar("trap 32: upper case in the scheme", b"HTTPS://app.example.com", False),
    Grammar("trap 32: the default port of https", b"https://app.example.com:443", False),
    Grammar("trap 32: the default port of http", b"http://app.example.com:80", False),
    Grammar("443 on plain http is a port like any other", b"http://app.example.com:443", True),
    Grammar("trap 32: a trailing slash", b"https://app.example.com/", False),
    Grammar("trap 32: letters outside ASCII", "https://münchen.example".encode(), False),
    Grammar("port zero", b"https://app.example.com:0", True),
    Grammar("the highest port", b"https://app.example.com:65535", True),
    Grammar("a port above it", b"https://app.example.com:65536", False),
    Grammar("a port with a leading zero", b"https://app.example.com:08443", False),
    Grammar("a colon without a port", b"https://app.example.com:", False),
    Grammar("a user name", b"https://user@app.example.com", False),
    Grammar("a path", b"https://app.example.com/x", False),
    Grammar("a query", b"https://app.example.com?x", False),
    Grammar("an empty label", b"https://app..example.com", False),
    Grammar("no host", b"https://", False),
    Grammar("a file, which has no host", b"file://", False),
    Grammar("no scheme", b"app.example.com", False),
    Grammar("nothing", b"", False),
    Grammar("trap 30: two origins in one field", b"https://a.example, https://b.example", False),
    Grammar("two origins as an old draft allowed", b"https://a.example https://b.example", False),
    Grammar("a space before it", b" https://app.example.com", False),
    Grammar("a line feed after it", b"https://app.example.com\n", False),
    Grammar("a NUL", b"https://app.example.com\x00", False),
    Grammar("a backtick host, as scanners try", b"https://app.example.com`.evil.test", False),
    Grammar("trap 46: 512 bytes", b"https://" + b"a" * 504, True),
    Grammar("trap 46: 513 bytes", b"https://" + b"a" * 505, False),
]


@pytest.mark.parametrize("case", GRAMMAR, ids=lambda case: case.says)
def test_grammar(case: Grammar) -> None:
    assert is_well_formed(case.raw) is case.well_formed


IPV6 = [
    ("[::]", "[::]"),
    ("[0:0:0:0:0:0:0:1]", "[::1]"),
    ("[2001:DB8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]"),  # of two runs alike the first is compressed
    ("[1:0:3:4:5:6:7:8]", "[1:0:3:4:5:6:7:8]"),  # one zero alone is not
    ("[1:0:0:4:0:0:0:8]", "[1:0:0:4::8]"),
    ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
]


@pytest.mark.parametrize(("written", "canonical"), IPV6)
def test_an_ipv6_address_has_one_spelling(written: str, canonical: str) -> None:
    assert canonical_ipv6(written.encode()) == canonical.encode()


class Find(NamedTuple):
    says: str
    entries: list[str]
    origin: bytes
    by: str | None  # the entry that admits it


APP = "https://app.example.com"
SUB = "https://*.example.com"
LOCAL = "http://localhost:*"

FIND = [
    Find("the very origin", [APP], b"https://app.example.com", APP),
    Find("the scheme counts", [APP], b"http://app.example.com", None),
    Find("the port counts", [APP], b"https://app.example.com:8443", None),
    Find("the port is the rule's own", [APP + ":8443"], b"https://app.example.com:8443", APP + ":8443"),
    Find("one label", [SUB], b"https://app.example.com", SUB),
    Find("several labels", [SUB], b"https://a.b.c.example.com", SUB),
    Find("never the apex", [SUB], b"https://example.com", None),
    Find("trap 3: no suffix without a label boundary", [SUB], b"https://evil-example.com", None),
    Find(
        "trap 3: a sibling in one tree",
        ["https://*.foo.com", "https://*.bar.com"],
        b"https://barfoo.com",
        None,
    ),
    Find("a pattern's host in front of another", [SUB], b"https://app.example.com.evil.test", None),
    Find("a pattern keeps its scheme", [SUB], b"http://app.example.com", None),
    Find("a pattern keeps its port", [SUB], b"https://app.example.com:8443", None),
    Find("a pattern with a port", [SUB + ":8443"], b"https://app.example.com:8443", SUB + ":8443"),
    Find("a pattern with a port, on another", [SUB + ":8443"], b"https://app.example.com", None),
    Find("labels and port both open", [SUB + ":*"], b"https://a.b.example.com:1", SUB + ":*"),
    Find("labels and port both open, not the apex", [SUB + ":*"], b"https://example.com:1", None),
    Find("trap 5: any port, but this host", [LOCAL], b"http://localhost.evil.test:80", None),
    Find("any port", [LOCAL], b"http://localhost:5173", LOCAL),
    Find("any port has the default one among them", [LOCAL], b"http://localhost", LOCAL),
    Find("any port of an IPv6 address", ["http://[::1]:*"], b"http://[::1]:5173", "http://[::1]:*"),
    Find("trap 8: null needs its rule", [APP, SUB, "@loopback"], b"null", None),
    Find("trap 8: null by its rule", [APP, "null"], b"null", "null"),
    Find("loopback by name", ["@loopback"], b"http://localhost:3000", "@loopback"),
    Find("loopback with TLS", ["@loopback"], b"https://localhost", "@loopback"),
    Find("loopback below localhost", ["@loopback"], b"http://shop.localhost:3000", "@loopback"),
    Find("loopback by IPv4", ["@loopback"], b"http://127.0.0.1:8000", "@loopback"),
    Find("loopback by IPv6", ["@loopback"], b"https://[::1]", "@loopback"),
    Find("loopback is no prefix", ["@loopback"], b"http://localhost.evil.test", None),
    Find("loopback is no suffix", ["@loopback"], b"http://evillocalhost", None),
    Find("loopback is not every scheme", ["@loopback"], b"ftp://localhost", None),
    Find(
        "trap 33: an app shell", ["capacitor://localhost"], b"capacitor://localhost", "capacitor://localhost"
    ),
    Find(
        "trap 32: an entry in upper case",
        ["HTTPS://App.Example.com:443"],
        b"https://app.example.com",
        "HTTPS://App.Example.com:443",
    ),
    Find("trap 29: an empty list admits nobody", [], b"https://app.example.com", None),
    Find("the exact rule is named before the pattern", [SUB, APP], b"https://app.example.com", APP),
    Find(
        "the closest pattern is named",
        ["https://*.com.example", "https://*.a.com.example"],
        b"https://x.a.com.example",
        "https://*.a.com.example",
    ),
]


@pytest.mark.parametrize("case", FIND, ids=lambda case: case.says)
def test_find(case: Find) -> None:
    policy, _ = compile_policy(PolicySpec("p", allow_origins=tuple(map(Written, case.entries))))
    assert policy is not None
    rule = policy.origins.find(case.origin)
    assert (rule and rule.text) == case.by


REGEX = [
    Find(
        "the whole origin",
        [r"https://app\.example\.com"],
        b"https://app.example.com",
        r"https://app\.example\.com",
    ),
    Find(
        "trap 1: no prefix match", [r"https://app\.example\.com"], b"https://app.example.com.evil.test", None
    ),
    Find(
        "trap 2: alternatives are anchored one and all",
        [r"https://a\.example|https://b\.example"],
        b"https://a.example.evil.test",
        None,
    ),
    Find(
        "anchors may be written",
        [r"^https://app\.example\.com$"],
        b"https://app.example.com",
        r"^https://app\.example\.com$",
    ),
    Find(
        "a malformed origin never reaches it",
        [r"https://app\.example\.com:\d+"],
        b"https://app.example.com:443",
        None,
    ),
    Find("null is no origin that a regex admits", [r"https://app\.example\.com|null"], b"null", None),
    Find(
        "in their order",
        [r"https://b\.example", r"https://[ab]\.example"],
        b"https://b.example",
        r"https://b\.example",
    ),
]


@pytest.mark.parametrize("case", REGEX, ids=lambda case: case.says)
def test_find_by_regex(case: Find) -> None:
    policy, hazards = compile_policy(PolicySpec("p", allow_origin_regex=tuple(map(Written, case.entries))))
    assert policy is not None, hazards
    rule = policy.origins.find(case.origin)
    assert (rule and rule.text) == case.by


def test_a_rule_keeps_its_place_in_the_file() -> None:
    written = Written(APP, where=("policies", "web", "allow_origins", 0), line=7)
    policy, _ = compile_policy(PolicySpec("p", allow_origins=(written,)))
    assert policy is not None
    assert policy.origins.find(APP.encode()) == OriginRule(APP, 7, written.where)


def test_of_two_equal_rules_the_first_is_named() -> None:
    pattern = OriginPattern(b"https", b"example.com", subdomains=True)
    rules = OriginRules([(pattern, OriginRule("first")), (pattern, OriginRule("second"))])
    assert rules.find(b"https://a.example.com") == OriginRule("first")
