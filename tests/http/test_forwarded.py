"""Who asked: the lines for the upstream, and the ones that a client may not send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.forwarded import (
    PRIVATE,
    client_address,
    forwarded_lines,
    is_forwarding_field,
    public_origin,
)

OURS = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-anything",
    b"forwarded",
    b"x-real-ip",
]
NOT_OURS = [b"x-forward", b"via", b"host", b"x-request-id", b"forwarded-for", b"origin", b"x_forwarded_for-x"]


@pytest.mark.parametrize("name", OURS)
def test_only_the_last_trusted_hop_may_say(name: bytes) -> None:
    assert is_forwarding_field(name)


@pytest.mark.parametrize("name", NOT_OURS)
def test_other_fields_cross(name: bytes) -> None:
    assert not is_forwarding_field(name)


@pytest.mark.parametrize(
    ("peer", "tls", "lines"),
    [
        ("192.0.2.1", False, b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"),
        ("2001:db8::1", True, b"X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n"),
        ("", True, b"X-Forwarded-Proto: https\r\n"),
    ],
    ids=["IPv4", "IPv6 over TLS", "a Unix socket has no address"],
)
def test_lines(peer: str, tls: bool, lines: bytes) -> None:
    assert forwarded_lines(peer, tls=tls) == lines


@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=40), st.booleans())
def test_each_line_is_one_line(peer: str, tls: bool) -> None:
    lines = forwarded_lines(peer, tls=tls)
    assert lines.endswith(b"\r\n")
    assert lines.count(b"\r\n") == lines.count(b"\n") == (2 if peer else 1)


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ([b"203.0.113.7", b"10.0.0.3,10.0.0.2"], "203.0.113.7"),
        ([b"2001:db8::7"], "2001:db8::7"),
        ([b"10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ([b"203.0.113.7, <script>, 10.0.0.2"], "10.0.0.2"),
        ([b"unknown"], "10.0.0.1"),
        ([b"fe80::7%eth0, 10.0.0.2"], "fe80::7"),
        ([b'2001:db8::7%x" "GET', b"10.0.0.2"], "2001:db8::7"),
        ([b"203.0.113.7%\x9b2J, 10.0.0.2"], "10.0.0.2"),
        ([b"203.0.113.9:4711, 10.0.0.2:80"], "203.0.113.9"),
        ([b"[2001:db8::1]:443"], "2001:db8::1"),
        ([b"[2001:db8::1], [fd00::2]"], "2001:db8::1"),
        ([b"[fe80::7%eth0]:80, 10.0.0.2"], "fe80::7"),
        ([b"203.0.113.9:port"], "10.0.0.1"),
        ([b"203.0.113.9:"], "10.0.0.1"),
        ([b"[203.0.113.9]:80"], "10.0.0.1"),
        ([b"[2001:db8::1"], "10.0.0.1"),
        ([b"[::1]]:80"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
    ids=[
        "one",
        "before a proxy",
        "what the client itself says is not believed",
        "on several lines",
        "IPv6",
        "proxies all the way: the first of them",
        "what is no address ends it",
        "nothing known",
        "a zone is of no use here",
        "whatever it says",
        "IPv4 has none",
        "with a port",
        "IPv6 with a port",
        "IPv6 in brackets",
        "with a zone and a port",
        "a port is a number",
        "a port has digits",
        "brackets are for IPv6",
        "one bracket",
        "brackets within",
        "nothing said",
    ],
)
def test_the_clients_own_address(sent: list[bytes], client: str) -> None:
    fields = [(b"X-Forwarded-For", value) for value in sent]
    assert client_address(fields, "10.0.0.1", PRIVATE) == client


@pytest.mark.parametrize(
    ("protos", "hosts", "origin"),
    [
        ([], [], (b"http", b"p.test")),
        ([b"HTTPS"], [b"a.test:8443"], (b"https", b"a.test:8443")),
        ([b"https, http"], [b"a.test, b.test"], (b"https", b"a.test")),
        ([b"https", b"http"], [b"a.test", b"b.test"], (b"https", b"a.test")),
        ([b"", b"https,http", b"http"], [b" , a.test", b"b.test"], (b"https", b"a.test")),
        ([b"ftp", b"https"], [b""], (b"http", b"p.test")),
    ],
    ids=[
        "nothing said",
        "one each",
        "the first of a list",
        "the first of several lines",
        "empty members do not count",
        "the first one, or none",
    ],
)
def test_the_origin_that_the_client_used(
    protos: list[bytes], hosts: list[bytes], origin: tuple[bytes, bytes]
) -> None:
    sent = [(b"X-Forwarded-Proto", value) for value in protos]
    sent += [(b"x-forwarded-host", value) for value in hosts]
    assert public_origin(sent, b"http", b"p.test") == origin
