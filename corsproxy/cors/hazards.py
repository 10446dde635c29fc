"""What is wrong or unwise in a policy, found when the file is loaded.

Here:  the shape of a finding, and the findings that concern keys as they stand beside each other.
Never: raising; findings of one entry's spelling (`entries`, `lists`, `regexes`); lines and files (`config`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from corsproxy.cors.fields import MAX_SHOWN
from corsproxy.cors.origins import Origin, OriginPattern, is_loopback_host
from corsproxy.cors.policy import PolicySpec, Written
from corsproxy.cors.sites import shared_suffix

__all__ = [
    "Hazard",
    "any_app_with_credentials",
    "any_with_credentials",
    "as_written",
    "caution",
    "find_duplicates",
    "find_key_hazards",
    "find_pattern_hazards",
    "insecure_with_credentials",
    "is_insecure",
    "is_shared",
    "null_origin",
    "null_with_credentials",
    "problem",
    "public_suffix",
]

INSECURE_KEY = "dangerously_allow_insecure_origins"
PUBLIC_SUFFIX_KEY = "dangerously_allow_public_suffix_origins"
LONGEST_MAX_AGE = 86_400  # Firefox; Chromium stops at 7200, WebKit at 600


@dataclass(frozen=True, slots=True)
class Hazard:
    """One finding. An error keeps the policy from loading, a warning does not."""

    code: str  # a stable word: "any-origin-with-credentials"
    severity: Literal["error", "warning"]
    where: tuple[str | int, ...]  # path in the document, as in Written.where
    message: str  # one sentence: what is wrong and why (with the section that decides)
    remedy: str  # what to write instead


def problem(code: str, written: Written, message: str, remedy: str) -> Hazard:
    """An error about one scalar of the file."""
    return Hazard(code, "error", written.where, message, remedy)


def caution(code: str, written: Written, message: str, remedy: str) -> Hazard:
    """A warning about one scalar of the file."""
    return Hazard(code, "warning", written.where, message, remedy)


_PASSWORD = re.compile(r":[^:/?#@\s]+@")


def as_written(written: Written) -> str:
    """The text of an entry for a message: printable, without a password, cut where nobody reads on."""
    whole = _PASSWORD.sub(":***@", written.text)
    text = "".join(char if char.isprintable() else "?" for char in whole[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def any_with_credentials(written: Written) -> Hazard:
    """Any origin, however it is spelled, together with credentials."""
    return problem(
        "any-origin-with-credentials",
        written,
        f'"{as_written(written)}" cannot be used with allow_credentials: true: '
        "every site could act as the signed-in user (Fetch, #cors-protocol-and-credentials)",
        "list the origins, or remove allow_credentials",
    )


def null_with_credentials(written: Written) -> Hazard:
    """The origin of everybody who hides theirs, together with credentials."""
    return problem(
        "null-with-credentials",
        written,
        '"null" cannot be used with allow_credentials: true: '
        "any page can send it from a sandboxed frame (Fetch, #origin-header)",
        'remove "null", or remove allow_credentials',
    )


def null_origin(written: Written) -> Hazard:
    """The origin of everybody who hides theirs."""
    return caution(
        "null-origin",
        written,
        '"null" admits every page that hides its origin, such as a sandboxed frame (Fetch, #origin-header)',
        "list the origin of the page, or let it have one",
    )


def insecure_with_credentials(written: Written, origin: bytes) -> Hazard:
    """An origin that anyone on the network's path can speak for, together with credentials."""
    return problem(
        "insecure-origin-with-credentials",
        written,
        f'"{as_written(written)}" admits {origin.decode()} with credentials: whoever controls the network '
        "can serve a page from there (Secure Contexts, #is-origin-trustworthy)",
        f"write {origin.replace(b'http:', b'https:', 1).decode()}, or set {INSECURE_KEY}: true",
    )


def any_app_with_credentials(written: Written, other: Origin) -> Hazard:
    """Every app or extension of a scheme, each by somebody else, together with credentials."""
    return problem(
        "any-app-with-credentials",
        written,
        f'"{as_written(written)}" admits others, such as {bytes(other).decode()}, with credentials: '
        "anyone can publish an app or an extension",
        f"list the origins, or set {PUBLIC_SUFFIX_KEY}: true",
    )


