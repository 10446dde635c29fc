"""Upstreams that lead back to this very proxy: a request to one would come in again without end.

Here:  every endpoint of the file held against the two addresses that this process listens on.
Never: resolving names, asking the system for its addresses: what the file itself shows is refused, no more.
"""

from collections.abc import Iterator

from corsproxy.config import model
from corsproxy.config.addresses import is_url, parse_endpoint
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.problems import Path
from corsproxy.config.table import Address, Endpoint
from corsproxy.config.words import quoted

__all__ = ["refuse_loops"]

_ANY4, _ANY6 = "0.0.0.0", "::"  # noqa: S104 - compared with, not bound to

# Where a connection to such a host ends on this machine.
_LEADS_TO = {"localhost": ("127.0.0.1", "::1"), _ANY4: ("127.0.0.1",), _ANY6: ("::1",)}


def refuse_loops(
    config: model.Config, listen: Address | None, admin: Address | None, findings: Findings
) -> None:
    """Note every upstream that is `listen` or `admin`; None = it is off, or no usable address."""
    own = [(key, address) for key, address in (("listen", listen), ("admin", admin)) if address is not None]
    for path, url in _urls(config):
        parsed = parse_endpoint(url)
        if isinstance(parsed, Mistake):
            continue  # said where the upstream is compiled
        key = next((key for key, address in own if _is_at(parsed[0], address)), None)
        if key is not None:
            findings.add(path, _mistake(url, key))


def _mistake(url: str, key: str) -> Mistake:
    serves = "it serves health and metrics alone"
    ends = "requests would come back here without end" if key == "listen" else serves
    return Mistake(
        "upstream-is-listener",
        f"{quoted(url)} is this proxy's own `{key}`: {ends}",
        f"write the address of the API, or give `{key}` another one",
    )


def _urls(config: model.Config) -> Iterator[tuple[Path, str]]:
    """Every upstream URL of the file, with its place."""
    for name, upstream in config.upstreams.items():
        for at, url in enumerate(upstream.endpoints):
            yield ("upstreams", name, "endpoints", at), url
    for at, route in enumerate(config.routes):
        if route.upstream and is_url(route.upstream):  # None where it is missing, which is said elsewhere
            yield ("routes", at, "upstream"), route.upstream


def _is_at(endpoint: Endpoint, own: Address) -> bool:
    if endpoint.path or own.path:
        return endpoint.path == own.path
    return endpoint.port == own.port and _reaches(endpoint.host, own.host)


def _reaches(host: str, listener: str) -> bool:
    return host == listener or any(_accepts(listener, address) for address in _LEADS_TO.get(host, (host,)))


def _accepts(listener: str, address: str) -> bool:
    """True when a listener takes connections to an address; `::` is IPv6 alone, as the server binds it."""
    if listener == _ANY4:
        return address.startswith("127.") and address[-1].isdigit()  # 127.0.0.0/8, not a name
    if listener == _ANY6:
        return address == "::1"
    return address in _LEADS_TO.get(listener, (listener,))
