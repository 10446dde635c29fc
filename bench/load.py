"""The loads: which request is sent over and over, and what the load generator counted.

Here:  the requests as data, the command line of wrk, its totals as a value.
Never: proxies, CPU time, what a right answer looks like (that is `verify`).
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BODY", "CONNECTIONS", "LOADS", "ORIGIN", "Load", "Tally", "parse_totals", "wrk_command"]

ORIGIN = "https://app.example.com"
CONNECTIONS = 64  # kept alive; each sends its next request when the last one is answered


def make_body(size: int) -> str:
    """A JSON document of exactly so many bytes."""
    document = {"orders": [{"id": 4711, "state": "shipped", "total": "129.90"}], "note": ""}
    document["note"] = "x" * (size - len(json.dumps(document)))
    return json.dumps(document)


BODY = make_body(1024)  # of the upstream's response, and of the POST


@dataclass(frozen=True, slots=True)
class Load:
    """One request, repeated."""

    name: str
    says: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    body: str = ""
    is_preflight: bool = False  # then the proxy answers and the upstream must never see it


ALL_LOADS = (
    Load("get", "GET, 1 KiB JSON, allowed Origin", "GET", {"Origin": ORIGIN}),
    Load(
        "preflight",
        "preflight for PUT with content-type and authorization",
        "OPTIONS",
        {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "PUT",
            # Sorted, lower case, no space, as browsers write it (Fetch, #cors-preflight-fetch step 5).
            "Access-Control-Request-Headers": "authorization,content-type",
        },
        is_preflight=True,
    ),
    Load(
        "post",
        "POST, 1 KiB JSON up, 1 KiB JSON down",
        "POST",
        {"Origin": ORIGIN, "Content-Type": "application/json"},
        BODY,
    ),
    Load(
        "browser",
        "GET with the fields a browser adds, 1 KiB JSON",
        "GET",
        {
            "Origin": ORIGIN,
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
        },
    ),
)
LOADS = {load.name: load for load in ALL_LOADS}


@dataclass(frozen=True, slots=True)
class Tally:
    """What the load generator counted. Requests are those whose response came back whole."""

    requests: int
    body_and_head_bytes: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: dict[str, int]  # by kind: connect, read, write, timeout, status (400 and above)

    def faults(self, load: Load) -> list[str]:
        """Why this measurement does not count; empty when it does."""
        found = [f"{count} {kind} errors" for kind, count in self.errors.items() if count]
        if not self.requests:
            found.append("no request was answered")
        # The generator counts a 3xx or an empty 200 as fine; too few bytes tell.
        if not load.is_preflight and self.body_and_head_bytes < self.requests * len(BODY):
            found.append("responses were shorter than the upstream's")
        return found


def wrk_command(wrk: str, load: Load, port: int, seconds: int) -> list[str]:
    """One thread: with two cores it shares one with the upstream, and more would only add switches."""
    fields = [part for name, value in load.fields.items() for part in ("-H", f"{name}: {value}")]
    script = str(Path(__file__).parent / "load.lua")
    sizes = ["-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s"]
    request = [f"http://127.0.0.1:{port}/", "--", load.method, *([load.body] if load.body else [])]
    return [wrk, *sizes, "-s", script, *fields, *request]


def parse_totals(output: str) -> Tally:
    """Read the line that load.lua writes. Raises ValueError when there is none."""
    line = re.search(r"^totals (.+)$", output, re.MULTILINE)
    if line is None:
        raise ValueError(f"the load generator reported no totals: {output.strip()[-300:]}")
    counts = {name: int(value) for name, value in (pair.split("=") for pair in line[1].split())}
    return Tally(
        requests=counts.pop("requests"),
        body_and_head_bytes=counts.pop("bytes"),
        seconds=counts.pop("duration_us") / 1e6,
        p50_us=counts.pop("p50_us"),
        p99_us=counts.pop("p99_us"),
        errors=counts,
    )
