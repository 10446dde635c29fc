"""Entries of allow_origin_regex: compiled, or refused with an origin that shows why.

Here:  bounds, the order of the checks, the words of the findings and the corrected expression.
Never: the checks themselves (`backtracking`, `lookalikes`); matching requests (`origins`).
"""

import re
import warnings
from dataclasses import dataclass

from corsproxy.cors.backtracking import find_backtracking
from corsproxy.cors.hazards import (
    Hazard,
    any_app_with_credentials,
    any_with_credentials,
    as_written,
    insecure_with_credentials,
    problem,
    public_suffix,
)
from corsproxy.cors.lookalikes import Reach, find_reach
from corsproxy.cors.origins import Origin, OriginRegex, is_loopback_host
from corsproxy.cors.policy import PolicySpec, Written
from corsproxy.cors.regex_tree import Node, UnsupportedError, parse_tree

__all__ = ["MAX_REGEX_CHARS", "RegexEntry", "read_regex"]

MAX_REGEX_CHARS = 1024


@dataclass(frozen=True, slots=True)
class RegexEntry:
    """One expression that was read, for the findings that look at all entries together."""

    matcher: OriginRegex
    admits_insecure: bool  # http:// origins of other machines
    admits_tenants: bool  # several owners below one public suffix, or several apps


def read_regex(spec: PolicySpec, written: Written) -> tuple[RegexEntry | None, list[Hazard]]:
    """One expression of a policy; None with an error when it is not safe to match with."""
    if fault := _find_text_fault(written):
        return None, [fault]
    text = written.text.encode("ascii")
    try:
        compiled = _compile(text)
        tree = parse_tree(text)
        if why := find_backtracking(tree):
            return None, [_backtracking(written, why)]
        reach = find_reach(compiled, tree)
    except (re.error, OverflowError, FutureWarning) as error:
        return None, [_malformed(written, str(error))]
    except RecursionError:
        return None, [_malformed(written, "its groups are nested too deeply")]
    except UnsupportedError as error:
        return None, [_unsupported(written, str(error))]
    entry = _entry(compiled, reach)
    if hazards := _judge(spec, written, reach, entry):
        return None, hazards
    return entry, []


def _compile(text: bytes) -> re.Pattern[bytes]:
    with warnings.catch_warnings():
        # "[[a]" and the like: `re` warns that they may change their meaning one day.
        warnings.simplefilter("error", FutureWarning)
        return re.compile(text)


def _entry(compiled: re.Pattern[bytes], reach: Reach) -> RegexEntry:
    insecure = any(_is_insecure(origin) for origin in reach.meant)
    return RegexEntry(OriginRegex(compiled), insecure, bool(reach.tenant or reach.app))


def _is_insecure(origin: Origin) -> bool:
    return origin.scheme == b"http" and not is_loopback_host(origin.host)


def _find_text_fault(written: Written) -> Hazard | None:
    text = written.text
    if not text.strip():
        return problem("regex-empty", written, "the expression is empty", "remove it")
    if not text.isprintable():
        why = f'"{as_written(written)}" holds a control character, which no origin does'
        return problem("regex-malformed", written, why, "remove it")
    if len(text) > MAX_REGEX_CHARS:
        why = f"the expression is longer than {MAX_REGEX_CHARS} characters"
        return problem("regex-too-long", written, why, "list the origins in allow_origins, which may be many")
    if not text.isascii():
        why = f'"{as_written(written)}" is written in punycode by browsers (URL Standard, #host-parsing)'
        return problem("regex-unicode", written, why, "write the host in punycode (xn--...)")
    return None


