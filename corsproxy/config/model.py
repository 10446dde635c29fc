"""What may be written in the configuration file: every key once, with its type, default and description.

Here:  the shape of the file. Loader, JSON Schema, `check`, reference page and tests read these fields.
Never: rules between keys, names that refer to other keys, what serves requests (that is `config.table`).

Keys that look required (`routes`, `upstream`, …) have an empty default here: whether they are there is
checked in `config.compile`, so that one missing key hides no other problem.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from corsproxy.config.values import (
    Address,
    AddressOrOff,
    Capacity,
    Count,
    Duration,
    Flag,
    Fraction,
    HeadSize,
    Kind,
    Names,
    Off,
    Period,
    Size,
    Status,
    Words,
    Workers,
)

__all__ = [
    "Admin",
    "Config",
    "Cookies",
    "Drain",
    "HeaderEdits",
    "Health",
    "Limits",
    "Listen",
    "ListenTls",
    "Log",
    "Match",
    "Policy",
    "Route",
    "RouteLimits",
    "RouteTimeouts",
    "Settings",
    "Timeouts",
    "Upstream",
    "UpstreamTls",
]

Corp = Literal["same-origin", "same-site", "cross-origin"]


class Settings(BaseModel):
    """A block of the file: no unknown keys, no guessing between types, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ListenTls(Settings):
    """TLS towards clients."""

    cert: str | None = Field(
        None,
        description="Certificate chain, a PEM file. A relative path starts where corsproxy was started.",
    )
    key: str | None = Field(None, description="Its private key, a PEM file.")
    client_ca: str | None = Field(
        None,
        description="Authorities whose client certificates are asked for, a PEM file. A client without one "
        "is served; one whose certificate does not verify is not.",
    )


class Listen(Settings):
    """The listener, when it needs more than an address."""

    address: Address = Field("127.0.0.1:8080", description="`HOST:PORT`, `[::1]:PORT` or `unix:/path`.")
    tls: ListenTls | None = Field(
        None, description="Certificate and key to serve HTTPS with. Renewed files are picked up."
    )


class Admin(Settings):
    """The admin listener, when it needs more than an address."""

    address: Address = Field("127.0.0.1:8081", description="`HOST:PORT`, `[::1]:PORT` or `unix:/path`.")
    token: str | None = Field(
        None,
        description="Asked for as `Authorization: Bearer` by all but the two health checks. Write "
        "`${ADMIN_TOKEN}`, not the secret itself. At least 16 characters.",
    )
    inspector: Flag = Field(
        False,
        description="Show exchanges as they happen, on a page at `/-/`. Needs a `token`, and `workers: 1`.",
    )
    ready_needs_upstream: Flag = Field(
        False, description="Not ready while all endpoints of an upstream are left out."
    )
    hosts: Words = Field(
        default=[],
        description="Names in `Host` to answer to, beside `localhost` and any IP address: a page could point "
        "every other name here (DNS rebinding).",
    )


