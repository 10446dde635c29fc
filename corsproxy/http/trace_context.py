"""The trace that a request belongs to, as its `traceparent` field says (W3C Trace Context, §3.2).

Here:  reading and writing that one field; what a tracer has settled about an exchange when it begins.
Never: `tracestate`, which is the tracers' own; spans, sampling, random numbers.
"""

import re
from dataclasses import dataclass

__all__ = ["SAMPLED", "Trace", "TraceParent", "parse_traceparent", "traceparent"]

# version "-" trace-id "-" parent-id "-" trace-flags, in lower case. A later version may say more behind that.
_FIELD = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?")
_NO_VERSION = b"ff"  # §3.2.2.1: never a version
_ONLY_VERSION = b"00"  # the one that is known, and ends with the flags
SAMPLED = 0x01  # the one flag that is read here: who asks may have recorded it


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A valid `traceparent`: the trace, and the span that asked."""

    trace_id: int  # 128 bits, not 0
    parent_id: int  # 64 bits, not 0
    flags: int  # 8 bits; 1 = the caller may have recorded it

    @property
    def is_sampled(self) -> bool:
        """May the caller have recorded it?"""
        return bool(self.flags & SAMPLED)


class Trace:
    """What a tracer has settled about one exchange when it began."""

    __slots__ = ("client_id", "flags", "parent", "server_id", "state", "trace_id")

    def __init__(self, trace_id: int, server_id: int, client_id: int, flags: int) -> None:
        self.trace_id = trace_id
        self.server_id = server_id  # the span of the exchange itself
        self.client_id = client_id  # the span of what the upstream is asked; its `traceparent` names it
        self.flags = flags
        self.parent: TraceParent | None = None  # what the client's own said, if it was valid
        self.state = b""  # `tracestate` beside it

    @property
    def is_sampled(self) -> bool:
        """Is it recorded?"""
        return bool(self.flags & SAMPLED)


def parse_traceparent(value: bytes) -> TraceParent | None:
    """The field's value, read; None for one that is not valid, which is then as if there were none (§4.3)."""
    found = _FIELD.fullmatch(value)
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == _NO_VERSION or (version == _ONLY_VERSION and more is not None):
        return None
    read = TraceParent(int(trace_id, 16), int(parent_id, 16), int(flags, 16))
    return read if read.trace_id and read.parent_id else None


def traceparent(trace_id: int, span_id: int, flags: int) -> bytes:
    """The field's value for whoever is asked next."""
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, flags)
