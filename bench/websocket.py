"""Just enough of RFC 6455 for a load: one handshake, and messages of one fixed size.

Here:  the bytes of both sides. A client's frames are masked with zeros, which the RFC allows and which leaves
       the payload as it is, so that neither side of the bench spends time on it.
Never: sockets.
"""

import base64
import hashlib

from bench.load import FRAME_BYTES, ORIGIN

__all__ = [
    "CLIENT_FRAME_BYTES",
    "SERVER_FRAME_BYTES",
    "accept_for",
    "client_frame",
    "handshake",
    "server_frame",
]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
CLIENT_HEAD = bytes([0x82, 0x80 | FRAME_BYTES, 0, 0, 0, 0])  # binary, final; masked, with a key of zeros
SERVER_HEAD = bytes([0x82, FRAME_BYTES])
CLIENT_FRAME_BYTES = len(CLIENT_HEAD) + FRAME_BYTES
SERVER_FRAME_BYTES = len(SERVER_HEAD) + FRAME_BYTES


def accept_for(key: str) -> str:
    """Sec-WebSocket-Accept (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def handshake(path: str) -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Origin: {ORIGIN}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def client_frame(number: int) -> bytes:
    """A message whose payload is a number."""
    return CLIENT_HEAD + number.to_bytes(FRAME_BYTES)


def server_frame(payload: bytes) -> bytes:
    return SERVER_HEAD + payload