class Log(Settings):
    """What is written about the process and its exchanges, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe entries written."
    )
    format: Literal["auto", "pretty", "json", "combined"] = Field(
        "auto", description="`auto` is `pretty` on a terminal, else `json`; `combined` is the Apache format."
    )
    access: Flag = Field(True, description="One line for each exchange.")
    sample: Fraction = Field(
        1.0,
        description="Which part of the unremarkable exchanges get a line, from 0 to 1. Faults, refusals and "
        "statuses from 500 on always do.",
    )


class Drain(Settings):
    """How the process stops after SIGTERM."""

    delay: Duration = Field(0.0, description="Time between reporting not ready and refusing new connections.")
    timeout: Duration = Field(25.0, description="Time for what is in flight; then it is cut.")


class Timeouts(Settings):
    """Time limits. `connect`, `response` and `idle` may be given per route too."""

    connect: Period = Field(5.0, description="TCP and TLS to the upstream; then 504.")
    response: Period = Field(60.0, description="From the request sent to the head of the response; then 504.")
    idle: Period = Field(
        300.0,
        description="A body or tunnel that does not move: 408 when the client sends nothing, 504 when the "
        "upstream neither takes nor sends, cut once the head of the response is out.",
    )
    client_head: Period = Field(
        10.0, description="From the first byte to the end of a request's head; then 408."
    )
    keepalive: Period = Field(75.0, description="How long an idle client connection is kept.")


class RouteTimeouts(Settings):
    """Time limits of one route; what is left out comes from the top-level `timeouts`."""

    connect: Period | None = Field(None, description="TCP and TLS to the upstream; then 504.")
    response: Period | None = Field(
        None, description="From the request sent to the head of the response; then 504."
    )
    idle: Period | None = Field(None, description="A body or tunnel that does not move.")


class Limits(Settings):
    """What is accepted. `request_body` and `in_flight` may be given per route too."""

    request_head: HeadSize = Field(
        32 * 1024,
        description="Request line and fields together; a longer head is answered 431, a longer target 414.",
    )
    request_fields: Capacity = Field(100, description="Field lines of one request; one more is answered 431.")
    request_body: Size = Field(
        0, description="Longest request body; a longer one is answered 413. 0 = no limit."
    )
    in_flight: Count = Field(
        0, description="Requests at once on each route; one more is answered 503. 0 = no limit."
    )
    connections: Capacity = Field(
        10_000, description="Client connections at once; those above are answered 503 or closed."
    )


class RouteLimits(Settings):
    """What one route accepts; what is left out comes from the top-level `limits`."""

    request_body: Size | None = Field(None, description="Longest request body; a longer one is answered 413.")
    in_flight: Count | None = Field(
        None, description="Requests at once on this route; one more is answered 503."
    )


class Policy(Settings):
    """Who may read the responses of a route, and what their requests may be."""

    extends: str | None = Field(None, description="Another policy to copy; keys given here replace its keys.")
    allow_origins: Names = Field(
        default=[],
        description="Origins whose scripts may read responses: exact, `https://*.example.com` (one or more "
        'labels, never the apex), `http://localhost:*` (any port), `"null"`, `"@group"`, `"@loopback"`, or '
        '`"*"` alone for any.',
    )
    allow_origin_regex: Words = Field(
        default=[],
        description="Regular expressions for whole origins. One that also matches look-alikes is refused.",
    )
    allow_methods: Names = Field(
        default=["GET", "HEAD", "POST"],
        description='Methods a script may use, with case; `"*"` = any. Browsers let GET, HEAD and POST pass.',
    )
    allow_headers: Names = Field(
        default=[],
        description='Request headers beyond the safelist, and `"@preset"`s of them; `"*"` = any but '
        "`Authorization`, listed beside it.",
    )
    expose_headers: Names = Field(
        default=[],
        description='Response headers a script may read beyond the safelist, and `"@preset"`s of them; '
        '`"*"` = all but `Set-Cookie`.',
    )
    allow_credentials: Flag = Field(
        False, description="Let scripts send cookies, certificates and HTTP authentication."
    )
    max_age: Duration | None = Field(
        None,
        description="How long a browser may remember a preflight; left out, browsers use 5 s. Whole seconds.",
    )
    allow_private_network: Flag = Field(False, description="Answer `Access-Control-Request-Private-Network`.")
    timing_allow_origin: Flag = Field(False, description="Send `Timing-Allow-Origin` for the same origins.")
    cross_origin_resource_policy: Corp | None = Field(
        None, description="Value of `Cross-Origin-Resource-Policy` to send."
    )
    preflight_status: Status = Field(204, description="Status of an allowed preflight.")
    on_denied: Literal["pass", "block"] = Field(
        "pass",
        description="A request of another origin: `pass` forwards it and answers without CORS fields, "
        "`block` answers 403 without asking the upstream.",
    )
    upstream_cors: Literal["replace", "merge_expose"] = Field(
        "replace",
        description="The upstream's own CORS fields: `replace` drops all, `merge_expose` keeps "
        "the names it exposes.",
    )
    mode: Literal["enforce", "report_only"] = Field(
        "enforce",
        description="`report_only` decides and records, but lets the upstream's own answer through.",
    )
    diagnostics: Flag = Field(
        False,
        description="A refused preflight carries the fields that passed, and status 200, so that devtools "
        "name the failing step; the log still says `denied`.",
    )
    dangerously_allow_insecure_origins: Flag = Field(
        False, description="Permit `http://` origins together with credentials. Loopback needs no permission."
    )
    dangerously_allow_public_suffix_origins: Flag = Field(
        False,
        description="Permit patterns such as `https://*.github.io`, under which anybody can get a name.",
    )


class UpstreamTls(Settings):
    """TLS towards the endpoints of an upstream."""

    ca: str | None = Field(None, description="Authorities to trust instead of the system's, a PEM file.")
    verify: Flag = Field(True, description="Check the certificate and the name in it; false is warned of.")
    server_name: str | None = Field(
        None, description="Name to ask for and to check, instead of the endpoint's host."
    )
    cert: str | None = Field(None, description="Client certificate chain, a PEM file.")
    key: str | None = Field(None, description="Its private key, a PEM file.")


class Health(Settings):
    """Active health checks of an upstream's endpoints: a GET, good when answered 200 to 399."""

    path: str | None = Field(None, description="Path to ask for; without one, only exchanges tell.")
    interval: Period = Field(5.0, description="Time between two checks of one endpoint.")
    timeout: Period = Field(2.0, description="Time for one check.")
    healthy_after: Capacity = Field(2, description="Good checks in a row until an endpoint is used again.")
    unhealthy_after: Capacity = Field(3, description="Bad checks in a row until an endpoint is left out.")


