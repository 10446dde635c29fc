"""The methods that can cross, held against the request parser itself."""

import pytest

from corsproxy.http.fields import is_token
from corsproxy.http.methods import FORWARDABLE_METHODS, IDEMPOTENT_METHODS
from corsproxy.proxy.head import Head, parse_head

# Methods of RFCs, of llhttp's other protocols (RTSP, ICE), and of nobody.
OTHERS = (
    b"BASELINE-CONTROL BREW CHECKIN CHICKEN DESCRIBE FLUSH GET_PARAMETER LABEL MKREDIRECTREF MKWORKSPACE "
    b"ORDERPATCH PAUSE PLAY PRI PROPFINDX RECORD REDIRECT SETUP SET_PARAMETER TEARDOWN TRACK UNCHECKOUT "
    b"UPDATE UPDATEREDIRECTREF VERSION-CONTROL ANNOUNCE get Get patch GETS GE X"
).split()


def parses(method: bytes) -> bool:
    """True when a request with this method is read, and the method as written."""
    head = parse_head(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    return isinstance(head, Head) and head.method == method


@pytest.mark.parametrize("method", sorted(FORWARDABLE_METHODS), ids=bytes.decode)
def test_a_method_of_the_list_is_parsed(method: bytes) -> None:
    assert parses(method)


@pytest.mark.parametrize("method", sorted(OTHERS), ids=bytes.decode)
def test_a_method_outside_the_list_is_not(method: bytes) -> None:
    assert not parses(method)


def test_lower_case_is_another_method() -> None:
    """RFC 9110 §9.1: names are compared with case, and no browser upper-cases `patch` (trap 26)."""
    assert [method for method in FORWARDABLE_METHODS if parses(method.lower())] == []


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"], ids=bytes.decode)
def test_what_no_proxy_should_forward_is_not_in_the_list(method: bytes) -> None:
    """RFC 9110 §9.3.6: a tunnel to a place of the client's choice; §9.3.8: an echo of secret fields."""
    assert method not in FORWARDABLE_METHODS


def test_the_idempotent_ones_are_those_of_rfc_9110() -> None:
    """RFC 9110 §9.2.2. Methods of other RFCs may be idempotent; sending one twice by mistake costs more."""
    assert sorted(IDEMPOTENT_METHODS - {b"TRACE"}) == [b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PUT"]
    assert all(map(is_token, FORWARDABLE_METHODS))
