"""Response fields that belong to the policy, and the lists inside CORS fields.

Here:  which names the policy owns, `Vary` by token, exposed names, `#field-name` lists with bounds.
Never: decisions, policies, whole messages. Names and values are bytes as they stand on the wire.
"""

from collections.abc import Iterable, Sequence

__all__ = [
    "ALLOW_CREDENTIALS",
    "ALLOW_ORIGIN",
    "EXPOSE_HEADERS",
    "FORBIDDEN_RESPONSE_HEADERS",
    "MAX_EMPTY_ELEMENTS",
    "MAX_LIST_BYTES",
    "MAX_SHOWN",
    "SAFELISTED_RESPONSE_HEADERS",
    "Fields",
    "exposable",
    "expose_also",
    "is_cors_field",
    "is_token",
    "merge_vary",
    "parse_names",
    "shown",
]

Fields = tuple[tuple[bytes, bytes], ...]

MAX_LIST_BYTES = 8 * 1024
MAX_EMPTY_ELEMENTS = 16  # RFC 9110 §5.6.1.2: "a reasonable number of empty list elements"
MAX_SHOWN = 128  # characters of a value in a log line or a problem body

ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
ALLOW_CREDENTIALS = b"Access-Control-Allow-Credentials"
EXPOSE_HEADERS = b"Access-Control-Expose-Headers"

# Readable without being exposed (Fetch, #cors-safelisted-response-header-name).
SAFELISTED_RESPONSE_HEADERS = frozenset(
    b"cache-control content-language content-length content-type expires last-modified pragma".split()
)
# Never readable, exposed or not (Fetch, #forbidden-response-header-name).
FORBIDDEN_RESPONSE_HEADERS = frozenset({b"set-cookie", b"set-cookie2"})

# RFC 9110 §5.6.2
_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_token(raw: bytes) -> bool:
    """Is this a token of RFC 9110 §5.6.2, so fit for a method or a field name?"""
    return bool(raw) and not raw.translate(None, _TOKEN_BYTES)


def is_cors_field(name: bytes) -> bool:
    """Is this response field (lower case), in the head or in trailers, the policy's alone?

    All of the prefix: a name that comes into use later, or that only old browsers read, is no way round it.
    """
    return name.startswith(b"access-control-")


def parse_names(raw: bytes) -> tuple[bytes, ...] | None:
    """The names of a `#field-name` list in lower case, in their order, each once; None when it is malformed.

    Browsers send them sorted, in lower case, without spaces (Fetch, #cors-unsafe-request-header-names), but
    intermediaries re-space, re-case and split the line: what RFC 9110 §5.6.1.2 asks of a recipient is taken.
    """
    if len(raw) > MAX_LIST_BYTES:
        return None
    elements = [element.strip(b" \t") for element in raw.split(b",")]
    names = [element.lower() for element in elements if element]
    if len(elements) - len(names) > MAX_EMPTY_ELEMENTS or not all(map(is_token, names)):
        return None
    return tuple(dict.fromkeys(names))


def merge_vary(values: Sequence[bytes], tokens: Sequence[bytes]) -> bytes | None:
    """The value of one more `Vary` line with the tokens that the given lines lack; None when they lack none.

    Added, never set: the upstream may vary on more (RFC 9110 §12.5.5). "*" already covers everything.
    """
    present = {element.strip(b" \t").lower() for value in values for element in value.split(b",")}
    if b"*" in present:
        return None
    missing = [token for token in tokens if token.lower() not in present]
    return b", ".join(missing) or None


def exposable(names: Iterable[bytes]) -> tuple[bytes, ...]:
    """The names, in lower case and each once, that a script can read only when they are exposed.

    For `expose_headers: "*"` with credentials, where a literal "*" is an ordinary name (Fetch,
    #cors-protocol-and-credentials): the names really on the response are listed in its place.
    """
    lowered = dict.fromkeys(name.lower() for name in names)
    return tuple(name for name in lowered if _needs_exposing(name))


def _needs_exposing(name: bytes) -> bool:
    if name in SAFELISTED_RESPONSE_HEADERS or name in FORBIDDEN_RESPONSE_HEADERS:
        return False
    return is_token(name) and name != b"*" and not is_cors_field(name)


def expose_also(fields: Fields, names: Iterable[bytes]) -> Fields:
    """The CORS fields of a response with more names exposed; unchanged when no script may read it.

    For the names present on the response, for those an upstream exposes itself, and for what the proxy adds
    to its own answers. A "*" among the names counts only where it is no literal: without credentials.
    """
    held = dict(fields)
    if ALLOW_ORIGIN not in held:
        return fields
    listed = [name for name in held.get(EXPOSE_HEADERS, b"").split(b", ") if name]
    if ALLOW_CREDENTIALS in held:
        names = [name for name in names if name != b"*"]
    elif b"*" in listed:
        return fields
    known = {name.lower() for name in listed}
    added = [name for name in dict.fromkeys(names) if name.lower() not in known]
    return _replace_exposed(fields, b", ".join(listed + added)) if added else fields


def _replace_exposed(fields: Fields, value: bytes) -> Fields:
    if any(name == EXPOSE_HEADERS for name, _ in fields):
        return tuple((name, value if name == EXPOSE_HEADERS else old) for name, old in fields)
    # After the fields of the CORS check, before the neighbours.
    at = sum(name in (ALLOW_ORIGIN, ALLOW_CREDENTIALS) for name, _ in fields)
    return (*fields[:at], (EXPOSE_HEADERS, value), *fields[at:])


def shown(raw: bytes) -> str:
    """What a client sent, fit for a log line: printable ASCII, cut to `MAX_SHOWN` characters."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in raw[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