class Upstream(Settings):
    """Where requests go."""

    endpoints: Words = Field(
        default=[],
        description="URLs: `http://host:port`, `https://host`, `http+unix:///run/api.sock`. One that fails "
        "three times in a row is left out for 5 s, then longer, at most 60 s.",
    )
    balance: Literal["round_robin", "least_in_flight"] = Field(
        "round_robin",
        description="Which endpoint is asked next: each in turn, or the one with the fewest requests.",
    )
    host: str = Field(
        "upstream",
        description="`Host` sent: `upstream` = the endpoint's, `preserve` = the client's, or a literal name.",
    )
    origin: Literal["preserve", "upstream"] = Field(
        "preserve",
        description="`Origin` sent: `preserve` = the browser's, or `upstream` = the endpoint's own, together "
        "with `Referer` and `Sec-Fetch-Site`: for an API that refuses pages of elsewhere itself. Only for "
        "requests that the policy allows.",
    )
    tls: UpstreamTls = Field(UpstreamTls(), description="TLS towards `https` endpoints.")
    max_connections: Count = Field(
        0,
        description="Connections per endpoint; further requests wait up to `timeouts.connect`, then 503. "
        "0 = no limit.",
    )
    retries: Count = Field(
        1,
        description="New attempts when no byte of the request can have been acted on (RFC 9110 §9.2.2): on "
        "another endpoint when connecting failed, or on a new connection when a kept one proved stale.",
    )
    health: Health = Field(Health(), description="Active health checks.")


class Match(Settings):
    """Which requests a route takes; all that is given must fit. Give at most one of the three paths."""

    path: str | None = Field(
        None,
        description="Prefix on segment boundaries: `/api` fits `/api`, `/api/x`, not `/apix`. Default `/`.",
    )
    path_exact: str | None = Field(None, description="The whole path.")
    path_regex: str | None = Field(None, description="A regular expression for the whole path.")
    hosts: Words = Field(default=[], description="Names in `Host`, exact or `*.example.com`. Default: any.")
    methods: Words = Field(
        default=[], description="Methods; a preflight is matched by the method it asks for. Default: any."
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers and their exact values; ignored for preflights, which cannot carry them.",
    )


class HeaderEdits(Settings):
    """Changes to the fields of a message: what is removed first, then what is set, then what is added.

    Names are compared without case. What frames a message or ends at one hop, `Host`, `Origin`, `Vary` and
    `Access-Control-*` cannot be changed here.
    """

    set: dict[str, str] = Field(
        default={},
        description="Fields to set, in place of all lines of that name. An empty value is sent as such.",
    )
    add: dict[str, str] = Field(default={}, description="Fields to add, beside those that are there.")
    remove: Words = Field(default=[], description="Fields to remove.")


class Cookies(Settings):
    """Changes to the upstream's `Set-Cookie` fields, and which cookies of requests go to it.

    No rule makes a browser refuse a cookie: `__Host-…` keeps its path, and it and `__Secure-…` keep `Secure`,
    which their names promise.
    """

    domain: str | None = Field(
        None,
        description='`Domain` to write where there is one; null keeps it, `""` drops the attribute.',
    )
    path: Literal["rewrite", "keep"] = Field(
        "rewrite",
        description="`rewrite` takes the upstream's base path off `Path` and puts `strip_prefix` before it, "
        "as for redirects; `/` becomes the prefix.",
    )
    secure: Literal["keep", "add", "drop"] = Field(
        "keep",
        description="The `Secure` attribute. `drop`, for plain HTTP, drops `Partitioned` too and makes "
        "`SameSite=None` into `Lax`: both need `Secure`.",
    )
    same_site: Literal["keep", "strict", "lax", "none", "drop"] = Field(
        "keep",
        description="The `SameSite` attribute. `none` is written only beside `Secure`, without which "
        "browsers refuse it.",
    )
    forward: Literal["all", "own", "listed"] = Field(
        "all",
        description="Which cookies of requests go on: `all`; those in `forward_names` (`listed`); or these "
        "and the ones that the upstream has set through this proxy since it started (`own`, one process "
        "only).",
    )
    forward_names: Words = Field(
        default=[], description="Names of cookies that go on, with `forward: own` and `listed`."
    )


