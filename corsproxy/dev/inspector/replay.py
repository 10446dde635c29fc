"""Sending a recorded request again, to this proxy and nowhere else.

Here:  the preflight or the call as far as it was kept, over the proxy's own listener; status and fields of
       what came back.
Never: another host, bodies, secrets (they were never kept), methods that change something unless confirmed.
"""

import asyncio
import ssl
from dataclasses import dataclass

from corsproxy.config.table import Address
from corsproxy.cors.decide import Kind
from corsproxy.dev.inspector.entry import Json
from corsproxy.dev.inspector.redact import HIDDEN, lines_of, shown_fields
from corsproxy.http.fields import HOP_BY_HOP, is_field_value, is_token

__all__ = ["ReplayError", "Replayed", "replay", "request_of"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SECONDS = 10.0
_MOST_HEAD = 64 * 1024
# Said anew by this connection, or without the body that they speak of.
_LEFT_OUT = frozenset({"host", "content-length", "expect", "upgrade", "max-forwards"}) | {
    name.decode() for name in HOP_BY_HOP
}


class ReplayError(Exception):
    """It was not sent, or nothing came back; the text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A request that was sent again, and what came back."""

    line: str
    left_out: list[str]  # names of fields whose values were never kept
    status: str  # the first line of the answer
    fields: list[list[str]]

    def as_json(self) -> Json:
        """For the page."""
        return {"line": self.line, "left_out": self.left_out, "status": self.status, "fields": self.fields}


def request_of(row: Json, detail: Json, *, confirmed: bool) -> tuple[bytes, list[str]]:
    """The head to send, and what it lacks. Raises ReplayError."""
    method, path = str(row["method"]), str(row["path"])
    if not is_token(method.encode("latin-1", "replace")) or not path.startswith(("/", "*")) or HIDDEN in path:
        raise ReplayError("what is left of this request cannot be sent: part of it was never kept")
    if method not in _SAFE and not confirmed:
        raise ReplayError(f"{method} may change something: confirm that it is to be sent again")
    if method not in _SAFE and row["kind"] != Kind.PREFLIGHT and _had_body(detail):
        raise ReplayError("its body was never kept, so it cannot be sent again")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {detail['host']}"]
    left_out = ["query"] if detail["query"] else []
    part = detail["request"]
    for name, value in part["before"] if isinstance(part, dict) else ():
        if name.lower() in _LEFT_OUT:
            continue
        if HIDDEN in value or HIDDEN in name:
            left_out.append(name)
        else:
            lines.append(f"{name}: {value}")
    head = [line.encode("latin-1", "replace") for line in (*lines, "Connection: close")]
    if not all(map(is_field_value, head)):
        raise ReplayError("what is left of this request cannot be sent: it holds control characters")
    return b"\r\n".join((*head, b"", b"")), left_out


def _had_body(detail: Json) -> bool:
    counts = detail["bytes"]
    return isinstance(counts, dict) and bool(counts["received"])


async def replay(address: Address, head: bytes, left_out: list[str], *, tls: bool) -> Replayed:
    """Send a head to the proxy's own listener. Raises ReplayError."""
    try:
        async with asyncio.timeout(_SECONDS):
            answer = await _exchange(address, head, tls=tls)
    except TimeoutError as error:
        raise ReplayError(f"no answer within {_SECONDS:.0f} seconds") from error
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ReplayError(f"the proxy's listener did not answer: {error}") from error
    status, fields = lines_of(answer)
    return Replayed(lines_of(head)[0].removesuffix(" HTTP/1.1"), left_out, status, shown_fields(fields))


async def _exchange(address: Address, head: bytes, *, tls: bool) -> bytes:
    reader, writer = await _connect(address, tls=tls)
    try:
        writer.write(head)
        while True:
            answer = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 1"):  # an interim response; 101 cannot come, nothing asked
                return answer
    finally:
        writer.transport.abort()  # the body is nobody's business


async def _connect(address: Address, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = _own_certificate() if tls else None
    name = "localhost" if tls else None
    if address.path:
        return await asyncio.open_unix_connection(
            address.path, limit=_MOST_HEAD, ssl=context, server_hostname=name
        )
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
    host = everywhere.get(address.host, address.host)
    return await asyncio.open_connection(
        host, address.port, limit=_MOST_HEAD, ssl=context, server_hostname=name
    )


def _own_certificate() -> ssl.SSLContext:
    """Whatever certificate the listener has: it is ours, so there is nobody to mistake it for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
