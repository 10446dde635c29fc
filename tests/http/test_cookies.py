"""Set-Cookie lines under each rule; what no rule speaks of stays byte for byte."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.cookies import CookieRules, rewrite_cookie

MOVED = CookieRules(base_path=b"/v1", prefix=b"/api")
BASE = CookieRules(base_path=b"/v1/app")
PREFIX = CookieRules(prefix=b"/api")
NO_DOMAIN = CookieRules(domain=b"")
DOMAIN = CookieRules(domain=b"example.com")
ADD = CookieRules(secure="add")
DROP = CookieRules(secure="drop")
STRICT = CookieRules(same_site="strict")
LAX = CookieRules(same_site="lax")
NONE = CookieRules(same_site="none")
NO_SAME_SITE = CookieRules(same_site="drop")
LOCAL = CookieRules(domain=b"", prefix=b"/api", secure="drop")


class Case(NamedTuple):
    says: str
    line: bytes
    rules: CookieRules
    after: bytes | None  # None = as it was


CASES = [
    # Domain
    Case("Domain goes", b"a=1; Domain=legacy.test; Path=/", NO_DOMAIN, b"a=1; Path=/"),
    Case("Domain goes, in any case and place", b"a=1; Path=/;DOMAIN=.legacy.test", NO_DOMAIN, b"a=1; Path=/"),
    Case("a repeated Domain goes", b"a=1; domain=x.test; domain=y.test", NO_DOMAIN, b"a=1"),
    Case(
        "Domain is replaced", b"a=1; Domain=legacy.test; Secure", DOMAIN, b"a=1; Domain=example.com; Secure"
    ),
    Case(
        "Domain is replaced where it stood, as spaced",
        b"a=1;domain = x ; b",
        DOMAIN,
        b"a=1;domain = example.com ; b",
    ),
    Case(
        "a repeated Domain is replaced everywhere",
        b"a=1; Domain=x; Domain=y",
        DOMAIN,
        b"a=1; Domain=example.com; Domain=example.com",
    ),
    Case("an empty Domain is written", b"a=1; Domain=", DOMAIN, b"a=1; Domain=example.com"),
    Case("no Domain is added: more hosts would see it", b"a=1; Path=/", DOMAIN, None),
    Case("Domain in the value is none", b"Domain=legacy.test", NO_DOMAIN, None),
    Case("Domain in another value is none", b"a=domain; x=Domain=y", NO_DOMAIN, None),
    # Path
    Case("the base path becomes the prefix", b"a=1; Path=/v1/x", MOVED, b"a=1; Path=/api/x"),
    Case("the base path itself", b"a=1; Path=/v1", MOVED, b"a=1; Path=/api"),
    Case("the base path with a slash", b"a=1; Path=/v1/", MOVED, b"a=1; Path=/api"),
    Case("the root covers the whole route", b"a=1; Path=/", MOVED, b"a=1; Path=/api"),
    Case("a folder above the base path does too", b"a=1; Path=/v1", BASE, b"a=1; Path=/"),
    Case("a path beside the base path", b"a=1; Path=/v2", MOVED, None),
    Case("a path that begins like the base path", b"a=1; Path=/v10", MOVED, None),
    Case("a prefix alone", b"a=1; Path=/x; HttpOnly", PREFIX, b"a=1; Path=/api/x; HttpOnly"),
    Case("a prefix before the root", b"a=1; path=/", PREFIX, b"a=1; path=/api"),
    Case("spaces around the path", b"a=1; Path = /x ; b", PREFIX, b"a=1; Path = /api/x ; b"),
    Case("without Path the browser takes the request's", b"a=1", PREFIX, None),
    Case("so with an empty one", b"a=1; Path=", PREFIX, None),
    Case("so with none at all", b"a=1; Path ; HttpOnly", PREFIX, None),
    Case("so with a relative one", b"a=1; Path=x", PREFIX, None),
    Case("a name like Path is none", b"a=1; Pathology=/x", PREFIX, None),
    # Secure
    Case("Secure is added", b"a=1; Path=/", ADD, b"a=1; Path=/; Secure"),
    Case("Secure is not added twice", b"a=1; secure; Path=/", ADD, None),
    Case("a value of Secure is ignored by browsers", b"a=1; Secure=false", ADD, None),
    Case("a cookie called Secure has none", b"Secure", ADD, b"Secure; Secure"),
    Case("Secure goes", b"a=1; Path=/; Secure; HttpOnly", DROP, b"a=1; Path=/; HttpOnly"),
    Case("Partitioned needs Secure", b"a=1; Secure; Partitioned", DROP, b"a=1"),
    Case("SameSite=None needs Secure", b"a=1; SameSite=None; Secure", DROP, b"a=1; SameSite=Lax"),
    Case("in any case", b"a=1; Secure;samesite=NONE", DROP, b"a=1;samesite=Lax"),
    Case("SameSite=Strict does not", b"a=1; SameSite=Strict; Secure", DROP, b"a=1; SameSite=Strict"),
    Case("Partitioned stays with Secure", b"a=1; Secure; Partitioned", ADD, None),
    # SameSite
    Case("SameSite is replaced", b"a=1; SameSite=None; Secure", STRICT, b"a=1; SameSite=Strict; Secure"),
    Case("SameSite is added", b"a=1", LAX, b"a=1; SameSite=Lax"),
    Case("SameSite without a value", b"a=1; SameSite; b", LAX, b"a=1; SameSite=Lax; b"),
    Case("SameSite goes", b"a=1; SameSite=Lax; Secure", NO_SAME_SITE, b"a=1; Secure"),
    Case("None beside Secure", b"a=1; Secure", NONE, b"a=1; Secure; SameSite=None"),
    Case("None without Secure would lose the cookie", b"a=1; SameSite=Lax", NONE, None),
    Case(
        "None with Secure added",
        b"a=1; SameSite=Lax",
        CookieRules(secure="add", same_site="none"),
        b"a=1; SameSite=None; Secure",
    ),
    Case(
        "a word for SameSite wins over Lax",
        b"a=1; SameSite=None; Secure",
        CookieRules(secure="drop", same_site="strict"),
        b"a=1; SameSite=Strict",
    ),
    # Names that promise
    Case("__Host- keeps its path", b"__Host-a=1; Path=/; Secure", MOVED, None),
    Case("__Host- keeps Secure", b"__Host-a=1; Path=/; Secure", DROP, None),
    Case("__Host- never has a Domain", b"__Host-a=1; Path=/; Secure", DOMAIN, None),
    Case("__Host- with all at once", b"__Host-a=1; Path=/; Secure; SameSite=None; Partitioned", LOCAL, None),
    Case(
        "__Host- takes a SameSite",
        b"__Host-a=1; Path=/; Secure",
        STRICT,
        b"__Host-a=1; Path=/; Secure; SameSite=Strict",
    ),
    Case("__Host- in any case", b"__HOST-a=1; Path=/; Secure", LOCAL, None),
    Case("__Host-Http- is one too", b"__Host-Http-a=1; Path=/; Secure; HttpOnly", LOCAL, None),
    Case("__Secure- keeps Secure", b"__Secure-a=1; Secure; SameSite=None", DROP, None),
    Case(
        "__Secure- moves its path", b"__Secure-a=1; Path=/; Secure", LOCAL, b"__Secure-a=1; Path=/api; Secure"
    ),
    Case("__Secure- loses its Domain", b"__Secure-a=1; Domain=x; Secure", LOCAL, b"__Secure-a=1; Secure"),
    Case("__Http- keeps Secure", b"__Http-a=1; Secure; HttpOnly", DROP, None),
    Case("__Hostess is no promise", b"__Hostess=1; Path=/; Secure", LOCAL, b"__Hostess=1; Path=/api"),
    # Odd lines
    Case("no rules", b"a=1; Domain=x; Path=/; Secure; SameSite=None", CookieRules(), None),
    Case(
        "all at once",
        b"a=1; Domain=x; Path=/; Secure; SameSite=None; Max-Age=5",
        LOCAL,
        b"a=1; Path=/api; SameSite=Lax; Max-Age=5",
    ),
    Case("a quoted value ends at a semicolon all the same", b'a="x; Secure"; Path=/', DROP, None),
    Case("empty attributes stay", b"a=1;; ;Path=/", PREFIX, b"a=1;; ;Path=/api"),
    Case(
        "a comma in a date",
        b"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/",
        PREFIX,
        b"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/api",
    ),
    Case("raw bytes", b"a=\xe9\xff; Path=/", PREFIX, b"a=\xe9\xff; Path=/api"),
    Case("an empty line", b"", LOCAL, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_cookie(case: Case) -> None:
    assert rewrite_cookie(case.line, case.rules) == (case.line if case.after is None else case.after)


RULES = st.builds(
    CookieRules,
    domain=st.sampled_from([None, b"", b"example.com"]),
    base_path=st.sampled_from([b"", b"/v1"]),
    prefix=st.sampled_from([b"", b"/api"]),
    secure=st.sampled_from(["keep", "add", "drop"]),
    same_site=st.sampled_from(["keep", "strict", "lax", "none", "drop"]),
)
NAMES = st.sampled_from([b"a=1", b"__Host-a=1", b"__secure-a=", b"=x", b""])
ATTRIBUTES = st.lists(
    st.sampled_from(
        [
            b" Secure",
            b"secure",
            b" Partitioned",
            b" SameSite=None",
            b" samesite = none ",
            b" SameSite=Lax",
            b" Path=/",
            b" Path=/v1/x",
            b" Domain=x.test",
            b" Max-Age=5",
            b" HttpOnly",
            b"",
        ]
    ),
    max_size=6,
)
OURS = {"domain", "path", "secure", "samesite", "partitioned"}


def attributes(line: bytes) -> list[tuple[str, str]]:
    """The attributes of a line as a browser reads them (RFC 6265 §5.2)."""
    read = []
    for part in line.decode("latin-1").split(";")[1:]:
        name, _, value = part.partition("=")
        read.append((name.strip(" \t").lower(), value.strip(" \t").lower()))
    return read


def is_kept(line: bytes) -> bool:
    """Whether a browser keeps the cookie, by the rules that its attributes must meet together."""
    name = line.partition(b"=")[0].strip().lower()
    last = dict(attributes(line))
    secure = "secure" in last
    if not secure and (last.get("samesite") == "none" or "partitioned" in last):
        return False
    if name.startswith(b"__host-"):
        return secure and last.get("path") == "/" and "domain" not in last
    return secure or not name.startswith(b"__secure-")


@given(name=NAMES, parts=ATTRIBUTES, rules=RULES)
def test_no_rule_loses_a_cookie(name: bytes, parts: list[bytes], rules: CookieRules) -> None:
    line = b";".join([name, *parts])
    if is_kept(line):
        assert is_kept(rewrite_cookie(line, rules))


@given(name=NAMES, parts=ATTRIBUTES, rules=RULES)
def test_what_is_not_ours_keeps_its_bytes_and_order(
    name: bytes, parts: list[bytes], rules: CookieRules
) -> None:
    def others(line: bytes) -> list[bytes]:
        first, *rest = line.split(b";")
        return [first, *(p for p in rest if p.partition(b"=")[0].strip().lower().decode() not in OURS)]

    line = b";".join([name, *parts])
    after = rewrite_cookie(line, rules)
    assert others(after) == others(line)
    assert rewrite_cookie(line, CookieRules()) == line
