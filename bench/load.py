"""The loads: what is sent over and over, to which edition of the proxies, and what must come back.

Here:  the requests and streams as data.
Never: programs that send them (`generate`), proxies, CPU time, what a right answer looks like (`verify`).
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from bench.editions import LOGGED, PLAIN, SECURE, STREAMS, TLS, Edition

__all__ = [
    "BODY",
    "EVENT_RATE",
    "FRAME_BYTES",
    "KIB",
    "LOADS",
    "MIB",
    "ORIGIN",
    "Generator",
    "Load",
    "body_of",
]

ORIGIN = "https://app.example.com"
KIB, MIB = 1 << 10, 1 << 20
CONNECTIONS = 64  # kept alive; each sends its next request when the last one is answered
EVENT_RATE = 10  # events a second on each stream
FRAME_BYTES = 64  # of the payload of a WebSocket message

Generator = Literal["wrk", "paced", "events", "socket"]
"""wrk: a closed loop. paced: an open loop at half of what the proxy can do. events: streams that are read.
socket: WebSocket messages, each sent when the last one is back."""


def body_of(size: int) -> str:
    """A JSON document of exactly so many bytes."""
    document = {"orders": [{"id": 4711, "state": "shipped", "total": "129.90"}], "note": ""}
    document["note"] = "x" * (size - len(json.dumps(document)))
    return json.dumps(document)


BODY = body_of(KIB)  # of the upstream's usual response


@dataclass(frozen=True, slots=True)
class Load:
    """One request, repeated; or streams, kept open."""

    name: str
    says: str
    method: str = "GET"
    path: str = "/"
    fields: dict[str, str] = field(default_factory=dict)
    sends: int = 0  # bytes of the request body
    gets: int = KIB  # bytes of the body of the response
    generator: Generator = "wrk"
    connections: int = CONNECTIONS
    edition: Edition = PLAIN
    lasts: int = 1  # times as long as most: it takes longer to see what happens seldom
    unit: str = "request"  # what CPU time is divided by
    is_preflight: bool = False  # then the proxy answers and the upstream must never see it
    varies: bool = False  # a thousand different origins, methods and asked headers in turn
    is_default: bool = True
    is_common: bool = False  # also for the development proxies, which are no match for the rest

    @property
    def body(self) -> str:
        """The request body."""
        return body_of(self.sends) if self.sends else ""


ORIGIN_FIELD = {"Origin": ORIGIN}
PREFLIGHT = {
    **ORIGIN_FIELD,
    "Access-Control-Request-Method": "PUT",
    # Sorted, lower case, no space, as browsers write it (Fetch, #cors-preflight-fetch step 5).
    "Access-Control-Request-Headers": "authorization,content-type",
}
BROWSER = {
    **ORIGIN_FIELD,
    "Referer": f"{ORIGIN}/",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Authorization": "Bearer an-example-token-as-long-as-many-of-them-are",
    "Cookie": "session=8d1f0e6a5b7c4d3e; theme=dark; consent=essential",
    "Cache-Control": "no-cache",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-site",
}

ALL_LOADS = (
    Load("get", "GET, 1 KiB JSON, allowed Origin", fields=ORIGIN_FIELD, is_common=True),
    Load(
        "preflight",
        "preflight for PUT with content-type and authorization",
        "OPTIONS",
        fields=PREFLIGHT,
        is_preflight=True,
        is_common=True,
    ),
    Load(
        "preflights",
        "preflights of 1,000 different origins, methods and headers",
        "OPTIONS",
        fields=PREFLIGHT,
        is_preflight=True,
        varies=True,
    ),
    Load(
        "post",
        "POST, 1 KiB JSON up, 1 KiB JSON down",
        "POST",
        fields={**ORIGIN_FIELD, "Content-Type": "application/json"},
        sends=KIB,
    ),
    Load("browser", "GET with the fields a browser adds, 1 KiB JSON", fields=BROWSER, is_default=False),
    Load("down64k", "GET, 64 KiB", path="/64k", fields=ORIGIN_FIELD, gets=64 * KIB),
    Load(
        "down10m",
        "GET, 10 MiB, 8 connections",
        path="/10m",
        fields=ORIGIN_FIELD,
        gets=10 * MIB,
        connections=8,
        unit="transfer",
    ),
    Load(
        "up10m",
        "POST, 10 MiB up, 1 KiB down, 8 connections",
        "POST",
        fields={**ORIGIN_FIELD, "Content-Type": "application/json"},
        sends=10 * MIB,
        connections=8,
        edition=STREAMS,
        unit="transfer",
    ),
    Load(
        "events",
        f"server-sent events: 500 streams of {EVENT_RATE} events a second",
        path="/events",
        fields=ORIGIN_FIELD,
        generator="events",
        connections=500,
        edition=STREAMS,
        unit="event",
    ),
    Load(
        "websocket",
        f"WebSocket echo: 64 connections, {FRAME_BYTES} bytes there and back",
        path="/socket",
        fields=ORIGIN_FIELD,
        generator="socket",
        edition=STREAMS,
        unit="message",
    ),
    Load("connect", "GET, 1 KiB, a new connection each", fields={**ORIGIN_FIELD, "Connection": "close"}),
    Load(
        "latency",
        "GET, 1 KiB, at half the rate the proxy can do",
        fields=ORIGIN_FIELD,
        generator="paced",
        lasts=3,
    ),
    Load("tls", "GET, 1 KiB, TLS to the client", fields=ORIGIN_FIELD, edition=TLS),
    Load("secure", "GET, 1 KiB, TLS to the upstream", fields=ORIGIN_FIELD, edition=SECURE),
    Load("get-logged", "GET, 1 KiB, access log on", fields=ORIGIN_FIELD, edition=LOGGED),
    Load(
        "preflight-logged",
        "preflight, access log on",
        "OPTIONS",
        fields=PREFLIGHT,
        is_preflight=True,
        edition=LOGGED,
    ),
)
LOADS = {load.name: load for load in ALL_LOADS}
