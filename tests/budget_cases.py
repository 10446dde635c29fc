"""The exchanges that `tests.budget` counts, as data: who sends what, and what must come of it.

Here:  bytes, and a name for each exchange that stands in the baseline.
Never: the proxy, counting.
"""

from dataclasses import dataclass

__all__ = ["CASES", "Budgeted", "Steps"]

KIB = b"x" * 1024
PIECE = b"x" * 16384  # a quarter of 64 KiB

Steps = tuple[tuple[str, bytes], ...]
"""Who sends what: "client" or "upstream", and the bytes that arrive with one read."""


def lines(*texts: str) -> bytes:
    return "\r\n".join([*texts, "", ""]).encode()


HOST = ("Host: api.example.com", "Origin: https://app.example.com")
GET = lines("GET /orders HTTP/1.1", *HOST)
OK = ("HTTP/1.1 200 OK", "Server: legacy", "Content-Type: application/json", "X-Total-Count: 4711")
BROWSER = (
    "Referer: https://app.example.com/",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: application/json, text/plain, */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Authorization: Bearer an-example-token",
    "Cookie: session=8d1f0e6a5b7c4d3e; theme=dark",
    "Cache-Control: no-cache",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-site",
)
ASKS = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization,content-type")
SWITCH = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
EVENT = b"data: " + b"x" * 100 + b"\n\n"
FRAME = b"\x82\x40" + b"x" * 64
RESPONSE = lines(*OK, "Content-Length: 1024") + KIB


@dataclass(frozen=True, slots=True)
class Budgeted:
    """One exchange, or one step of a longer one."""

    says: str  # its name in the baseline
    counted: Steps
    answer: bytes  # how what the client got of it begins
    ends: bytes = b""  # and how it ends
    before: Steps = ()  # done once, and not counted
    logged: bool = False
    on_new_connection: bool = False


CASES = (
    Budgeted("GET 1 KiB", (("client", GET), ("upstream", RESPONSE)), b"HTTP/1.1 200 ", KIB),
    Budgeted(
        "GET 1 KiB from a browser",
        (("client", lines("GET /orders HTTP/1.1", *HOST, *BROWSER)), ("upstream", RESPONSE)),
        b"HTTP/1.1 200 ",
        KIB,
    ),
    Budgeted(
        "GET 1 KiB, access log on",
        (("client", GET), ("upstream", RESPONSE)),
        b"HTTP/1.1 200 ",
        KIB,
        logged=True,
    ),
    Budgeted(
        "GET 1 KiB on a connection of its own",
        (("client", lines("GET /orders HTTP/1.1", *HOST, "Connection: close")), ("upstream", RESPONSE)),
        b"HTTP/1.1 200 ",
        KIB,
        on_new_connection=True,
    ),
    Budgeted("preflight", (("client", lines("OPTIONS /orders HTTP/1.1", *HOST, *ASKS)),), b"HTTP/1.1 204 "),
    Budgeted(
        "preflight, refused",
        (("client", lines("OPTIONS /orders HTTP/1.1", HOST[0], "Origin: https://evil.test", *ASKS)),),
        b"HTTP/1.1 403 ",
    ),
    Budgeted(
        "POST 1 KiB, 1 KiB back",
        (
            ("client", lines("POST /orders HTTP/1.1", *HOST, "Content-Length: 1024") + KIB),
            ("upstream", RESPONSE),
        ),
        b"HTTP/1.1 200 ",
        KIB,
    ),
    Budgeted(
        "64 KiB down in four reads",
        (
            ("client", GET),
            ("upstream", lines(*OK, "Content-Length: 65536") + PIECE),
            *(("upstream", PIECE),) * 3,
        ),
        b"HTTP/1.1 200 ",
        PIECE,
    ),
    Budgeted(
        "64 KiB up in four reads",
        (
            ("client", lines("PUT /orders HTTP/1.1", *HOST, "Content-Length: 65536") + PIECE),
            *(("client", PIECE),) * 3,
            ("upstream", RESPONSE),
        ),
        b"HTTP/1.1 200 ",
        KIB,
    ),
    Budgeted(
        "server-sent event",
        (("upstream", b"%x\r\n%b\r\n" % (len(EVENT), EVENT)),),
        b"6c\r\ndata: ",
        b"\n\n\r\n",
        before=(("client", GET), ("upstream", lines(*OK, "Transfer-Encoding: chunked"))),
    ),
    Budgeted(
        "WebSocket frame there and back",
        (("client", FRAME), ("upstream", FRAME)),
        FRAME,
        before=(
            ("client", lines("GET /orders HTTP/1.1", *HOST, *SWITCH)),
            (
                "upstream",
                lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"),
            ),
        ),
    ),
)
