"""Cookies that do not work on localhost, and the words for it. tests/browser asks real browsers the same."""

from typing import NamedTuple

import pytest

from corsproxy.dev.cookie_notes import Visit, why_lost


class Case(NamedTuple):
    says: str
    line: bytes
    why: str = ""
    origin: bytes | None = b"http://localhost:5173"
    host: bytes = b"localhost:8010"
    scheme: bytes = b"http"


SAFARI = "Safari refuses Secure over plain http (Chromium and Firefox keep it on localhost): use --https"

CASES = [
    Case("a plain one", b"sid=1; Path=/; HttpOnly; SameSite=Lax"),
    Case("nothing but a name", b"sid=1"),
    Case("Secure over plain http", b"sid=1; Secure", SAFARI),
    Case("Secure over https", b"sid=1; Secure", scheme=b"https", origin=b"https://localhost:5173"),
    Case("Secure on a name of the network", b"sid=1; Secure", "Secure needs https", None, b"lab.test"),
    Case("None without Secure", b"sid=1; SameSite=None", "SameSite=None needs Secure"),
    Case("Partitioned without Secure", b"sid=1; Partitioned", "Partitioned needs Secure"),
    Case("a promise that is kept", b"__Host-sid=1; Secure; Path=/", SAFARI),
    Case("a promise of Path", b"__Host-sid=1; Secure; Path=/v1", "its name promises Path=/"),
    Case("a promise without Path", b"__host-sid=1; Secure", "its name promises Path=/"),
    Case("a promise of Secure", b"__Secure-sid=1", "its name promises Secure"),
    Case("two promises", b"__Http-sid=1", "its name promises Secure and HttpOnly"),
    Case("all promises", b"__Host-Http-a=1; Domain=localhost",
         "its name promises Secure and HttpOnly and Path=/ and no Domain"),
    Case("another domain", b"sid=1; Domain=api.example.com", "it is for api.example.com, not for localhost"),
    Case("its own domain", b"sid=1; Domain=.lab.test", origin=None, host=b"a.lab.test"),
    Case("the last of two counts", b"sid=1; Domain=x.test; Domain="),
    Case("too long", b"sid=" + b"x" * 4094, "it is longer than 4096 bytes"),
    Case("as long as may be", b"sid=" + b"x" * 4093),
    Case("the page has the other name of this machine", b"sid=1",
         "http://127.0.0.1:5173 and http://localhost:8010 are two sites: call both by the same name",
         b"http://127.0.0.1:5173"),
    Case("the page is https, the proxy is not", b"sid=1; SameSite=Strict",
         "https://localhost:5173 and http://localhost:8010 are two sites, since one is http and the other "
         "https: use the same for both", b"https://localhost:5173"),
    Case("a page of elsewhere", b"sid=1; SameSite=Lax",
         "https://shop.test and http://localhost:8010 are two sites, and this cookie stays within one",
         b"https://shop.test"),
    Case("None goes between sites", b"sid=1; SameSite=None; Secure", scheme=b"https", origin=b"https://shop.test"),
    Case("one that is deleted", b"sid=; SameSite=None; Max-Age=0"),
    Case("an answer to no page", b"sid=1", origin=None),
    Case("a host that is none", b"sid=1", host=b""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_why(case: Case) -> None:
    assert why_lost(case.line, Visit(case.scheme, case.host, case.origin)) == case.why
