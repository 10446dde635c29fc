"""What a route asks of a request, checked and compiled.

Here:  paths, regular expressions, hosts, methods and headers of `match`, and `strip_prefix` against them.
Never: other routes (`config.reach` compares them), requests.
"""

import re
import warnings

from corsproxy.config import model
from corsproxy.config.addresses import parse_host_pattern
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.problems import Path
from corsproxy.config.table import Match
from corsproxy.config.words import did_you_mean, listed, quoted
from corsproxy.cors.backtracking import find_backtracking
from corsproxy.cors.regex_tree import UnsupportedError, parse_tree
from corsproxy.http.fields import is_token
from corsproxy.http.methods import FORWARDABLE_METHODS
from corsproxy.http.paths import canonical_path, normalised_path

__all__ = ["compile_match", "compile_strip_prefix", "is_under", "parse_path", "parse_path_regex"]

_LONGEST_REGEX = 1024
_PATH_CHAIN = 1  # a path may be as long as a head: its square would be seconds, for everybody
_ANY_BYTE = frozenset(range(256))  # a client may put any of them into a path
# What a request's path may hold, unencoded (RFC 3986 §3.3).
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_HALF_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")


def compile_match(match: model.Match, path: Path, findings: Findings) -> Match | None:
    """The match, or None when a part of it cannot be used; then the findings say why."""
    before = findings.error_count
    compiled = Match(
        path=_path(match, path, findings),
        path_exact=_path_exact(match, path, findings),
        path_regex=_path_regex(match, path, findings),
        hosts=_hosts(match.hosts, (*path, "hosts"), findings),
        methods=_methods(match.methods, (*path, "methods"), findings),
        headers=_headers(match.headers, (*path, "headers"), findings),
    )
    _one_path_only(match, path, findings)
    return compiled if findings.error_count == before else None


def _one_path_only(match: model.Match, path: Path, findings: Findings) -> None:
    keys = [key for key in ("path", "path_exact", "path_regex") if getattr(match, key) is not None]
    if len(keys) > 1:
        says = Mistake(
            "several-paths",
            f"give one of {listed(keys)}",
            f"remove {keys[-1]}, or make it a route of its own",
        )
        findings.add((*path, keys[-1]), says, on_key=True)


def _path(match: model.Match, path: Path, findings: Findings) -> bytes:
    if match.path is None:
        return b"/"
    where: Path = (*path, "path")
    return _noted(parse_path(_without_slash(match.path, where, findings)), where, findings) or b"/"


def _without_slash(prefix: str, where: Path, findings: Findings) -> str:
    """A prefix without the slash at its end, which says nothing there; a warning says so."""
    if len(prefix) < 2 or not prefix.endswith("/"):
        return prefix
    shown = prefix.rstrip("/") or "/"
    message = f"{quoted(prefix)} is read as {quoted(shown)}: a prefix ends at segment boundaries anyway"
    findings.add(where, Mistake("path-trailing-slash", message, f"write {shown}", "warning"))
    return shown


def _path_exact(match: model.Match, path: Path, findings: Findings) -> bytes | None:
    if match.path_exact is None:
        return None
    return _noted(parse_path(match.path_exact), (*path, "path_exact"), findings)


def _noted(value: bytes | Mistake, where: Path, findings: Findings) -> bytes | None:
    if isinstance(value, Mistake):
        findings.add(where, value)
        return None
    return value


def parse_path(text: str) -> bytes | Mistake:
    """A path in the form that requests are matched in."""
    if not text.startswith("/"):
        return Mistake("bad-path", f"{quoted(text)} does not start with '/'", f"write /{text.lstrip('/')}")
    for mark, part in (("?", "query"), ("#", "fragment")):
        if mark in text:
            return Mistake(
                "bad-path",
                f"a path has no {part}: only the path is matched",
                f"write {text.partition(mark)[0]}",
            )
    if "*" in text:
        remedy = "a `path` is a prefix already; for patterns use path_regex; for a literal star write %2A"
        return Mistake("bad-path", f"{quoted(text)}: a star has no meaning in a path", remedy)
    if not _PATH.fullmatch(text) or _HALF_ENCODED.search(text):
        return Mistake("bad-path", f"{quoted(text)} is no URL path", "percent-encode what is not plain ASCII")
    path = canonical_path(text.encode("ascii"))
    if path != normalised_path(path):
        # Such a request is refused as ambiguous wherever it matters, so a route for it would never serve.
        remedy = f"write {normalised_path(path).decode('ascii')}"
        return Mistake("bad-path", f"{quoted(text)} has dot segments, doubled or encoded slashes", remedy)
    return path


def _path_regex(match: model.Match, path: Path, findings: Findings) -> re.Pattern[bytes] | None:
    if match.path_regex is None:
        return None
    compiled = parse_path_regex(match.path_regex)
    if isinstance(compiled, Mistake):
        findings.add((*path, "path_regex"), compiled)
        return None
    return compiled


