"""Hosts and ports, and what is none."""

import pytest

from corsproxy.http.authority import is_authority

GOOD = [
    *(b"a", b"a.test", b"A_b.test.", b"127.0.0.1", b"xn--bcher-kva.test", b"a~!$&'()*+,;=-"),
    *(
        b"a:",
        b"a:0",
        b"a:80",
        b"a:00080",
        b"a:9999",
        b"a:59999",
        b"a:60000",
        b"a:65499",
        b"a:65529",
        b"a:65535",
    ),
    *(b"[::1]", b"[::1]:80", b"[2001:DB8::1]", b"[::ffff:127.0.0.1]", b"[::]:"),
]
BAD = [
    *(
        b"",
        b":80",
        b"a b",
        b"a/",
        b"a?",
        b"a#",
        b"a@b",
        b"user:pass@b",
        b"a\\b",
        b"a%41",
        b"\xff",
        b"<a>",
        b'a"',
    ),
    *(
        b"a:b",
        b"a:80:80",
        b"a:-1",
        b"a:+1",
        b"a:65536",
        b"a:65540",
        b"a:66000",
        b"a:70000",
        b"a:99999",
        b"a:000080",
    ),
    *(
        b"::1",
        b"[]",
        b"[::1",
        b"::1]",
        b"[1]",
        b"[a]",
        b"[:::]",
        b"[1.2.3.4]",
        b"[::1]a",
        b"[v1.a]",
        b"[::1%eth0]",
    ),
    *(b"a\n", b"a:80\n", b"[::1]\n"),
]


@pytest.mark.parametrize("text", GOOD, ids=repr)
def test_an_authority(text: bytes) -> None:
    assert is_authority(text)


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_no_authority(text: bytes) -> None:
    assert not is_authority(text)


def test_every_port() -> None:
    assert [port for port in range(100_000) if is_authority(b"a:%d" % port)] == list(range(65_536))
