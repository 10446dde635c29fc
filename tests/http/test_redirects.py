"""URLs that point at the upstream come back to the proxy; every other byte stays."""

from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.redirects import (
    Place,
    RedirectMap,
    bring_back,
    bring_back_refresh,
    public_path,
    without_default_port,
)

HTTP = frozenset({b"http"})
PLAIN = RedirectMap(HTTP, frozenset({b"legacy:9000", b"other:9000"}))
PORT_80 = RedirectMap(HTTP, frozenset({b"legacy"}))
TLS = RedirectMap(frozenset({b"https"}), frozenset({b"legacy"}))
MOVED = RedirectMap(HTTP, frozenset({b"legacy:9000"}), base_path=b"/v1", prefix=b"/api")
BASE = RedirectMap(HTTP, frozenset({b"legacy:9000"}), base_path=b"/v1")
PREFIX = RedirectMap(HTTP, frozenset({b"legacy:9000"}), prefix=b"/api")
SOCKET = RedirectMap(HTTP, frozenset({b"localhost"}))
IPV6 = RedirectMap(HTTP, frozenset({b"[::1]:9000"}))
PRESERVED = RedirectMap(HTTP, frozenset({b"legacy:9000"}), keeps_host=True, prefix=b"/api")

HERE = Place(b"https", b"app.example.com", b"app.example.com")
LOCAL = Place(b"http", b"localhost:8080", b"localhost:8080")
INSIDE = Place(b"https", b"app.example.com", b"proxy.internal")  # behind a trusted proxy
NOWHERE = Place(b"http", b"", b"")
POISONED = Place(b"https", b"evil.example/\r\nX: y", b"proxy.internal")


class Case(NamedTuple):
    says: str
    url: bytes
    comes_back: bytes | None  # None = as it was
    mapping: RedirectMap = PLAIN
    place: Place = HERE