def _judge(spec: PolicySpec, written: Written, reach: Reach, entry: RegexEntry) -> list[Hazard]:
    """The error that keeps an expression out; none when it is safe beside the keys of this policy."""
    if not reach.meant:
        return [_matches_nothing(written)]
    if reach.is_universal:
        return [any_with_credentials(written) if spec.allow_credentials else _any_origin(written)]
    if reach.stranger:
        return [_lookalike(written, reach.stranger)]
    if reach.tenant and not spec.dangerously_allow_public_suffix_origins:
        return [public_suffix(written, reach.tenant.host.decode().partition(".")[2])]
    if reach.app and spec.allow_credentials and not spec.dangerously_allow_public_suffix_origins:
        return [any_app_with_credentials(written, reach.app)]
    if entry.admits_insecure and spec.allow_credentials and not spec.dangerously_allow_insecure_origins:
        plainest = min(map(bytes, filter(_is_insecure, reach.meant)), key=len)
        return [insecure_with_credentials(written, plainest)]
    return []


def _matches_nothing(written: Written) -> Hazard:
    text = written.text
    why = f'"{as_written(written)}" matches no origin: the whole of it is compared, scheme://host and port'
    bare = text.removeprefix("^").removesuffix("$")
    if bare == "null":
        return problem("regex-matches-nothing", written, why, 'write "null" in allow_origins')
    if "://" not in bare and _is_safe(f"https://{bare}"):
        return problem("regex-matches-nothing", written, why, f"write https://{bare}")
    return problem("regex-matches-nothing", written, why, r"write it like https://[a-z0-9-]+\.example\.com")


def _any_origin(written: Written) -> Hazard:
    return problem(
        "any-origin-spelling",
        written,
        f'"{as_written(written)}" matches every origin',
        'write allow_origins: "*" to allow any origin',
    )


def _lookalike(written: Written, stranger: Origin) -> Hazard:
    example = bytes(stranger).decode()
    return problem(
        "regex-lookalike",
        written,
        f'"{as_written(written)}" also matches {example}, which need not be yours',
        _corrected(written.text),
    )


def _corrected(text: str) -> str:
    """The nearest expression that admits no stranger, when one of the usual repairs gives it."""
    if "://*" in text:  # a pattern of allow_origins in the wrong list
        return f"write {text} in allow_origins: here the * repeats the slash before it"
    escaped = re.sub(r"(?<![\\\[(|])\.(?![*+?{])", r"\\.", text)  # outside classes, and not a wildcard
    closed = re.sub(r"\.[*+]\??\)?\$?$", "", escaped)
    opened = re.sub(
        r"(https\??://)\(?(?:\.|\[[^\]]*\])[*+]\)?(?:\\\.)?(?=[a-z0-9])", r"\1([a-z0-9-]+\\.)+", closed
    )
    schemed = re.sub(
        r"^\^?\(?\.[*+]\??(?:\\\.)?\)?\??(?:\\\.)?(?=[a-z0-9])", r"https://([a-z0-9-]+\\.)+", closed
    )
    for candidate in (escaped, closed, opened, schemed):
        if candidate != text and _is_safe(candidate):
            return f"write {candidate}"
    return r"pin the whole host, as in https://[a-z0-9-]+\.example\.com, or use the pattern https://*.example.com"


def _is_safe(text: str) -> bool:
    try:
        raw = text.encode("ascii")
        tree: Node = parse_tree(raw)
        reach = find_reach(_compile(raw), tree)
    except (re.error, OverflowError, FutureWarning, RecursionError, UnsupportedError):
        return False
    return bool(reach.meant) and not (reach.stranger or reach.tenant or find_backtracking(tree))


def _backtracking(written: Written, why: str) -> Hazard:
    return problem(
        "regex-backtracking",
        written,
        f'"{as_written(written)}" {why}: a hostile Origin could keep the proxy busy',
        r"repeat one label and its dot, as in https://([a-z0-9-]+\.)+example\.com",
    )


def _malformed(written: Written, why: str) -> Hazard:
    return problem(
        "regex-malformed",
        written,
        f'"{as_written(written)}" is no regular expression: {why}',
        "correct the expression, or use allow_origins",
    )


def _unsupported(written: Written, what: str) -> Hazard:
    return problem(
        "regex-unsupported",
        written,
        f'"{as_written(written)}" uses {what}, so what it admits cannot be checked',
        "write it with characters, classes, groups, alternatives and repeats only",
    )
