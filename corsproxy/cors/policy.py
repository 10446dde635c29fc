"""What a policy is: as written in the file (`PolicySpec`), and compiled for serving (`CorsPolicy`).

Here:  two frozen shapes. `cors.compile` turns the first into the second; `cors.decide` reads the second.
Never: decisions, positions in files beyond the opaque `where` and `line` carried for messages.
"""

from dataclasses import dataclass, field
from typing import Literal

from corsproxy.cors.origins import OriginRule, OriginRules
from corsproxy.http.methods import FORWARDABLE_METHODS

__all__ = [
    "ANY_METHODS",
    "DEFAULT_METHODS",
    "FORBIDDEN_METHODS",
    "SAFELISTED_METHODS",
    "Corp",
    "CorsPolicy",
    "PolicySpec",
    "Written",
]

Corp = Literal["same-origin", "same-site", "cross-origin"]

# A browser lets these pass a preflight even when unlisted (Fetch, #cors-safelisted-method).
SAFELISTED_METHODS = frozenset({b"GET", b"HEAD", b"POST"})
DEFAULT_METHODS = ("GET", "HEAD", "POST")
# No script may use these (Fetch, #forbidden-method), so no policy allows them.
FORBIDDEN_METHODS = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
# What `allow_methods: "*"` stands for: another method could not be forwarded, so it is not promised.
ANY_METHODS = FORWARDABLE_METHODS - FORBIDDEN_METHODS


@dataclass(frozen=True, slots=True)
class Written:
    """One scalar as it stands in the configuration file."""

    text: str
    where: tuple[str | int, ...] = ()  # path in the document: ("policies", "web", "allow_origins", 0)
    line: int = 0  # 1-based; 0 = not from a file


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A policy block of the file after `extends` and "@group" were resolved; every key of design §1 is here.

    A list that was written as the string "*" arrives as one `Written("*")`.
    """

    name: str  # the policy's name, or "route NAME" for an inline one
    where: tuple[str | int, ...] = ()  # of the block itself
    line: int = 0
    allow_origins: tuple[Written, ...] = ()
    allow_origin_regex: tuple[Written, ...] = ()
    allow_methods: tuple[Written, ...] = tuple(Written(method) for method in DEFAULT_METHODS)
    allow_headers: tuple[Written, ...] = ()
    expose_headers: tuple[Written, ...] = ()
    allow_credentials: bool = False
    max_age: int | None = None  # seconds; None = leave the field out
    allow_private_network: bool = False
    timing_allow_origin: bool = False
    cross_origin_resource_policy: Corp | None = None
    preflight_status: Literal[200, 204] = 204
    on_denied: Literal["pass", "block"] = "pass"
    upstream_cors: Literal["replace", "merge_expose"] = "replace"
    mode: Literal["enforce", "report_only"] = "enforce"
    diagnostics: bool = False
    dangerously_allow_insecure_origins: bool = False
    dangerously_allow_public_suffix_origins: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CorsPolicy:
    """A policy ready to serve: every list joined, every name in the form it is compared in.

    Identity is equality: a policy is a key of the memo tables on the hot path.
    """

    name: str
    origins: OriginRules
    methods: frozenset[bytes]  # the configured ones plus the safelisted; with case
    any_method: bool
    methods_value: bytes  # ready Access-Control-Allow-Methods value (b"" when it depends on the request)
    headers: frozenset[bytes]  # lower case
    any_header: bool
    headers_value: bytes  # ready Access-Control-Allow-Headers value (b"" = none, or depends on the request)
    expose_value: bytes  # ready Access-Control-Expose-Headers value; b"" = none
    expose: frozenset[bytes]  # lower case
    expose_any: bool  # "*" was written: with credentials the names present on the response are listed instead
    credentials: bool
    max_age: bytes  # b"" = leave the field out
    private_network: bool
    timing_allow_origin: bool
    corp: bytes  # b"" = leave the upstream's alone
    preflight_status: int
    block_denied: bool
    merge_expose: bool
    report_only: bool
    diagnostics: bool
    any_origin: OriginRule | None  # the "*" rule when any origin is allowed; then credentials is False
    spec: PolicySpec = field(repr=False)

    @property
    def owned_fields(self) -> frozenset[bytes]:
        """Response fields (lower case) that are this policy's beside the CORS fields: the upstream's go.

        Also where we send none: an upstream's `Timing-Allow-Origin: *` must not admit an origin that we
        refuse, and two Cross-Origin-Resource-Policy lines match nothing.
        """
        timing = {b"timing-allow-origin"} if self.timing_allow_origin else set()
        return frozenset(timing | ({b"cross-origin-resource-policy"} if self.corp else set()))

    @property
    def varies(self) -> bool:
        """Does the response depend on Origin, so that `Vary: Origin` belongs on every one of them?

        Not for a plain "*": then the answer is the same for all (Fetch, #cors-protocol-and-http-caches).
        """
        return self.any_origin is None
