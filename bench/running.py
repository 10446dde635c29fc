"""A peer that runs: its folder, its configuration, its port, ready to serve.

Here:  one context manager.
Never: what the answers should be (`verify`), loads.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.editions import PLAIN, Edition, fill
from bench.load import BODY, body_of
from bench.peers import FILES, TEMPLATES, Peer, Promise
from bench.process import ROOT, Process, free_port, started, wait_until
from bench.verify import Door, is_serving

__all__ = ["Running", "running", "words_of"]

START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves."""

    name: str
    process: Process
    door: Door
    promise: Promise = Promise.POLICY
    edition: Edition = field(default=PLAIN)

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.door.port


def words_of(
    peer: Peer, folder: Path, certificates: Path, upstream_port: int, workers: int = 1
) -> dict[str, str]:
    """What stands for the placeholders of one instance of a peer. Raises MissingError."""
    return {
        "program": peer.require(),
        "dir": str(folder),
        "certs": str(certificates),
        "peers": str(TEMPLATES),
        "listen": str(free_port()),
        "admin": str(free_port()),
        "upstream": str(upstream_port),
        "workers": str(workers),
        "body": BODY,
    }


def write_files(peer: Peer, folder: Path, words: Mapping[str, str], tags: frozenset[str]) -> None:
    """The configuration; for the upstream also what it serves."""
    for name in peer.templates:
        (folder / name).write_text(fill((TEMPLATES / name).read_text(), words, tags))
    if peer.is_upstream:
        for name, size in FILES.items():
            (folder / name).write_text(body_of(size))


@contextmanager
def running(
    peer: Peer,
    scratch: Path,
    cores: frozenset[int],
    *,
    edition: Edition = PLAIN,
    upstream_port: int = 0,
    workers: int = 1,
    every: float = 0.05,
    wrapper: tuple[str, ...] = (),
    patience: float = START_SECONDS,
) -> Iterator[Running]:
    """The peer, serving, until the block is left. Raises MissingError or ProcessEndedError.

    scratch: a folder, with the certificates if the edition needs them; the peer gets one of its own inside.
    every: seconds between two questions whether it serves. wrapper: what stands before its command.
    patience: seconds until it has to serve.
    """
    folder = scratch / f"{edition.name}-{peer.name}-{workers}"
    folder.mkdir()
    words = words_of(peer, folder, scratch, upstream_port, workers)
    write_files(peer, folder, words, edition.tags)
    is_tls = edition.is_secure if peer.is_upstream else edition.is_tls
    door = Door(int(words["listen"]), fill(peer.prefix, words), scratch / "ca.pem" if is_tls else None)
    with started(
        peer.name,
        [*wrapper, *(fill(part, words) for part in peer.command)],
        cores=cores,
        folder=ROOT,
        environment={name: fill(value, words) for name, value in peer.environment},
        output=folder / "output.txt",
    ) as process:
        wait_until(process, lambda: is_serving(door), patience, every)
        yield Running(peer.name, process, door, peer.promise, edition)
