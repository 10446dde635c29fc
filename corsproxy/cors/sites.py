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

__all__ = ["LOOPBACK", "PRIVATE", "shared_suffix", "site_of", "suffixes_below"]

# Sites that are no names: hosts of the client's own machine, and addresses that only a local network reaches.
LOOPBACK = b"(loopback)"
PRIVATE = b"(private network)"


@lru_cache(maxsize=64)  # of those the remedy asks for, clients decide
def _suffixes(top: str, *, icann_only: bool) -> PublicSuffixList:
    """The part of the list under one top-level domain, in ASCII. The whole of it takes 30 ms to read."""
    return PublicSuffixList(_lines_under(top), only_icann=icann_only)


def _lines_under(top: str) -> list[bytes]:
    """The lines for one top-level domain: comments, which may begin or end a section, and rules
    (publicsuffix.org/list).
    """
    ends = _in_unicode(top).encode("utf-8")
    with Path(PSLFILE).open("rb") as lines:
        return [line for line in lines if line.startswith(b"//") or line.strip().endswith(ends)]


def _in_ascii(label: str) -> str:
    return label.encode("idna").decode("ascii")


def _in_unicode(label: str) -> str:
    try:
        return label.encode("ascii").decode("idna")
    except UnicodeError:  # no such name can be registered
        return label


def _list_for(name: str, *, icann_only: bool = False) -> PublicSuffixList:
    return _suffixes(name.rpartition(".")[2], icann_only=icann_only)


def shared_suffix(host: bytes) -> str:
    """A name on the list that this is, or that lies below it: a domain where anyone can have a name, such as
    `github.io`, or `s3.amazonaws.com` below `amazonaws.com`. "" when there is none.

    Names that the list does not know (`internal`, `test`) are not: nobody sells names there.
    """
    name = host.decode("ascii").removesuffix(".")
    if _list_for(name).publicsuffix(name, accept_unknown=False) == name:
        return name
    below = suffixes_below(host)
    return f"{below[0]}.{name}" if below else ""


def suffixes_below(host: bytes) -> tuple[str, ...]:
    """What stands before this name, and its dot, in names on the list: the shortest first."""
    name = host.decode("ascii").removesuffix(".")
    return _below(name.rpartition(".")[2]).get(name, ())


@lru_cache(maxsize=64)
def _below(top: str) -> dict[str, tuple[str, ...]]:
    """For every name above some of the list, under one top-level domain: what stands before it there."""
    found: dict[str, list[str]] = {}
    for line in _lines_under(top):
        rule = line.decode("utf-8").strip()
        if rule.startswith(("//", "!")):  # a comment, or an exception to a rule
            continue
        labels = [label if label.isascii() else _in_ascii(label) for label in rule.split(".")]
        labels = ["any" if label == "*" else label for label in labels]
        for at in range(1, len(labels)):
            found.setdefault(".".join(labels[at:]), []).append(".".join(labels[:at]))
    return {name: tuple(sorted(lefts, key=lambda left: (len(left), left))) for name, lefts in found.items()}


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