def _block_or_word(value: object) -> str:
    """Which form of a key was written: a mapping, or a word."""
    return "<block>" if isinstance(value, dict | Settings) else "<word>"


def _nothing_is_missing(value: object) -> object:
    """A key with nothing behind it is as if it were not there: `config.routes` says what it needs."""
    return "" if value is None else value


class Route(Settings):
    """One entry of the routing table. The first that matches serves the request."""

    name: str | None = Field(
        None, description="Its name in logs and metrics. Default: `route-1`, `route-2` and so on."
    )
    match: Match = Field(Match(), description="Which requests it takes. Default: all.")
    upstream: str | None = Field(
        None,
        description="Required. A name from `upstreams`, or a URL, whose path is prepended to the request's.",
    )
    strip_prefix: str | None = Field(
        None, description="What to take off the front of the path before forwarding."
    )
    cors: Annotated[
        Annotated[Policy, Tag("<block>")] | Annotated[str, Off, Tag("<word>")],
        Discriminator(_block_or_word),
        BeforeValidator(_nothing_is_missing),
        Kind("policy name, policy, or `off`"),
    ] = Field(
        "",
        description="Required. The name of a policy, a policy in place, or `off`: then preflights and the "
        "upstream's own CORS fields pass through.",
    )
    timeouts: RouteTimeouts = Field(RouteTimeouts(), description="Time limits of this route.")
    limits: RouteLimits = Field(RouteLimits(), description="Limits of this route.")
    request_headers: HeaderEdits = Field(
        HeaderEdits(),
        description="Changes to the request, made last: also to what the proxy itself says, such as "
        "`X-Forwarded-For`.",
    )
    response_headers: HeaderEdits = Field(
        HeaderEdits(),
        description="Changes to the upstream's response; answers of the proxy itself stay as they are.",
    )
    redirects: Literal["rewrite", "keep"] = Field(
        "rewrite",
        description="`rewrite` brings `Location`, `Content-Location` and `Refresh` that point at the "
        "upstream back to the proxy: its base path is taken off, `strip_prefix` put before. Other hosts and "
        "relative paths stay.",
    )
    cookies: Cookies = Field(Cookies(), description="Changes to `Set-Cookie`.")
    websocket: Annotated[Literal["same_policy", "any", "off"], Off] = Field(
        "same_policy",
        description="WebSocket and other upgrades: `same_policy` checks the origin by the route's policy, "
        "`any` does not, `off` serves the request without the upgrade.",
    )


class Config(Settings):
    """The whole file."""

    listen: Annotated[
        Annotated[Listen, Tag("<block>")] | Annotated[Address, Tag("<word>")],
        Discriminator(_block_or_word),
        Kind("address, or address and TLS"),
    ] = Field(
        "127.0.0.1:8080",
        description="Where clients connect: `HOST:PORT`, `[::1]:PORT` or `unix:/path`. Port 0: any free.",
    )
    admin: Annotated[
        Annotated[Admin, Tag("<block>")] | Annotated[AddressOrOff, Tag("<word>")],
        Discriminator(_block_or_word),
        Kind("address, `off`, or address and more"),
    ] = Field(
        "127.0.0.1:8081",
        description="Where health, metrics and explanations are asked for; `off` = nowhere. Keep it off "
        "public networks.",
    )
    workers: Workers = Field(
        1,
        description="Processes that share the port; `auto` = one per core.",
    )
    trusted_proxies: Words = Field(
        default=[],
        description="Networks (CIDR, or `private`) whose `X-Forwarded-*` and `Forwarded` fields are kept; "
        "those of others are replaced.",
    )
    log: Log = Field(Log(), description="The log.")
    drain: Drain = Field(Drain(), description="The graceful stop.")
    timeouts: Timeouts = Field(Timeouts(), description="Time limits.")
    limits: Limits = Field(Limits(), description="Limits.")
    origins: dict[str, list[str]] = Field(
        default={}, description='Groups of origins, used as `"@name"` in `allow_origins`.'
    )
    policies: dict[str, Policy] = Field(default={}, description="Named policies.")
    upstreams: dict[str, Upstream] = Field(default={}, description="Named upstreams.")
    routes: list[Route] = Field(default=[], description="Required. Routes, in the order they are tried.")
