"""The authority of a request: which host, at which port.

Here:  the form that `Host` and a target in absolute-form may give it (RFC 9112 §3.2, RFC 3986 §3.2).
Never: names looked up, defaults for a port, what a host is routed to.
"""

import re
from ipaddress import IPv6Address

__all__ = ["is_authority"]

# uri-host [":" port], without userinfo; no percent-encoding, which no DNS name needs; ports up to 65535.
_AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9._~!$&'()*+,;=-]+)"
    rb"(?::(?:[0-5]?[0-9]{0,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)


def is_authority(text: bytes) -> bool:
    """True for a host and, perhaps, a port: a name, an IPv4 address, or an IPv6 address in brackets."""
    authority = _AUTHORITY.fullmatch(text)
    if authority is None:
        return False
    address = authority[1]
    if address is None:
        return True
    try:
        IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True
