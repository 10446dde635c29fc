"""The smallest change of a policy that would let a call through, or why none is offered.

Here:  one change after another, until the very functions that decide say yes; each is judged as if it stood
       in the file.
Never: changing files, their syntax and line breaks; routes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from corsproxy.cors.browser import Call, unsafe_names
from corsproxy.cors.compile import compile_policy
from corsproxy.cors.decide import Decision, Preflight, Reason, decide_actual, decide_preflight
from corsproxy.cors.hazards import Hazard
from corsproxy.cors.lists import read_methods
from corsproxy.cors.origins import is_loopback_host, parse_origin
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written
from corsproxy.cors.sites import site_of

__all__ = ["Change", "Key", "Remedy", "find_remedy", "place_of"]

ListKey = Literal["allow_origins", "allow_methods", "allow_headers"]
Key = Literal["allow_origins", "allow_methods", "allow_headers", "allow_credentials"]

_ANY = "*"
# More than this many changes is another policy, not a small change.
_MOST_CHANGES = 40


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the file: an entry more in a list, or a key with a value."""

    key: Key  # of the policy
    where: tuple[str | int, ...]  # the list, or the key; a list may stand in a group, or in another policy
    line: int  # 1-based; 0 = not from a file
    value: str | bool | tuple[str, ...]  # what to add, or what the key holds then
    adds: bool  # True = one more entry of the list that stands there


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would let a call through. Without changes, the warning or the advice says why there are none."""

    changes: tuple[Change, ...] = ()
    warning: str = ""  # why the change is, or would be, unsafe
    advice: str = ""  # what to do beside the file, or instead


def find_remedy(policy: CorsPolicy, call: Call, *, preflight: bool) -> Remedy:
    """The smallest change of this policy under which the call succeeds; nothing when it succeeds already.

    preflight: the call needs one.
    """
    spec = replace(policy.spec, mode="enforce")
    known = {hazard.message for hazard in compile_policy(spec)[1]}
    changes: list[Change] = []
    beside: list[str] = []
    while len(changes) < _MOST_CHANGES:
        compiled, hazards = compile_policy(spec)
        fresh = [hazard for hazard in hazards if hazard.message not in known]
        if compiled is None:
            return _refused(fresh)
        cautions = [*beside, *(hazard.message for hazard in fresh)]
        decision = _first_refusal(compiled, call, preflight=preflight)
        if decision is not None and decision.reason in _BESIDE_THE_FILE:
            return _advice(spec, decision)
        if wrong := _wrong_method(decision, call):
            return wrong
        change = _next_change(compiled, spec, call, decision)
        if change is None:
            return Remedy(tuple(changes), "; ".join(cautions))
        if change.key == "allow_origins":
            if stranger := _find_stranger(spec, call):
                return Remedy(warning=stranger)
            beside = _insecure(call)
        changes.append(change)
        spec = _applied(spec, change)
    return Remedy(advice='too much is missing for a small change; is allow_headers: "*" meant?')


_BESIDE_THE_FILE = frozenset({Reason.ORIGIN_MALFORMED, Reason.REQUEST_HEADER_LIST_MALFORMED})


# What a hazard's own remedy says to somebody who wrote the entry does not fit one who only asks for it.
_INSTEAD = {
    "any-origin-with-credentials": "list the origins beside allow_credentials: true, or call without",
    "null-with-credentials": "give the page an origin of its own, or call without credentials",
    "insecure-origin-with-credentials": "serve the page over https",
}


def _refused(hazards: Sequence[Hazard]) -> Remedy:
    """The change that is needed would not load."""
    error = next(hazard for hazard in hazards if hazard.severity == "error")
    return Remedy(warning=error.message, advice=_INSTEAD.get(error.code, error.remedy))


def _wrong_method(decision: Decision | None, call: Call) -> Remedy | None:
    """What is wrong with a refused method that no list can allow, not even "*"; None when one can."""
    if decision is None or decision.reason is not Reason.METHOD_NOT_ALLOWED:
        return None
    name = call.sent_method.decode("latin-1")
    found = read_methods([Written(name)])[1]
    error = next((hazard for hazard in found if hazard.severity == "error"), None)
    if error is None:
        return None
    if error.code == "method-case":
        # Fetch, #concept-method-normalize: six methods are upper-cased, of which PATCH is none.
        advice = f"write {name.upper()} in upper case: fetch does not upper-case {name}"
        return Remedy(warning=error.message, advice=advice)
    return Remedy(warning=error.message, advice="use another method")


def _advice(spec: PolicySpec, decision: Decision) -> Remedy:
    if decision.reason is Reason.REQUEST_HEADER_LIST_MALFORMED:
        return Remedy(advice="no browser sends such a list: send names with a comma between them")
    # Read as an entry of the file: its finding says how the origin is written.
    about = compile_policy(replace(spec, allow_origins=(Written(decision.detail),), allow_origin_regex=()))[1]
    meant = (hazard.remedy.removeprefix("write ").partition(", or set")[0] for hazard in about)
    written = next((text for text in meant if parse_origin(text.encode())), "")
    return Remedy(advice=f"no browser sends this origin{f': ask with {written}' if written else ''}")


def _first_refusal(policy: CorsPolicy, call: Call, *, preflight: bool) -> Decision | None:
    if preflight:
        names = unsafe_names(call)
        ask = Preflight(call.origin, call.sent_method, b",".join(names) if names else None)
        decision = decide_preflight(policy, ask)
        if not decision.allowed:
            return decision
    decision = decide_actual(policy, call.origin)
    return None if decision.allowed else decision


def _next_change(policy: CorsPolicy, spec: PolicySpec, call: Call, refusal: Decision | None) -> Change | None:
    if refusal is None:
        if call.credentials and not policy.credentials:
            where, line = (*spec.where, "allow_credentials"), spec.line
            return Change("allow_credentials", where, line, value=True, adds=False)
        return None
    match refusal.reason:
        case Reason.METHOD_NOT_ALLOWED:
            return _one_more(spec, "allow_methods", call.sent_method.decode("latin-1"))
        case Reason.HEADER_NOT_ALLOWED:
            return _one_more(spec, "allow_headers", refusal.detail)
        case _:
            return _one_more(spec, "allow_origins", call.origin.decode("latin-1"))


def _one_more(spec: PolicySpec, key: ListKey, text: str) -> Change:
    entries = getattr(spec, key)
    where, line = place_of(spec, key)
    written = tuple(entry.text for entry in entries if entry.where)
    if not written:  # the key is not in the file, or holds an empty list
        return Change(key, where, line, (text,), adds=False)
    if written == (_ANY,):  # beside "*" stands a list: ["*", Authorization]
        return Change(key, where, line, (_ANY, text), adds=False)
    return Change(key, where, line, text, adds=True)


def place_of(spec: PolicySpec, key: Key) -> tuple[tuple[str | int, ...], int]:
    """Where a key of the policy stands, and on which line: that of its last entry.

    Entries may come from a group, or from a policy that this one extends; those in the policy itself are
    named first. A key that is not written is named where it would stand.
    """
    entries: Sequence[Written] = () if key == "allow_credentials" else getattr(spec, key)
    own = [entry for entry in entries if entry.where[: len(spec.where)] == spec.where and entry.where]
    written = own or [entry for entry in entries if entry.where]
    if not written:
        return (*spec.where, key), spec.line
    last = written[-1]
    where = last.where[:-1] if isinstance(last.where[-1], int) else last.where
    return where, last.line


def _applied(spec: PolicySpec, change: Change) -> PolicySpec:
    if change.key == "allow_credentials":
        return replace(spec, allow_credentials=True)
    texts = change.value if isinstance(change.value, tuple) else (str(change.value),)
    index = len(getattr(spec, change.key))
    added = tuple(Written(text, (*change.where, index + at), change.line) for at, text in enumerate(texts))
    entries = (*getattr(spec, change.key), *added) if change.adds else added
    return replace(spec, **{change.key: entries})  # type: ignore[arg-type]  # the key is one of the lists


# Origins that look like one that is meant


def _find_stranger(spec: PolicySpec, call: Call) -> str:
    """Why this origin must not be listed: its host is made to look like one that is; "" when it is not."""
    origin = parse_origin(call.origin)
    if origin is None:
        return ""
    owner = site_of(origin)[1]
    for written in spec.allow_origins:
        listed = parse_origin(
            written.text.replace("://*.", "://", 1).removesuffix(":*").encode("latin-1", "replace")
        )
        if listed is None or not (known := site_of(listed)[1]) or known.startswith(b"("):
            continue
        if known != owner and known in origin.host:
            shown, name = call.origin.decode("latin-1"), known.decode("latin-1")
            return f"{shown} looks like {name}, but belongs to whoever owns {owner.decode('latin-1')}"
    return ""


def _insecure(call: Call) -> list[str]:
    origin = parse_origin(call.origin)
    if origin is None or origin.scheme != b"http" or is_loopback_host(origin.host):
        return []
    return [f"whoever controls the network can serve a page from {call.origin.decode('latin-1')}"]