def parse_path_regex(text: str) -> re.Pattern[bytes] | Mistake:
    """A regular expression for whole paths that cannot be made to run long."""
    if not text.isascii() or not text.isprintable():
        return Mistake(
            "bad-regex", "a path is ASCII, so this can never match", "write percent-encoded bytes: %C3%A9"
        )
    if not text or len(text) > _LONGEST_REGEX:
        return Mistake(
            "bad-regex", f"a regular expression has 1 to {_LONGEST_REGEX} characters", "write a shorter one"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about spellings that a later Python may read otherwise
            compiled = re.compile(text.encode("ascii"))
            danger = find_backtracking(parse_tree(text.encode("ascii"), _ANY_BYTE), _PATH_CHAIN)
    except re.error as error:
        return Mistake(
            "bad-regex", f"{quoted(text)} is no regular expression: {error}", "see the `re` module of Python"
        )
    except (OverflowError, RecursionError, ValueError) as error:
        return Mistake(
            "bad-regex", f"{quoted(text)} is no usable regular expression: {error}", "write a simpler one"
        )
    except UnsupportedError:
        says = f"{quoted(text)} uses a flag, a look-around, a back-reference or a condition"
        return Mistake("unbounded-regex", says, "write it without: its running time could not be bounded")
    if danger is not None:
        says = f"{quoted(text)} can be made to run for very long: it {danger}"
        return Mistake("unbounded-regex", says, "use [^/]+ between slashes, and .* at most once, at the end")
    if not text.startswith(("/", "\\/", "[", "(", ".", "^")):
        return Mistake(
            "regex-never-matches", f"{quoted(text)} never matches: a path starts with '/'", f"write /{text}"
        )
    return compiled


def _hosts(hosts: list[str], path: Path, findings: Findings) -> tuple[bytes, ...]:
    patterns = []
    for at, text in enumerate(hosts):
        pattern = _noted(parse_host_pattern(text), (*path, at), findings)
        if pattern is not None:
            patterns.append(pattern)
    return tuple(patterns)


def _methods(methods: list[str], path: Path, findings: Findings) -> frozenset[bytes]:
    for at, method in enumerate(methods):
        if not method.isascii() or method.encode("ascii") not in FORWARDABLE_METHODS:
            known = sorted(name.decode("ascii") for name in FORWARDABLE_METHODS)
            remedy = did_you_mean(method, known) or "leave `methods` out to match any"
            says = Mistake("unknown-method", f"{quoted(method)} is no method that can be forwarded", remedy)
            findings.add((*path, at), says)
    return frozenset(method.encode("ascii", "replace") for method in methods)


def _headers(headers: dict[str, str], path: Path, findings: Findings) -> tuple[tuple[bytes, bytes], ...]:
    compiled: dict[bytes, bytes] = {}
    for name, value in headers.items():
        where: Path = (*path, name)
        key = name.lower().encode("ascii", "replace")
        if not name.isascii() or not is_token(key):
            findings.add(where, Mistake("bad-header-name", f"{quoted(name)} is no header name"), on_key=True)
        elif key in compiled:
            says = Mistake(
                "duplicate-header", f"header {quoted(name)} is given twice", "names are compared without case"
            )
            findings.add(where, says, on_key=True)
        if not _HEADER_VALUE.fullmatch(value):
            remedy = "visible ASCII, without space at either end; leave the header out to match any value"
            findings.add(where, Mistake("bad-header-value", f"{quoted(value)} is no header value", remedy))
        compiled[key] = value.encode("ascii", "replace")
    return tuple(compiled.items())


def compile_strip_prefix(text: str | None, match: Match | None, path: Path, findings: Findings) -> bytes:
    """The prefix to strip, held against the paths that the route takes. b"" = none."""
    if text is None:
        return b""
    if not text.strip("/"):
        findings.add(path, Mistake("bad-path", f"{quoted(text)} strips nothing", "remove strip_prefix"))
        return b""
    prefix = _noted(parse_path(_without_slash(text, path, findings)), path, findings)
    if prefix is None or match is None:
        return b""
    mistake = _beside(prefix, match)
    if mistake is not None:
        findings.add(path, mistake)
    return prefix


def _beside(prefix: bytes, match: Match) -> Mistake | None:
    """What to say when some, or all, of a route's paths do not lie under the prefix to strip."""
    if match.path_regex is not None:
        return None  # what it matches is not derived here; paths beside the prefix pass unchanged
    path = match.path if match.path_exact is None else match.path_exact
    if is_under(path, prefix):
        return None
    shown = quoted(prefix.decode("ascii"))
    if match.path_exact is None and is_under(prefix, path):
        message = f"paths that do not start with {shown} pass unchanged"
        return Mistake("strip-prefix-partial", message, f"match path: {prefix.decode('ascii')}", "warning")
    message = f"no path of this route starts with {shown}"
    return Mistake(
        "strip-prefix-never", message, f"match path: {prefix.decode('ascii')}, or remove strip_prefix"
    )


def is_under(path: bytes, prefix: bytes) -> bool:
    """True when a path lies under a prefix, on a segment boundary."""
    return prefix in {b"/", path} or path.startswith(prefix + b"/")
