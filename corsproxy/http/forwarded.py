"""The fields that tell an upstream who asked: X-Forwarded-For, -Proto, -Host, and Forwarded (RFC 7239).

Here:  the lines this proxy adds, and what is kept of those that a trusted proxy in front of it has sent.
Never: sockets; the caller knows the peer. A peer that is not trusted may say nothing of the kind.
"""

import ipaddress
import re
from collections.abc import Sequence

from corsproxy.http.fields import Fields, list_members

__all__ = [
    "PRIVATE",
    "Network",
    "client_address",
    "forwarded_lines",
    "handed_on",
    "is_forwarding_field",
    "public_origin",
    "trusts",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `private`: loopback, RFC 1918, link-local, unique local (RFC 4193).
PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


# "[2001:db8::1]", "[2001:db8::1]:443" and "203.0.113.9:4711": as in Forwarded (RFC 7239 §6), and as load
# balancers write X-Forwarded-For, which no standard describes. An IPv6 address without brackets has no port.
_BRACKETED_OR_WITH_PORT = re.compile(r"\[([^]]*:[^]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def is_forwarding_field(name: bytes) -> bool:
    """True for a lower-case name that says how a request came here: only the last trusted hop may say so."""
    return name.startswith(b"x-forwarded-") or name in {b"forwarded", b"x-real-ip"}


def trusts(peer: str, networks: Sequence[Network]) -> bool:
    """True when what this peer says of the hops before it is kept.

    peer: an IP address; "" for a Unix socket, which is as private as it gets.
    """
    if not peer:
        return set(PRIVATE) <= set(networks)
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)  # a dual-stack listener sees IPv4 this way
    return any((mapped or address) in network for network in networks)


def forwarded_lines(peer: str, *, tls: bool) -> bytes:
    """The lines that are the same for every request of one connection, each ended by CRLF.

    peer: the client's address without port; "" for a Unix socket, which has none.
    """
    proto = b"X-Forwarded-Proto: https\r\n" if tls else b"X-Forwarded-Proto: http\r\n"
    return b"X-Forwarded-For: " + peer.encode("ascii", "replace") + b"\r\n" + proto if peer else proto


def handed_on(sent: Fields, peer: str, scheme: bytes, host: bytes) -> bytes:
    """What a trusted peer has sent of this family, with that peer added; lines ended by CRLF."""
    address = peer.encode("ascii", "replace")
    chain = [value for name, value in sent if name.lower() == b"x-forwarded-for"] + (
        [address] if peer else []
    )
    lines = [b"X-Forwarded-For: " + b", ".join(chain)] if chain else []
    ours = {b"x-forwarded-proto": scheme, b"x-forwarded-host": host}
    for name, value in sent:
        lower = name.lower()
        if lower == b"forwarded":
            lines.append(name + b": " + value + b", " + _element(address, scheme, host))
        elif lower != b"x-forwarded-for":
            lines.append(name + b": " + value)
            ours.pop(lower, None)
    lines += [name.title() + b": " + value for name, value in ours.items() if value]
    return b"".join(line + b"\r\n" for line in lines)


def public_origin(sent: Fields, scheme: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Scheme and authority that the client itself used, by what a trusted peer says of it.

    That is the first member of each field, however its members are spread over lines (RFC 9110 §5.3).
    """
    proto = _first(sent, b"x-forwarded-proto").lower()
    return proto if proto in {b"http", b"https"} else scheme, _first(sent, b"x-forwarded-host") or host


def _first(sent: Fields, wanted: bytes) -> bytes:
    """The first member of a field; empty when there is none."""
    members = (list_members(value) for name, value in sent if name.lower() == wanted)
    return next((each[0] for each in members if each), b"")


def client_address(sent: Fields, peer: str, networks: Sequence[Network]) -> str:
    """The client's own address, by what a trusted peer says: the last one of X-Forwarded-For that is no
    trusted proxy's. Those before it are only what that client says.
    """
    values = [value for name, value in sent if name.lower() == b"x-forwarded-for"]
    found = peer
    for member in reversed([member for value in values for member in list_members(value)]):
        try:
            text = _address(member.decode("latin-1"))
            is_proxy = trusts(text, networks)
        except ValueError:  # no address: whoever wrote it is the last one that is known
            return found
        found = text
        if not is_proxy:
            break
    return found


def _address(text: str) -> str:
    """An address without the port that some proxies add, and without its zone, which may be any text, and
    says something on one machine alone (RFC 4007 §6). Raises ValueError.
    """
    if found := _BRACKETED_OR_WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    ipaddress.ip_address(text)
    return text.partition("%")[0]


def _element(address: bytes, scheme: bytes, host: bytes) -> bytes:
    """Our hop as an element of Forwarded: an IPv6 address is quoted and bracketed (RFC 7239 §6)."""
    node = b'"[%b]"' % address if b":" in address else address or b"unknown"
    return b'for=%b;host="%b";proto=%b' % (node, host, scheme)