def public_suffix(written: Written, suffix: str) -> Hazard:
    """A pattern over names that strangers can register."""
    return problem(
        "public-suffix-origin",
        written,
        f'"{as_written(written)}" admits strangers: anyone can have a name under {suffix} (publicsuffix.org)',
        f"name your own host under {suffix}, or set {PUBLIC_SUFFIX_KEY}: true",
    )


def find_pattern_hazards(spec: PolicySpec, written: Written, pattern: OriginPattern) -> Iterator[Hazard]:
    """What is too wide in one entry of allow_origins, given the keys beside it."""
    if is_insecure(pattern) and spec.allow_credentials and not spec.dangerously_allow_insecure_origins:
        origin = b"http://%b%b" % (b"*." if pattern.subdomains else b"", pattern.host)
        yield insecure_with_credentials(written, origin)
    if is_shared(pattern) and not spec.dangerously_allow_public_suffix_origins:
        yield public_suffix(written, shared_suffix(pattern.host))


def is_insecure(pattern: OriginPattern) -> bool:
    """Is this plain http to another machine?"""
    return pattern.scheme == b"http" and not is_loopback_host(pattern.host)


def is_shared(pattern: OriginPattern) -> bool:
    """Does this admit hosts of several owners?"""
    return pattern.subdomains and bool(shared_suffix(pattern.host))


def find_duplicates(entries: Iterable[tuple[Written, object]]) -> Iterator[Hazard]:
    """A warning for every entry that stands for the same as an earlier one of its list."""
    seen: dict[object, Written] = {}
    for written, stands_for in entries:
        first = seen.setdefault(stands_for, written)
        if first is not written:
            where = f" on line {first.line}" if first.line else ""
            yield caution(
                "duplicate-entry",
                written,
                f'"{as_written(written)}" repeats "{as_written(first)}"{where}',
                "remove one of them",
            )


def find_key_hazards(spec: PolicySpec, *, insecure: bool, shared: bool) -> Iterator[Hazard]:
    """What is wrong with the scalar keys of a policy.

    insecure, shared: one of its entries admits plain http of other machines, or names below a public suffix.
    """
    if not (spec.allow_origins or spec.allow_origin_regex):
        yield Hazard(
            "no-origins",
            "warning",
            (*spec.where, "allow_origins"),
            "no origin is listed, so every CORS request is refused: an empty list means none",
            "list the origins in allow_origins, or write cors: off on the route if the upstream decides",
        )
    yield from _max_age_hazards(spec)
    if spec.dangerously_allow_insecure_origins and not (spec.allow_credentials and insecure):
        yield _needless(
            spec, INSECURE_KEY, "no http:// origin of another machine is allowed with credentials"
        )
    if spec.dangerously_allow_public_suffix_origins and not shared:
        yield _needless(spec, PUBLIC_SUFFIX_KEY, "no entry covers a public suffix")


def _max_age_hazards(spec: PolicySpec) -> Iterator[Hazard]:
    where = (*spec.where, "max_age")
    if spec.max_age is None:
        return
    if spec.max_age < 0:
        message = "max_age is negative, which is no delta-seconds (Fetch, #http-access-control-max-age)"
        yield Hazard("max-age-negative", "error", where, message, "write 0 to forbid caching")
    elif spec.max_age > LONGEST_MAX_AGE:
        message = (
            f"max_age is {spec.max_age} seconds, but browsers stop earlier: "
            "Firefox at 86400, Chromium at 7200, WebKit at 600 (Fetch, #cors-preflight-fetch)"
        )
        yield Hazard("max-age-capped", "warning", where, message, "write 2h, or 24h at most")


def _needless(spec: PolicySpec, key: str, why: str) -> Hazard:
    message = f"{key} is set, but {why}"
    return Hazard("dangerous-key-not-needed", "warning", (*spec.where, key), message, f"remove {key}")
