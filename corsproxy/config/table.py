"""The frozen table that serves requests: what `config.compile` makes and `proxy` reads.

Here:  plain values, everything joined beforehand. Nothing in a table ever changes; a reload builds another.
Never: YAML, pydantic, positions in files beyond `Route.line`, counters, connections.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from corsproxy.cors.policy import CorsPolicy
from corsproxy.http.cookies import CookieRules
from corsproxy.http.edits import HeaderEdits
from corsproxy.http.forwarded import Network
from corsproxy.http.own_cookies import ForwardedCookies
from corsproxy.http.redirects import RedirectMap

__all__ = [
    "Address",
    "AdminListener",
    "Balance",
    "Drain",
    "Endpoint",
    "HealthCheck",
    "Limits",
    "ListenTls",
    "Log",
    "Match",
    "Rewriting",
    "Route",
    "Table",
    "Timeouts",
    "Upstream",
    "UpstreamTls",
]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener is: a TCP host and port, or a Unix socket path."""

    host: str = ""
    port: int = 0
    path: str = ""  # Unix socket; then host and port are empty

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AdminListener:
    """Where health, metrics and explanations are asked for, and who may ask."""

    address: Address
    token: str = ""  # what others than probes show as `Authorization: Bearer`; "" = none is asked for
    inspector: bool = False
    ready_needs_upstream: bool = False  # not ready while an upstream has no endpoint that works
    hosts: tuple[str, ...] = ()  # expected in Host, beside IP addresses and localhost; lower case


@dataclass(frozen=True, slots=True)
class Log:
    """What is written, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "pretty", "json", "combined"] = "auto"
    access: bool = True
    sample: float = 1.0  # the part of unremarkable exchanges that get a line


@dataclass(frozen=True, slots=True)
class Drain:
    """How the process stops."""

    delay: float = 0.0  # seconds between "not ready" and "no longer accepting"
    timeout: float = 25.0  # seconds for what is in flight


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    response: float = 60.0
    idle: float = 300.0
    client_head: float = 10.0
    keepalive: float = 75.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and counts; 0 = no limit where the design says so."""

    request_head: int = 32 * 1024
    request_fields: int = 100
    request_body: int = 0
    in_flight: int = 0
    connections: int = 10_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of an upstream."""

    scheme: Literal["http", "https"]
    host: str  # without brackets; "" for a Unix socket
    port: int
    path: str = ""  # Unix socket

    @property
    def authority(self) -> bytes:
        """The Host field for this endpoint: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        plain = not self.port or self.port == {"http": 80, "https": 443}[self.scheme]
        return (host if plain else f"{host}:{self.port}").encode("ascii")

    def __str__(self) -> str:
        if self.path:
            return f"http+unix://{self.path}"
        return f"{self.scheme}://{self.authority.decode('ascii')}"


@dataclass(frozen=True, slots=True)
class ListenTls:
    """TLS towards clients; paths of PEM files."""

    cert: str
    key: str
    client_ca: str = ""  # "" = no client certificate is asked for


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards `https` endpoints; paths of PEM files, "" = none."""

    ca: str = ""  # "" = the system's authorities
    verify: bool = True
    server_name: str = ""  # "" = the endpoint's host
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Active checks of an upstream's endpoints."""

    path: bytes
    interval: float = 5.0  # seconds
    timeout: float = 2.0  # seconds
    healthy_after: int = 2  # good checks in a row
    unhealthy_after: int = 3  # bad checks in a row


Balance = Literal["round_robin", "least_in_flight"]


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """Where requests go. One given as a URL in a route is named by that URL."""

    name: str
    endpoints: tuple[Endpoint, ...]
    host: Literal["upstream", "preserve"] | bytes = "upstream"  # bytes = a literal Host
    max_connections: int = 0  # per endpoint, 0 = no limit
    retries: int = 1
    balance: Balance = "round_robin"
    tls: UpstreamTls = UpstreamTls()
    health: HealthCheck | None = None  # None = only exchanges tell how an endpoint does
    origin: Literal["preserve", "upstream"] = "preserve"  # upstream = that of the endpoint, for allowed pages


@dataclass(frozen=True, slots=True)
class Match:
    """What a route asks of a request. Paths are canonical: unreserved characters decoded."""

    path: bytes = b"/"  # prefix on segment boundaries
    path_exact: bytes | None = None
    path_regex: re.Pattern[bytes] | None = None  # whole path
    hosts: tuple[bytes, ...] = ()  # lower case, without port; b"*.example.com" for subdomains; () = any
    methods: frozenset[bytes] = frozenset()  # empty = any
    headers: tuple[tuple[bytes, bytes], ...] = ()  # lower-case name, exact value


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What a route changes in the head of a response; None = that part stays as it is."""

    redirects: RedirectMap | None = None
    cookies: CookieRules | None = None
    edits: HeaderEdits | None = None  # made last; CORS fields and Vary come after them


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One entry of the routing table, with everything that applies to it."""

    name: str
    index: int  # place in the file, from 0
    line: int  # 1-based line of the entry in the file; 0 = not from a file
    match: Match
    upstream: Upstream
    base_path: bytes  # path of the upstream URL, prepended to the request's; b"" = none
    strip_prefix: bytes  # b"" = none
    policy: CorsPolicy | None  # None = `cors: off`
    timeouts: Timeouts
    limits: Limits
    websocket: Literal["same_policy", "any", "off"] = "same_policy"  # who may switch protocols
    request_edits: HeaderEdits | None = None  # None = the head goes on as it is
    rewriting: Rewriting | None = None  # of responses; None = nothing to change
    forwarded_cookies: ForwardedCookies | None = None  # of requests; None = all of them


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Everything that serves requests, made from one file."""

    routes: tuple[Route, ...]
    policies: tuple[CorsPolicy, ...]  # in file order: named ones, then inline ones of routes
    listen: Address
    tls: ListenTls | None = None  # of the listener; None = plain HTTP
    admin: AdminListener | None = None
    workers: int = 1  # processes; 0 = one per core
    log: Log = field(default_factory=Log)
    drain: Drain = field(default_factory=Drain)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    trusted_proxies: tuple[Network, ...] = ()  # whose X-Forwarded-* and Forwarded are kept
    file: str = ""  # the path as given; "-" = standard input; "" = built in code
