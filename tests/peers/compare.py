"""The malformed requests of our tests, sent to nginx and HAProxy as well: who refuses what.

Here:  one upstream, three proxies in front of it, the cases of `tests/proxy/test_framing.py`, a table.
Never: a verdict. What corsproxy has to do, its tests say; why others differ, `docs/http.md`.

Run as `python -m tests.peers.compare` from the root; it prints where they differ, and the table of the page.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.process import free_port, started, wait_until
from tests.proxy import test_framing
from tests.proxy.test_framing import Bad
from tests.wire import Wire, ok

HERE = Path(__file__).parent
START_SECONDS = 10.0
QUIET_SECONDS = 0.3  # without a byte: then it will not answer
BODY_BEGINS = b"\r\n\r\n"


@dataclass(frozen=True)
class Peer:
    """A proxy: `@dir@` and the ports are filled into its template, and into its command."""

    name: str
    program: str
    template: str
    command: tuple[str, ...]


PEERS = (
    Peer(
        "corsproxy",
        sys.executable,
        "corsproxy.yaml",
        ("@program@", "-m", "corsproxy", "run", "-c", "@dir@/corsproxy.yaml"),
    ),
    Peer(
        "nginx",
        "nginx",
        "nginx.conf",
        ("@program@", "-e", "stderr", "-p", "@dir@", "-c", "@dir@/nginx.conf"),
    ),
    Peer("HAProxy", "haproxy", "haproxy.cfg", ("@program@", "-db", "-f", "@dir@/haproxy.cfg")),
)
REQUESTS = (
    *(test_framing.LENGTHS, test_framing.CODINGS, test_framing.FIELDS, test_framing.LINES),
    *(test_framing.HOSTS, test_framing.FORMS, test_framing.CHUNKS),
)


Found = list[tuple[str, dict[str, str]]]
"""For each case what it says, and by name of the peer what became of it."""


@dataclass
class Upstream:
    """Counts what arrives."""

    port: int = 0
    whole: int = 0  # requests that came with the end of their body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError
        ):
            while True:
                head = await reader.readuntil(BODY_BEGINS)
                await _read_body(reader, head.lower())
                self.whole += 1
                await wire.send(ok())
        writer.close()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"\r\ntransfer-encoding:" in head:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    elif b"\r\ncontent-length:" in head:
        await reader.readexactly(int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))


async def outcome(port: int, legacy: Upstream, request: bytes) -> str:
    """In a few words, what became of a request."""
    legacy.whole = 0
    received = await _exchange(port, request)
    status = received[9:12].decode("latin-1") if received.startswith(b"HTTP/") else ""
    if not legacy.whole:
        return f"refused, {status}" if status >= "400" else "refused, closed"
    return "taken"


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(request)
        await writer.drain()
        while data := await asyncio.wait_for(reader.read(65536), QUIET_SECONDS):
            received += data
    writer.close()
    return received


async def outcomes(ports: dict[str, int], legacy: Upstream) -> Found:
    """For each case, by name of the peer."""
    found = []
    for case in cases():
        by_peer = {name: await outcome(port, legacy, case.request) for name, port in ports.items()}
        found.append((case.says, by_peer))
    return found


def cases() -> Iterable[Bad]:
    for table in REQUESTS:
        yield from table


# By rule: why others take what is refused here.
REASONS = {
    1: "HAProxy lets chunked win and drops the length, as RFC 9112 §6.3 allows",
    2: "HAProxy folds equal lengths into one, as RFC 9110 §8.6 allows",
    5: "HAProxy reads the chunks",
    7: "HAProxy unfolds lines, as RFC 9112 §5.2 allows",
    9: "RFC 9112 §2.2 lets a recipient take LF for a line end; both forward CRLF",
    10: "both let control bytes through; HAProxy, in this version, NUL as well",
    11: "nginx drops such lines unseen (`ignore_invalid_headers`)",
    12: "HAProxy takes it for a folded line",
    13: "a LF for CRLF, and white space behind a size, which senders of old have written",
    14: "both skip extensions without looking",
    15: "trailers are not looked at as fields are",
    20: "HAProxy leaves Host to its rules, nginx to `server_name`; here it is told upstream",
    21: "nginx ignores the scheme, HAProxy an empty host; nobody connects to what they name",
    22: "HAProxy takes `*` for a path",
    24: "spaces are read over, versions compared loosely, odd bytes in targets handed on",
    59: "both hand unknown methods on; the parser here knows a fixed list",
}


def table(found: Found) -> str:
    """By rule, how many of its cases a peer takes that corsproxy refuses, and why, as Markdown."""
    names = [name for name in found[0][1] if name != "corsproxy"]
    lines = ["| Rule | Cases | " + " | ".join(f"{name} takes" for name in names) + " | Because |"]
    lines.append("|---|---|" + "---|" * (len(names) + 1))
    numbers = sorted({number_of(says) for says, _ in found})
    for number in numbers:
        every = [by_peer for says, by_peer in found if number_of(says) == number]
        refused = [by_peer for by_peer in every if by_peer["corsproxy"].startswith("refused")]
        taken = [sum(by_peer[name] == "taken" for by_peer in refused) for name in names]
        if any(taken):
            counts = " | ".join(map(str, taken))
            lines.append(f"| {number} | {len(every)} | {counts} | {REASONS[number]} |")
    return "\n".join(lines)


def details(found: Found) -> str:
    """Each case in which not all agree."""
    return "\n".join(
        f"{says}: " + ", ".join(f"{name} {what}" for name, what in by_peer.items())
        for says, by_peer in found
        if len({what.partition(",")[0] for what in by_peer.values()}) > 1
    )


def number_of(says: str) -> int:
    return int(says.partition(" ")[0])


def find(peer: Peer) -> str | None:
    """The program; daemons of Debian lie where PATH of a user does not lead."""
    return shutil.which(peer.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def is_listening(port: int) -> Callable[[], bool]:
    def look() -> bool:
        with contextlib.closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return look


async def compare(folder: Path) -> Found:
    """Start everything, send everything."""
    legacy = Upstream()
    server = await asyncio.start_server(legacy.serve, "127.0.0.1", 0)
    legacy.port = server.sockets[0].getsockname()[1]
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for peer in PEERS:
            program = find(peer)
            if program is None:
                sys.stderr.write(f"{peer.name} is not installed: left out\n")
                continue
            ports[peer.name] = port = free_port()
            place = folder / peer.name
            place.mkdir()
            words = {
                "program": program,
                "dir": str(place),
                "listen": str(port),
                "upstream": str(legacy.port),
            }
            (place / peer.template).write_text(filled((HERE / peer.template).read_text(), words))
            process = stack.enter_context(
                started(
                    peer.name,
                    [filled(part, words) for part in peer.command],
                    cores=frozenset(os.sched_getaffinity(0)),
                    folder=Path.cwd(),
                    environment={},
                    output=place / "output",
                )
            )
            await asyncio.to_thread(wait_until, process, is_listening(port), START_SECONDS)
        found = await outcomes(ports, legacy)
    server.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(compare(Path(folder)))
    sys.stdout.write(f"{details(found)}\n\n{len(found)} cases\n\n{table(found)}\n")


if __name__ == "__main__":
    main()
