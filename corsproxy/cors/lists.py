"""Lists of names in a policy: allowed methods, allowed headers, exposed headers.

Here:  reading the entries, naming what is wrong with each, and the form they are compared in.
Never: origins; the lists that clients and upstreams send (`fields`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from corsproxy.cors.browser import is_forbidden_request_header
from corsproxy.cors.fields import FORBIDDEN_RESPONSE_HEADERS, is_token
from corsproxy.cors.hazards import Hazard, as_written, caution, find_duplicates, problem
from corsproxy.cors.policy import FORBIDDEN_METHODS, Written
from corsproxy.http.methods import FORWARDABLE_METHODS

__all__ = ["NameList", "read_allowed_headers", "read_exposed_headers", "read_methods"]

ANY = "*"


@dataclass(frozen=True, slots=True)
class NameList:
    """One list of a policy, read."""

    any: bool  # "*" was among the entries
    names: tuple[bytes, ...]  # the other entries as written, each once

    @property
    def compared(self) -> frozenset[bytes]:
        """The names of fields as they are compared: in lower case (RFC 9110 §5.1)."""
        return frozenset(name.lower() for name in self.names)


def read_methods(entries: Sequence[Written]) -> tuple[NameList, list[Hazard]]:
    """allow_methods: names with case (RFC 9110 §9.1), or "*" alone."""
    found: list[Hazard] = []
    for written in entries:
        if written.text == ANY and len(entries) > 1:
            found.append(any_beside_others(written, "allow_methods"))
        elif written.text != ANY:
            found.extend(_method_hazards(written))
    found.extend(find_duplicates((written, written.text) for written in entries))
    return _collect(entries, keep_case=True), found


def any_beside_others(written: Written, key: str) -> Hazard:
    """A "*" that makes the other entries of its list meaningless, or was not meant."""
    return problem(
        "any-beside-others",
        written,
        f'"*" stands beside other entries of {key}: either it is meant, or they are',
        f'write {key}: "*" alone, or remove "*"',
    )


def _method_hazards(written: Written) -> Iterator[Hazard]:
    name = _bytes(written)
    upper = name.upper()
    if not is_token(name):
        yield _no_token("method-malformed", written, "method", "RFC 9110 §9.1")
    elif upper in FORBIDDEN_METHODS:
        why = f'"{as_written(written)}" is forbidden to scripts (Fetch, #forbidden-method)'
        yield problem("method-forbidden", written, why, f"remove {as_written(written)}")
    elif name not in FORWARDABLE_METHODS:
        if upper in FORWARDABLE_METHODS:
            why = (
                f'"{as_written(written)}" is another method than {upper.decode()} (RFC 9110 §9.1: with case)'
            )
            yield problem("method-case", written, why, f"write {upper.decode()}")
        else:
            why = f'"{as_written(written)}" is no method that this proxy can forward'
            yield problem("method-not-forwardable", written, why, _did_you_mean(upper.decode()))
    elif name == b"OPTIONS":
        why = '"OPTIONS" is needless: a preflight asks for the method of the call, never for its own'
        yield caution("method-needless", written, why, "remove OPTIONS, unless scripts send it themselves")


def _did_you_mean(name: str) -> str:
    known = sorted(method.decode() for method in FORWARDABLE_METHODS - FORBIDDEN_METHODS)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"remove {name}"


def read_allowed_headers(entries: Sequence[Written]) -> tuple[NameList, list[Hazard]]:
    """allow_headers: field names, or "*", beside which Authorization may stand."""
    names = _collect(entries)
    found = [hazard for written in entries for hazard in _allowed_header_hazards(written)]
    if names.any:
        found.extend(_any_header_hazards(entries, names))
    found.extend(find_duplicates((written, written.text.lower()) for written in entries))
    return names, found


def _allowed_header_hazards(written: Written) -> Iterator[Hazard]:
    name = _bytes(written).lower()
    if not is_token(name):
        yield _no_token("header-name-malformed", written, "field name", "RFC 9110 §5.1")
    elif is_forbidden_request_header(name):
        why = f'"{as_written(written)}" is set by the browser alone, so no preflight asks for it '
        yield caution(
            "forbidden-header-name",
            written,
            why + "(Fetch, #forbidden-request-header)",
            f"remove {as_written(written)}",
        )


def _any_header_hazards(entries: Sequence[Written], names: NameList) -> Iterator[Hazard]:
    for written in entries:
        if written.text == ANY and b"authorization" not in names.compared:
            yield caution(
                "any-header-without-authorization",
                written,
                '"*" does not cover Authorization: a request with a bearer token fails its preflight '
                "(Fetch, #cors-non-wildcard-request-header-name)",
                'write ["*", Authorization] if scripts send tokens',
            )
        elif written.text != ANY and written.text.lower() != "authorization":
            yield _covered_by_any(written)


def read_exposed_headers(entries: Sequence[Written], *, credentials: bool) -> tuple[NameList, list[Hazard]]:
    """expose_headers: field names, or "*"."""
    names = _collect(entries)
    found = [hazard for written in entries for hazard in _exposed_header_hazards(written)]
    for written in entries if names.any else ():
        if written.text == ANY and credentials:
            found.append(_any_exposed(written))
        elif written.text != ANY and written.text.lower() != "authorization":
            found.append(_covered_by_any(written))
    found.extend(find_duplicates((written, written.text.lower()) for written in entries))
    return names, found


def _exposed_header_hazards(written: Written) -> Iterator[Hazard]:
    name = _bytes(written).lower()
    if not is_token(name):
        yield _no_token("header-name-malformed", written, "field name", "RFC 9110 §5.1")
    elif name in FORBIDDEN_RESPONSE_HEADERS:
        why = f'"{as_written(written)}" is readable to no script (Fetch, #forbidden-response-header-name)'
        yield caution("never-exposed", written, why, f"remove {as_written(written)}")


def _any_exposed(written: Written) -> Hazard:
    return caution(
        "any-exposed-with-credentials",
        written,
        'with allow_credentials: true browsers read "*" as a name (Fetch, #cors-protocol-and-credentials), '
        "so every response lists the names that stand on it instead",
        "list the names that scripts need",
    )


def _covered_by_any(written: Written) -> Hazard:
    return caution(
        "needless-beside-any",
        written,
        f'"{as_written(written)}" is covered by the "*" beside it',
        f"remove {as_written(written)}",
    )


def _no_token(code: str, written: Written, what: str, section: str) -> Hazard:
    bare = _bytes(written).strip(b" \t\r\n:;,\"'")
    remedy = f"write {bare.decode()}" if is_token(bare) else f"write one {what} an entry"
    return problem(code, written, f'"{as_written(written)}" is no {what} ({section}: a token)', remedy)


def _collect(entries: Sequence[Written], *, keep_case: bool = False) -> NameList:
    kept: dict[bytes, bytes] = {}
    for name in map(_bytes, entries):
        if name != b"*":
            kept.setdefault(name if keep_case else name.lower(), name)
    return NameList(any=any(written.text == ANY for written in entries), names=tuple(kept.values()))


def _bytes(written: Written) -> bytes:
    return written.text.encode("utf-8", "replace")
