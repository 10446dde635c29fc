"""The fields that tell an upstream who asked: X-Forwarded-For, -Proto, -Host.

Here:  the lines this proxy adds. What a client sent of this family is dropped before.
Never: sockets; the caller knows the peer.
"""

__all__ = ["forwarded_lines", "is_forwarding_field"]


def is_forwarding_field(name: bytes) -> bool:
    """True for a lower-case name that says how a request came here: only the last trusted hop may say so."""
    return name.startswith(b"x-forwarded-") or name in {b"forwarded", b"x-real-ip"}


def forwarded_lines(peer: str, *, tls: bool) -> bytes:
    """The lines that are the same for every request of one connection, each ended by CRLF.

    peer: the client's address without port; "" for a Unix socket, which has none (then only the scheme is
    told).
    """
    proto = b"X-Forwarded-Proto: https\r\n" if tls else b"X-Forwarded-Proto: http\r\n"
    return b"X-Forwarded-For: " + peer.encode("ascii", "replace") + b"\r\n" + proto if peer else proto
