"""The CORS decision: may a script of this origin read this response?

Here:  functions from (policy, facts of one request) to a Decision. Fetch, #http-cors-protocol.
Never: sockets, clocks, files, logs, YAML, aiohttp. The caller brings facts and carries decisions out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from corsproxy.cors.fields import (
    ALLOW_CREDENTIALS,
    ALLOW_ORIGIN,
    EXPOSE_HEADERS,
    Fields,
    parse_names,
    shown,
)
from corsproxy.cors.origins import NULL, OriginRule, is_well_formed
from corsproxy.cors.policy import ANY_METHODS, CorsPolicy

__all__ = [
    "NO_POLICY",
    "Decision",
    "Kind",
    "Preflight",
    "Reason",
    "decide_actual",
    "decide_no_route",
    "decide_preflight",
]


class Reason(StrEnum):
    """Why a decision fell as it did: one word for log, metric, `explain`, inspector and tests."""

    ALLOWED = "allowed"
    NOT_CORS = "not-cors"
    SAME_ORIGIN = "same-origin"
    ORIGIN_NOT_ALLOWED = "origin-not-allowed"
    ORIGIN_MALFORMED = "origin-malformed"
    NULL_NOT_ALLOWED = "null-not-allowed"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    HEADER_NOT_ALLOWED = "header-not-allowed"
    REQUEST_HEADER_LIST_MALFORMED = "request-header-list-malformed"
    NO_POLICY = "no-policy"
    NO_ROUTE = "no-route"
    REPORT_ONLY = "report-only"


class Kind(StrEnum):
    """What a request is to the CORS protocol."""

    PREFLIGHT = "preflight"
    ACTUAL = "actual"
    NOT_CORS = "not-cors"


@dataclass(frozen=True, slots=True)
class Preflight:
    """The facts of one preflight, as sent."""

    origin: bytes  # the Origin field; several lines joined with ", " (which never matches)
    method: bytes  # Access-Control-Request-Method
    headers: bytes | None = None  # Access-Control-Request-Headers, lines joined with ","; None = absent
    private_network: bool = False  # Access-Control-Request-Private-Network: true


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What to do about CORS for one request, and why. Returned, never raised."""

    kind: Kind
    reason: Reason
    detail: str  # the value that settled it: an origin, a method, a header name; "" when there is none
    allowed: bool  # may a script read the response (preflight: may the browser go on)?
    fields: Fields  # fields of the response or answer, in order; each replaces the upstream's; never Vary
    vary: tuple[bytes, ...]  # tokens to merge into Vary
    rule: OriginRule | None = None  # what admitted the origin
    passes: bool = False  # report_only or no policy: the upstream's own CORS fields stay, nothing is added
    blocks: bool = False  # answer 403 without asking the upstream (on_denied: block, or a refused preflight)
    expose_present: bool = False  # add Access-Control-Expose-Headers from the names on the response
    merge_expose: bool = False  # add the upstream's own exposed names to ours


# The decision of a route with `cors: off`: nothing here stands in the way, the upstream speaks for itself.
NO_POLICY = Decision(Kind.NOT_CORS, Reason.NO_POLICY, "", allowed=True, fields=(), vary=(), passes=True)

_ORIGIN_VARY = (b"Origin",)
_REQUEST_VARY = (b"Access-Control-Request-Method", b"Access-Control-Request-Headers")


def decide_preflight(policy: CorsPolicy, ask: Preflight) -> Decision:
    """Settle one preflight in the browser's order: origin, method, headers (Fetch, #cors-preflight-fetch)."""
    vary = _ORIGIN_VARY + _REQUEST_VARY if policy.varies else _REQUEST_VARY
    decision = _settle_preflight(policy, ask, vary)
    return _report(decision) if policy.report_only else decision


def _settle_preflight(policy: CorsPolicy, ask: Preflight, vary: tuple[bytes, ...]) -> Decision:
    rule = _find_rule(policy, ask.origin)
    if rule is None:
        return _refuse(_why_not(ask.origin), ask.origin, (), vary)
    passed = _check_fields(policy, ask.origin)
    if not _may_use_method(policy, ask.method):
        return _refuse(Reason.METHOD_NOT_ALLOWED, ask.method, passed if policy.diagnostics else (), vary)
    passed = (*passed, *_method_fields(policy, ask.method))
    names = () if ask.headers is None else parse_names(ask.headers)
    if names is None:
        reason, detail = Reason.REQUEST_HEADER_LIST_MALFORMED, ask.headers or b""
        return _refuse(reason, detail, passed if policy.diagnostics else (), vary)
    for name in names:
        if not _may_send_header(policy, name):
            return _refuse(Reason.HEADER_NOT_ALLOWED, name, passed if policy.diagnostics else (), vary)
    fields = (*passed, *_header_fields(policy, names), *_closing_fields(policy, ask))
    return Decision(Kind.PREFLIGHT, Reason.ALLOWED, shown(ask.origin), True, fields, vary, rule)


def decide_actual(policy: CorsPolicy, origin: bytes | None, *, same_origin: bool = False) -> Decision:
    """Settle one request that is not a preflight.

    origin: the Origin field, several lines joined with ", "; None = absent.
    same_origin: the request comes from the proxy's own origin, which needs no permission: pages send Origin
        with every same-origin POST (Fetch, #origin-header).
    """
    decision = _settle_actual(policy, origin, same_origin)
    return _report(decision) if policy.report_only else decision


