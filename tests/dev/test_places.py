"""Ports: the first free one, never one that a browser would find somebody else on."""

import errno
import socket

import pytest

from corsproxy.dev.places import origin_of, port_of, take_port


def test_a_port_is_taken_once() -> None:
    with take_port(0) as first, take_port(port_of(first)) as second:
        assert port_of(second) > port_of(first)


def test_a_port_with_a_stranger_on_ipv6_is_passed_over() -> None:
    try:
        stranger = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with stranger, take_port(port_of(stranger)) as listener:
        assert port_of(listener) > port_of(stranger)


def test_a_listener_is_on_loopback_only() -> None:
    with take_port(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_beyond_the_last_port_there_is_none() -> None:
    with pytest.raises(OSError, match="all taken") as caught:
        take_port(65536)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_origin_is_written_by_name() -> None:
    assert origin_of(8880) == "http://localhost:8880"
