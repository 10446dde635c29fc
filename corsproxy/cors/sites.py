"""Sites: who stands behind a host name, by the public suffix list.

Here:  is a name one under which strangers register theirs; what part of an origin belongs to one owner.
Never: used for a request. A part of the list is read when a file is loaded, and when an origin of another
       top-level domain is refused for the first time and a remedy is looked for: some milliseconds.
"""

from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from publicsuffixlist import PSLFILE, PublicSuffixList

from corsproxy.cors.origins import DEFAULT_PORTS, Origin, is_ipv4, is_loopback_host

__all__ = ["LOOPBACK", "PRIVATE", "is_public_suffix", "site_of"]

# Sites that are no names: hosts of the client's own machine, and addresses that only a local network reaches.
LOOPBACK = b"(loopback)"
PRIVATE = b"(private network)"


@lru_cache(maxsize=64)  # of those the remedy asks for, clients decide
def _suffixes(top: str, *, icann_only: bool) -> PublicSuffixList:
    """The part of the list under one top-level domain, in ASCII. The whole of it takes 30 ms to read."""
    ends = _in_unicode(top).encode("utf-8")
    # A line is a comment, which may begin or end a section, or a rule (publicsuffix.org/list).
    with Path(PSLFILE).open("rb") as lines:
        under = [line for line in lines if line.startswith(b"//") or line.strip().endswith(ends)]
    return PublicSuffixList(under, only_icann=icann_only)


def _in_unicode(label: str) -> str:
    try:
        return label.encode("ascii").decode("idna")
    except UnicodeError:  # no such name can be registered
        return label


def _list_for(name: str, *, icann_only: bool = False) -> PublicSuffixList:
    return _suffixes(name.rpartition(".")[2], icann_only=icann_only)


def is_public_suffix(host: bytes) -> bool:
    """Is this name on the list: a domain such as `com` or `github.io`, where anyone can have a name?

    Names that the list does not know (`internal`, `test`) are not: nobody sells names there.
    """
    name = host.decode("ascii").removesuffix(".")
    return _list_for(name).publicsuffix(name, accept_unknown=False) == name


def site_of(origin: Origin, *, icann_only: bool = False) -> tuple[bytes, bytes]:
    """Scheme and registrable domain of an origin: two origins of one site have one owner.

    icann_only: leave out the suffixes that companies have entered for their customers, such as `vercel.app`.
    """
    if origin.scheme not in DEFAULT_PORTS:
        return origin.scheme, b""  # an app or an extension: its host is nothing that could be registered
    return origin.scheme, _owner(origin.host, icann_only=icann_only)


def _owner(host: bytes, *, icann_only: bool) -> bytes:
    if is_loopback_host(host):
        return LOOPBACK
    if is_ipv4(host) or host.startswith(b"["):
        return PRIVATE if ip_address(host.strip(b"[]").decode("ascii")).is_private else host
    name = host.decode("ascii").removesuffix(".")
    registrable = _list_for(name, icann_only=icann_only).privatesuffix(name)
    return (registrable or name).encode("ascii")