def _settle_actual(policy: CorsPolicy, origin: bytes | None, same_origin: bool) -> Decision:
    vary = _ORIGIN_VARY if policy.varies else ()
    if origin is None:
        return Decision(Kind.NOT_CORS, Reason.NOT_CORS, "", True, _open_fields(policy), vary)
    if rule := _find_rule(policy, origin):
        return _admit(policy, origin, rule, vary)
    reason = _why_not(origin)
    if same_origin and reason is not Reason.ORIGIN_MALFORMED:
        return Decision(Kind.ACTUAL, Reason.SAME_ORIGIN, shown(origin), True, _corp_fields(policy), vary)
    return Decision(
        Kind.ACTUAL, reason, shown(origin), False, _open_fields(policy), vary, blocks=policy.block_denied
    )


def _admit(policy: CorsPolicy, origin: bytes, rule: OriginRule, vary: tuple[bytes, ...]) -> Decision:
    fields = _response_fields(policy, origin)
    return Decision(
        Kind.ACTUAL,
        Reason.ALLOWED,
        shown(origin),
        allowed=True,
        fields=fields,
        vary=vary,
        rule=rule,
        expose_present=policy.expose_any and policy.credentials,
        merge_expose=policy.merge_expose,
    )


def decide_no_route(
    policies: Sequence[CorsPolicy], origin: bytes | None, *, preflight: bool = False
) -> Decision:
    """Settle a request that no route takes, with the fields of the first policy that allows the origin.

    So a script can read the 404 of a mistyped path; a preflight fails by its status whatever it carries.
    """
    enforced = [policy for policy in policies if not policy.report_only]
    vary: tuple[bytes, ...] = _ORIGIN_VARY if enforced and enforced[0].varies else ()
    if preflight:  # which route takes it depends on the method that it asks for
        vary += _REQUEST_VARY
    if origin is None:
        fields = _open_fields(enforced[0]) if enforced else ()
        return Decision(Kind.NOT_CORS, Reason.NO_ROUTE, "", False, fields, vary)
    kind = Kind.PREFLIGHT if preflight else Kind.ACTUAL
    for policy in enforced if not preflight else ():
        found = _settle_actual(policy, origin, same_origin=False)
        if found.allowed:
            return replace(found, reason=Reason.NO_ROUTE, detail="", allowed=False, vary=vary)
    return Decision(kind, Reason.NO_ROUTE, "", False, (), vary)


def _find_rule(policy: CorsPolicy, origin: bytes) -> OriginRule | None:
    if policy.any_origin:
        return policy.any_origin if is_well_formed(origin) else None
    return policy.origins.find(origin)


def _why_not(origin: bytes) -> Reason:
    if origin == NULL:
        return Reason.NULL_NOT_ALLOWED
    return Reason.ORIGIN_NOT_ALLOWED if is_well_formed(origin) else Reason.ORIGIN_MALFORMED


def _refuse(reason: Reason, detail: bytes, fields: Fields, vary: tuple[bytes, ...]) -> Decision:
    return Decision(Kind.PREFLIGHT, reason, shown(detail), False, fields, vary, blocks=True)


def _report(decision: Decision) -> Decision:
    """The same verdict, not carried out: the answer is the upstream's, so nothing of ours belongs on it."""
    return Decision(
        decision.kind,
        Reason.REPORT_ONLY,
        decision.reason,
        decision.allowed,
        fields=(),
        vary=(),
        rule=decision.rule,
        passes=True,
    )


def _may_use_method(policy: CorsPolicy, method: bytes) -> bool:
    # With case: browsers upper-case six methods and leave `patch` alone (Fetch, #concept-method-normalize).
    return method in (ANY_METHODS if policy.any_method else policy.methods)


def _may_send_header(policy: CorsPolicy, name: bytes) -> bool:
    # "*" is any but Authorization (Fetch, #cors-non-wildcard-request-header-name).
    return name in policy.headers or (policy.any_header and name != b"authorization")


def _check_fields(policy: CorsPolicy, origin: bytes) -> Fields:
    """What the CORS check reads (Fetch, #concept-cors-check), on preflights and responses alike."""
    allow_origin = (ALLOW_ORIGIN, b"*" if policy.any_origin else origin)
    return (allow_origin, (ALLOW_CREDENTIALS, b"true")) if policy.credentials else (allow_origin,)


def _method_fields(policy: CorsPolicy, method: bytes) -> Fields:
    value = policy.methods_value or (method if policy.any_method else b"")
    return ((b"Access-Control-Allow-Methods", value),) if value else ()


def _header_fields(policy: CorsPolicy, names: Sequence[bytes]) -> Fields:
    value = policy.headers_value or (b",".join(names) if policy.any_header else b"")
    return ((b"Access-Control-Allow-Headers", value),) if value else ()


def _closing_fields(policy: CorsPolicy, ask: Preflight) -> Fields:
    max_age = ((b"Access-Control-Max-Age", policy.max_age),) if policy.max_age else ()
    # Only when asked, never `false`: the one value that means something is `true`.
    if policy.private_network and ask.private_network:
        return (*max_age, (b"Access-Control-Allow-Private-Network", b"true"))
    return max_age


def _response_fields(policy: CorsPolicy, origin: bytes) -> Fields:
    fields = _check_fields(policy, origin)
    if policy.expose_value:
        fields = (*fields, (EXPOSE_HEADERS, policy.expose_value))
    if policy.timing_allow_origin:
        fields = (*fields, (b"Timing-Allow-Origin", fields[0][1]))
    return (*fields, *_corp_fields(policy))


def _open_fields(policy: CorsPolicy) -> Fields:
    """What belongs on a response whatever the request's origin is.

    A plain "*" is sent even to requests without Origin, or a cache hands a response without it to a page
    (Fetch, #cors-protocol-and-http-caches).
    """
    return _response_fields(policy, b"") if policy.any_origin else _corp_fields(policy)


def _corp_fields(policy: CorsPolicy) -> Fields:
    return ((b"Cross-Origin-Resource-Policy", policy.corp),) if policy.corp else ()
