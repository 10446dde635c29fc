"""Request targets: the path that routes are matched on, and the one that an upstream might read instead.

Here:  pure functions on raw bytes. The raw bytes are what is forwarded.
Never: routes, decoding to text, guessing what a particular upstream does.
"""

import re

__all__ = ["canonical_path", "climbs", "normalised_path", "split_target", "strip_prefix"]

# Nearly every path is free of these, and then it is its own canonical and normalised form.
_NEEDS_CARE = re.compile(rb"[%\\;]|//|/\.")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHES = re.compile(rb"%2F|%5C|\\")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """A target in origin-form as (path, query with its "?"); the query is b"" when there is none."""
    mark = target.find(b"?")
    return (target, b"") if mark < 0 else (target[:mark], target[mark:])


def canonical_path(path: bytes) -> bytes:
    """The path with percent-encoded unreserved characters decoded and the other encodings in upper case.

    An equivalent URI (RFC 3986 §6.2.2.1 and §6.2.2.2), so matching on it is safe.
    """
    if b"%" not in path:
        return path
    return _ENCODED.sub(_decode_unreserved, path)


def normalised_path(path: bytes, *, keeps_parameters: bool = False) -> bytes:
    r"""The path as the most obliging upstream could read it.

    "%2f", "\" and "%5c" are "/", doubled slashes are one, dot segments ("%2e" too) are resolved
    (RFC 3986 §5.2.4), and what follows ";" in a segment is no part of its name, as servlet containers have
    it. It is compared, never forwarded.

    keeps_parameters: leave what follows ";", except of dot segments.
    """
    if _NEEDS_CARE.search(path) is None:
        return path
    decoded = _SLASHES.sub(b"/", canonical_path(path))
    kept: list[bytes] = []
    segments = decoded.split(b"/")[1:]
    for segment in segments:
        name = segment.split(b";", 1)[0]  # "/..;/" is a dot segment to servlet containers
        if name == b"..":
            if kept:
                kept.pop()
        elif name != b"." and (shown := segment if keeps_parameters else name):
            kept.append(shown)
    is_folder = not segments or not segments[-1] or segments[-1].split(b";", 1)[0] in {b".", b".."}
    return b"/" + b"/".join(kept) + (b"/" if is_folder and kept else b"")


def climbs(path: bytes) -> bool:
    """True when dot segments lead above the root of this path, however they are spelled."""
    if _NEEDS_CARE.search(path) is None:
        return False
    depth = 0
    for segment in _SLASHES.sub(b"/", canonical_path(path)).split(b"/"):
        name = segment.split(b";", 1)[0]
        if name == b"..":
            depth -= 1
        elif name and name != b".":
            depth += 1
        if depth < 0:
            return True
    return False


def strip_prefix(path: bytes, prefix: bytes) -> bytes:
    """The raw path without a canonical prefix; what is left starts with "/" and keeps its bytes.

    The prefix may stand percent-encoded in the raw path. A path that does not lie under the prefix, on a
    segment boundary, is returned unchanged.
    """
    at = len(prefix) if path.startswith(prefix) else _end_of_encoded(path, prefix)
    if at is None or path[at : at + 1] not in {b"", b"/"}:
        return path
    return path[at:] or b"/"


def _end_of_encoded(path: bytes, prefix: bytes) -> int | None:
    """Where a prefix ends in a raw path that may percent-encode it; None when it does not stand there."""
    at = done = 0
    while done < len(prefix):
        piece = path[at : at + 3] if _ENCODED.match(path, at) else path[at : at + 1]
        plain = canonical_path(piece)
        if not plain or not prefix.startswith(plain, done):
            return None
        at += len(piece)
        done += len(plain)
    return at


def _decode_unreserved(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()
