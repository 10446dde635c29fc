"""Header fields as bytes: names, tokens, lists, and the ones that end at this hop.

Here:  small pure functions and the fixed sets of RFC 9110.
Never: CORS rules, dictionaries of fields (order, case and repetition are kept), decoding.
"""

import re
from collections.abc import Iterable

__all__ = ["HOP_BY_HOP", "PLAIN_OPTIONS", "Fields", "is_field_value", "is_token", "list_members", "nominated"]

Fields = list[tuple[bytes, bytes]]
"""Field lines in the order they came: (name as written, value without surrounding white space)."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 §5.5: visible characters, space, tab and obs-text; everything else is a control character.
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

# RFC 9110 §7.6.1, with the proxy's own authentication (§11.7). TE and Trailer end here too: what may go
# on is decided anew for the next hop.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",  # RFC 7540 §3.2.1: must be named by Connection, and asks for a hop we do not speak
    }
)

# Connection values, as they nearly always stand, that name no further field.
PLAIN_OPTIONS = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})

# A Connection field may name only fields that are about the hop. These carry the framing, the routing or
# the decision, so naming them removes nothing (CVE-2024-45410).
_NEVER_NOMINATED = frozenset(
    {
        b"content-length",
        b"host",
        b"origin",
        b"cookie",
        b"set-cookie",
        b"expect",
        b"max-forwards",
        b"authorization",
        b"forwarded",
        b"via",
        b"vary",
        b"cache-control",
        b"access-control-request-method",
        b"access-control-request-headers",
    }
)


def is_token(text: bytes) -> bool:
    """True for a token of RFC 9110 §5.6.2: what a method or a field name may be."""
    return _TOKEN.fullmatch(text) is not None


def is_field_value(text: bytes) -> bool:
    """True when no control character would be put on the wire (RFC 9110 §5.5)."""
    return _VALUE.fullmatch(text) is not None


def list_members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list without quoted strings; empty ones are dropped (RFC 9110
    §5.6.1).
    """
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]


def nominated(connection_values: Iterable[bytes]) -> frozenset[bytes]:
    """Lower-case names of further fields that these Connection values end at this hop."""
    names = {name.lower() for value in connection_values for name in list_members(value)}
    return frozenset(
        name
        for name in names - _NEVER_NOMINATED
        if not name.startswith((b"x-forwarded-", b"access-control-"))
    )
