"""The closed list of faults: one word each, a status that fits the side, an error type that is registered."""

import pytest

from corsproxy.http import faults
from corsproxy.http.faults import BAD_REQUEST, Fault, Side
from corsproxy.http.fields import is_token

EVERY = {name: fault for name in faults.__all__ if isinstance(fault := getattr(faults, name), Fault)}

# RFC 9209 §2.3
REGISTERED = frozenset(
    {
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
        "proxy_loop_detected",
    }
)


def test_each_has_a_word_of_its_own() -> None:
    assert len(EVERY) > 20
    assert len({fault.code for fault in EVERY.values()}) == len(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_its_parts_fit_together(name: str) -> None:
    fault = EVERY[name]
    assert is_token(fault.code.encode())
    assert fault.code == fault.code.lower()
    assert fault.says.endswith(".")
    assert fault.detail == ""
    assert fault.error in REGISTERED | ({""} if fault.side is Side.CLIENT or fault.status == 101 else set())
    match fault.side:
        case Side.CLIENT:
            assert fault.status < 500 or fault.status in {501, 505}
        case Side.UPSTREAM:
            assert fault.status in {502, 504}
        case Side.PROXY:
            assert fault.status in {101, 404, 421, 503}
    assert (fault.retry_after > 0) == (fault.status == 503)  # RFC 9110 §15.6.4


def test_because_adds_the_detail_and_leaves_the_rest_alone() -> None:
    known = BAD_REQUEST.because("two lengths")
    assert (known.detail, known.code, known.status) == ("two lengths", BAD_REQUEST.code, 400)
    assert BAD_REQUEST.detail == ""