CASES = [
    # Absolute
    Case("the upstream's own", b"http://legacy:9000/a?b#c", b"https://app.example.com/a?b#c"),
    Case("another endpoint of it", b"http://other:9000/", b"https://app.example.com/"),
    Case("the client's port comes too", b"http://legacy:9000/a", b"http://localhost:8080/a", PLAIN, LOCAL),
    Case("scheme and host in any case", b"HTTP://Legacy:9000/A", b"https://app.example.com/A"),
    Case("without a path", b"http://legacy:9000", b"https://app.example.com/"),
    Case("a query and no path", b"http://legacy:9000?a=b", b"https://app.example.com/?a=b"),
    Case("a fragment and no path", b"http://legacy:9000#a", b"https://app.example.com/#a"),
    Case("the default port left out", b"http://legacy/a", b"https://app.example.com/a", PORT_80),
    Case("the default port written", b"http://legacy:80/a", b"https://app.example.com/a", PORT_80),
    Case("an empty port", b"http://legacy:/a", b"https://app.example.com/a", PORT_80),
    Case("the default port of https", b"https://legacy:443/a", b"https://app.example.com/a", TLS),
    Case("an IPv6 address", b"http://[::1]:9000/a", b"https://app.example.com/a", IPV6),
    Case(
        "a Unix socket is told that it is localhost",
        b"http://localhost/a",
        b"https://app.example.com/a",
        SOCKET,
    ),
    Case("the client's scheme, by X-Forwarded-Proto", b"https://legacy:9000/a", b"https://app.example.com/a"),
    Case("a move to https that the proxy does not offer", b"https://legacy:9000/a", None, PLAIN, LOCAL),
    Case("the default port of the other scheme", b"http://legacy:443/a", None, TLS, LOCAL),
    Case("raw bytes", b"http://legacy:9000/caf\xe9 x?\xff", b"https://app.example.com/caf\xe9 x?\xff"),
    Case("a tab in the query", b"http://legacy:9000/a?b\tc", b"https://app.example.com/a?b\tc"),
    # Other hosts
    Case("another host", b"http://login.example/a", None),
    Case("another port", b"http://legacy:9001/a", None),
    Case("no port where there is one", b"http://legacy/a", None),
    Case("the upstream as a subdomain", b"http://legacy:9000.evil.example/", None),
    Case("the upstream in a path", b"http://evil.example/http://legacy:9000/", None),
    Case("the proxy itself", b"https://app.example.com/a", None),
    Case("another scheme", b"ftp://legacy:9000/a", None),
    Case("an app's own scheme", b"legacy:9000/a", None),
    Case("userinfo", b"http://user@legacy:9000/a", None),
    Case("userinfo with a password", b"http://user:pass@legacy:9000/a", None),
    Case("userinfo that looks like the upstream", b"http://legacy:9000@evil.example/", None),
    Case("a backslash that browsers read as a slash", b"http://legacy:9000\\@evil.example/", None),
    Case("a tab that browsers skip", b"ht\ttp://legacy:9000/", None),
    Case("a tab in the host", b"http://legacy\t:9000/", None),
    Case("no slashes", b"http:legacy:9000/a", None),
    Case("one slash", b"http:/legacy:9000/a", None),
    Case("three slashes", b"http:///legacy:9000/a", None),
    Case("nothing", b"", None),
    # Without a scheme
    Case("scheme-relative stays so", b"//legacy:9000/a?b", b"//app.example.com/a?b"),
    Case("scheme-relative with a default port", b"//legacy:80/a", b"//app.example.com/a", PORT_80),
    Case("scheme-relative of another host", b"//login.example/a", None),
    Case("scheme-relative with userinfo", b"//user@legacy:9000/a", None),
    # Paths
    Case("a path where nothing moves", b"/a?b#c", None),
    Case("the base path comes off", b"/v1/a?b#c", b"/a?b#c", BASE),
    Case("the base path itself", b"/v1", b"/", BASE),
    Case("the base path with a query", b"/v1?a", b"/?a", BASE),
    Case("a path beside the base path", b"/v2/a", None, BASE),
    Case("a path that begins like the base path", b"/v10/a", None, BASE),
    Case("the prefix goes before", b"/a/b", b"/api/a/b", PREFIX),
    Case("the root with a prefix", b"/", b"/api/", PREFIX),
    Case("one off, the other before", b"/v1/a?/v1/", b"/api/a?/v1/", MOVED),
    Case("the base path becomes the prefix", b"/v1", b"/api", MOVED),
    Case(
        "an absolute URL moves as well", b"http://legacy:9000/v1/a", b"https://app.example.com/api/a", MOVED
    ),
    Case("an absolute URL beside the base path", b"http://legacy:9000/v2/a", None, MOVED),
    Case("the root is beside a base path", b"http://legacy:9000", None, MOVED),
    Case("a scheme-relative URL moves as well", b"//legacy:9000/v1/a", b"//app.example.com/api/a", MOVED),
    Case("a path of another host does not move", b"http://login.example/v1/a", None, MOVED),
    Case("a path must not become a host", b"/v1//evil.example/a", None, BASE),
    Case("nor by a backslash", b"/v1/\\evil.example/a", None, BASE),
    Case("nor by a tab", b"/v1/\t/evil.example/a", None, BASE),
    Case("behind a prefix it cannot", b"/v1//evil.example", b"/api//evil.example", MOVED),
    Case("behind a host it cannot", b"http://legacy:9000/v1//a", b"https://app.example.com//a", BASE),
    Case("a relative path", b"a/b", None, PREFIX),
    Case("a path from here up", b"../v1/a", None, MOVED),
    Case("a query alone", b"?page=2", None, PREFIX),
    Case("a fragment alone", b"#top", None, PREFIX),
    # Host as the client sent it
    Case("preserved: its own name", b"http://app.example.com/a", b"https://app.example.com/api/a", PRESERVED),
    Case(
        "preserved: in the client's scheme",
        b"https://app.example.com/a",
        b"https://app.example.com/api/a",
        PRESERVED,
    ),
    Case(
        "preserved: behind a proxy",
        b"http://proxy.internal/a",
        b"https://app.example.com/api/a",
        PRESERVED,
        INSIDE,
    ),
    Case(
        "preserved: with a port", b"http://localhost:8080/a", b"http://localhost:8080/api/a", PRESERVED, LOCAL
    ),
    Case("preserved: another port", b"http://localhost:8081/a", None, PRESERVED, LOCAL),
    Case(
        "preserved: the endpoint's name still counts", b"//legacy:9000/", b"//app.example.com/api/", PRESERVED
    ),
    Case("preserved: another host", b"http://login.example/a", None, PRESERVED),
    # A client that cannot be named
    Case("HTTP/1.0 without Host: the path is enough", b"http://legacy:9000/a?b", b"/a?b", PLAIN, NOWHERE),
    Case("HTTP/1.0 without Host: never a host", b"http://legacy:9000//evil.example/", None, PLAIN, NOWHERE),
    Case("a forwarded host that is none is not used", b"http://legacy:9000/a", b"/a", PLAIN, POISONED),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_location(case: Case) -> None:
    expected = case.url if case.comes_back is None else case.comes_back
    assert bring_back(case.url, case.mapping, case.place) == expected


class Refresh(NamedTuple):
    says: str
    value: bytes
    comes_back: bytes | None


REFRESHES = [
    Refresh("a URL", b"5; url=http://legacy:9000/v1/a", b"5; url=https://app.example.com/api/a"),
    Refresh("in any case, with spaces", b"0 ;  URL = /v1/a", b"0 ;  URL = /api/a"),
    Refresh("in double quotes", b'5; url="/v1/a"', b'5; url="/api/a"'),
    Refresh("in single quotes", b"5;url='/v1/a' ", b"5;url='/api/a' "),
    Refresh("in quotes left open", b'5; url="/v1/a', b'5; url="/api/a'),
    Refresh("behind a comma", b"5, /v1/a", b"5, /api/a"),
    Refresh("behind a space", b"5 url=/v1/a", b"5 url=/api/a"),
    Refresh("without url=", b"5;/v1/a", b"5;/api/a"),
    Refresh("a fraction of a second", b"0.5; url=/v1", b"0.5; url=/api"),
    Refresh("another host", b"5; url=http://login.example/v1/a", None),
    Refresh("no URL", b"5", None),
    Refresh("an empty one", b"5; url=", None),
    Refresh("no time", b"; url=/v1/a", None),
    Refresh("something else", b"soon", None),
]


@pytest.mark.parametrize("case", REFRESHES, ids=lambda case: case.says)
def test_refresh(case: Refresh) -> None:
    expected = case.value if case.comes_back is None else case.comes_back
    assert bring_back_refresh(case.value, MOVED, HERE) == expected


PATHS = [
    (b"/a", b"", b"", b"/a"),
    (b"/v1", b"/v1", b"", b"/"),
    (b"/v1/", b"/v1", b"/api", b"/api/"),
    (b"/v1x", b"/v1", b"/api", None),
    (b"/", b"", b"/api", b"/api/"),
    (b"/", b"/v1", b"/api", None),
]


@pytest.mark.parametrize(("path", "base", "prefix", "public"), PATHS)
def test_where_a_path_is_at_the_proxy(path: bytes, base: bytes, prefix: bytes, public: bytes | None) -> None:
    assert public_path(path, base, prefix) == public


PORTS = [
    (b"http", b"a:80", b"a"),
    (b"http", b"a:443", b"a:443"),
    (b"http", b"a:8080", b"a:8080"),
    (b"https", b"a:443", b"a"),
    (b"https", b"a:4443", b"a:4443"),
    (b"https", b"a:", b"a"),
    (b"http", b"[::80]", b"[::80]"),
    (b"http", b"[::1]:80", b"[::1]"),
]


@pytest.mark.parametrize(("scheme", "authority", "plain"), PORTS)
def test_default_ports(scheme: bytes, authority: bytes, plain: bytes) -> None:
    assert without_default_port(scheme, authority) == plain


PIECES = [
    b"http:",
    b"https:",
    b"//",
    b"/",
    b"\\",
    b"\t",
    b"@",
    b":",
    b"legacy:9000",
    b"evil.example",
    b"v1",
    b"?",
    b"#",
]
MAPPINGS = st.sampled_from([PLAIN, BASE, PREFIX, MOVED, PRESERVED])


@given(
    url=st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
    mapping=MAPPINGS,
    place=st.sampled_from([HERE, LOCAL, NOWHERE, POISONED]),
)
def test_what_is_changed_leads_to_the_proxy_and_nowhere_else(
    url: bytes, mapping: RedirectMap, place: Place
) -> None:
    """No rewriting makes a way to another host: a changed URL has the client's Host, or none at all."""
    after = bring_back(url, mapping, place)
    if after == url:
        return
    parts = urlsplit(after.decode("latin-1"))
    assert parts.netloc in {"", place.host.decode("latin-1")}
    assert parts.netloc or not parts.scheme
    assert not after.startswith((b"//evil", b"///", b"/\\"))
    assert b"\r" not in after


@given(value=st.binary(max_size=40), mapping=MAPPINGS)
def test_any_bytes_are_read_without_harm(value: bytes, mapping: RedirectMap) -> None:
    for bring in (bring_back, bring_back_refresh):
        once = bring(value, mapping, HERE)
        assert isinstance(once, bytes)
        if b"legacy" not in value.lower() and not (mapping.base_path or mapping.prefix):
            assert once == value
