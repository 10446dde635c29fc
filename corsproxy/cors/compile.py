"""From a policy as written to a policy that serves, or to everything that is wrong with it.

Here:  every list read, joined and put in the form it is compared in; all findings at once, in a fixed order.
Never: YAML, `extends`, groups other than "@loopback": the caller has resolved them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from corsproxy.cors.entries import LOOPBACK_GROUP, read_entry
from corsproxy.cors.hazards import (
    Hazard,
    any_with_credentials,
    find_duplicates,
    find_key_hazards,
    find_pattern_hazards,
    is_insecure,
    is_shared,
    null_origin,
    null_with_credentials,
)
from corsproxy.cors.lists import (
    ANY,
    NameList,
    any_beside_others,
    read_allowed_headers,
    read_exposed_headers,
    read_methods,
)
from corsproxy.cors.origins import NULL, Matcher, OriginPattern, OriginRule, OriginRules
from corsproxy.cors.policy import SAFELISTED_METHODS, CorsPolicy, PolicySpec, Written
from corsproxy.cors.regexes import RegexEntry, read_regex

__all__ = ["compile_policy"]


@dataclass(slots=True)
class _Origins:
    """What the two origin lists of a policy hold, while they are read."""

    any_origin: OriginRule | None = None
    rules: list[tuple[Matcher, OriginRule]] = field(default_factory=list)
    patterns: list[OriginPattern] = field(default_factory=list)
    regexes: list[RegexEntry] = field(default_factory=list)

    @property
    def admit_insecure(self) -> bool:
        return any(map(is_insecure, self.patterns)) or any(entry.admits_insecure for entry in self.regexes)

    @property
    def admit_shared(self) -> bool:
        return any(map(is_shared, self.patterns)) or any(entry.admits_tenants for entry in self.regexes)


@dataclass(frozen=True, slots=True)
class _Lists:
    methods: NameList
    headers: NameList
    exposed: NameList


def compile_policy(spec: PolicySpec) -> tuple[CorsPolicy | None, list[Hazard]]:
    """The policy and the findings about it, in the order of its keys; no policy when one is an error."""
    origins = _Origins()
    found = [*_read_origins(spec, origins), *_read_regexes(spec, origins)]
    methods, about_methods = read_methods(spec.allow_methods)
    headers, about_headers = read_allowed_headers(spec.allow_headers)
    exposed, about_exposed = read_exposed_headers(spec.expose_headers, credentials=spec.allow_credentials)
    found += [*about_methods, *about_headers, *about_exposed]
    found += find_key_hazards(spec, insecure=origins.admit_insecure, shared=origins.admit_shared)
    if any(hazard.severity == "error" for hazard in found):
        return None, found
    return _assemble(spec, origins, _Lists(methods, headers, exposed)), found


def _read_origins(spec: PolicySpec, origins: _Origins) -> list[Hazard]:
    found: list[Hazard] = []
    stands_for: list[tuple[Written, object]] = []
    for written in spec.allow_origins:
        matchers, hazards = _read_origin(spec, written, origins)
        found += hazards
        stands_for += [(written, matchers)] if matchers else []
        rule = _rule(written)
        origins.rules += [(matcher, rule) for matcher in matchers]
        origins.patterns += [matcher for matcher in matchers if isinstance(matcher, OriginPattern)]
    return [*found, *find_duplicates(stands_for)]


def _read_origin(
    spec: PolicySpec, written: Written, origins: _Origins
) -> tuple[Sequence[Matcher], list[Hazard]]:
    if written.text == ANY:
        origins.any_origin = _rule(written)
        return (), _any_hazards(spec, written)
    if written.text == NULL.decode():
        return (None,), [null_with_credentials(written) if spec.allow_credentials else null_origin(written)]
    patterns, hazards = read_entry(written, credentials=spec.allow_credentials)
    if written.text != LOOPBACK_GROUP:
        hazards += [hazard for pattern in patterns for hazard in find_pattern_hazards(spec, written, pattern)]
    return patterns, hazards


def _any_hazards(spec: PolicySpec, written: Written) -> list[Hazard]:
    alone = len(spec.allow_origins) == 1 and not spec.allow_origin_regex
    hazards = [] if alone else [any_beside_others(written, "allow_origins")]
    return [*hazards, any_with_credentials(written)] if spec.allow_credentials else hazards


def _read_regexes(spec: PolicySpec, origins: _Origins) -> list[Hazard]:
    found: list[Hazard] = []
    for written in spec.allow_origin_regex:
        entry, hazards = read_regex(spec, written)
        found += hazards
        if entry:
            origins.regexes.append(entry)
            origins.rules.append((entry.matcher, _rule(written)))
    return [*found, *find_duplicates((written, written.text) for written in spec.allow_origin_regex)]


def _rule(written: Written) -> OriginRule:
    return OriginRule(written.text, written.line, written.where)


def _assemble(spec: PolicySpec, origins: _Origins, lists: _Lists) -> CorsPolicy:
    methods, headers, exposed = lists.methods, lists.headers, lists.exposed
    credentials = spec.allow_credentials
    return CorsPolicy(
        name=spec.name,
        origins=OriginRules(origins.rules),
        methods=frozenset(methods.names) | SAFELISTED_METHODS,
        any_method=methods.any,
        methods_value=_ready(methods, credentials=credentials),
        headers=headers.compared,
        any_header=headers.any,
        headers_value=_ready(headers, credentials=credentials),
        expose_value=b", ".join(exposed.names) if credentials else _ready(exposed, credentials=False),
        expose=exposed.compared,
        expose_any=exposed.any,
        credentials=credentials,
        max_age=b"" if spec.max_age is None else b"%d" % spec.max_age,
        private_network=spec.allow_private_network,
        timing_allow_origin=spec.timing_allow_origin,
        corp=(spec.cross_origin_resource_policy or "").encode("ascii"),
        preflight_status=spec.preflight_status,
        block_denied=spec.on_denied == "block",
        merge_expose=spec.upstream_cors == "merge_expose",
        report_only=spec.mode == "report_only",
        diagnostics=spec.diagnostics,
        any_origin=origins.any_origin,
        spec=spec,
    )


def _ready(names: NameList, *, credentials: bool) -> bytes:
    """The value of a list field when it is the same for every request; b"" when it is not, or there is none.

    With credentials a browser reads "*" as a name (Fetch, #cors-protocol-and-credentials), so the asked names
    are echoed instead.
    """
    if names.any:
        # Beside "*" only Authorization says anything more (Fetch, #cors-non-wildcard-request-header-name).
        beside = [name for name in names.names if name.lower() == b"authorization"]
        return b"" if credentials else b", ".join((b"*", *beside))
    return b", ".join(names.names)
