"""Tests of the harness: cores, templates, processes, and its own programs against each other.

Here:  tables of cases over the pure parts, and real processes.
Never: proxies, load, figures.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.editions import LOGGED, PLAIN, SECURE, STREAMS, TLS, Edition, fill, issue_certificates
from bench.generate import Generators, Target, send_load
from bench.instructions import instructions_of
from bench.load import BODY, LOADS, MIB, ORIGIN, body_of
from bench.machine import Cores, choose_cores, parse_cpu_list
from bench.measure import count_seen, cpu_seconds
from bench.peers import ALL_PEERS, STREAMS_UPSTREAM, TEMPLATES, UPSTREAM, Peer
from bench.process import ProcessEndedError, session_of, started, wait_until
from bench.running import running
from bench.verify import Door, exchange
from bench.websocket import accept_for, client_frame

CORES = [
    ("one core is shared", {3: {3}}, Cores(frozenset({3}), frozenset({3}))),
    ("two cores: one each", {0: {0}, 1: {1}}, Cores(frozenset({1}), frozenset({0}))),
    (
        "two threads of one core are better than one",
        {0: {0, 1}, 1: {0, 1}},
        Cores(frozenset({1}), frozenset({0})),
    ),
    (
        "the sibling of the proxy's core stays idle",
        {0: {0, 2}, 1: {1, 3}, 2: {0, 2}, 3: {1, 3}},
        Cores(frozenset({3}), frozenset({0, 2})),
    ),
]


@pytest.mark.parametrize(("siblings", "expected"), [row[1:] for row in CORES], ids=[row[0] for row in CORES])
def test_cores(siblings: dict[int, set[int]], expected: Cores) -> None:
    assert choose_cores({core: frozenset(threads) for core, threads in siblings.items()}) == expected


def test_cpu_list() -> None:
    assert parse_cpu_list("0,4-6\n") == {0, 4, 5, 6}


EDITIONS = (PLAIN, STREAMS, TLS, SECURE, LOGGED)
WORDS = ("program", "dir", "certs", "peers", "listen", "admin", "upstream", "workers", "body")


@pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: edition.name)
@pytest.mark.parametrize("peer", [UPSTREAM, *ALL_PEERS], ids=lambda peer: peer.name)
def test_every_template_is_there_and_filled(peer: Peer, edition: Edition) -> None:
    words = dict.fromkeys(WORDS, "WORD")
    for name in peer.templates:
        text = fill((TEMPLATES / name).read_text(), words, edition.tags)
        assert "WORD" in text
        assert not [tag for tag in edition.tags if f"@{tag}@" in text]


def test_a_tagged_line_belongs_to_its_edition() -> None:
    text = "a:\n@tls@   b: 1\n  @clear@ c: 2\n@type@: x\n"
    assert fill(text, {"type": "t"}, TLS.tags) == "a:\n  b: 1\nt: x\n"
    assert fill(text, {"type": "t"}, PLAIN.tags) == "a:\n  c: 2\nt: x\n"


def test_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(KeyError):
        fill("listen @prot@;", {"port": "1"})


def test_the_body_is_one_kibibyte_that_nginx_can_quote() -> None:
    assert len(BODY.encode()) == 1024
    assert not {"'", "$", "\\"} & set(BODY)
    assert len(body_of(10 * MIB)) == 10 * MIB


def test_counts_of_all_processes_are_added() -> None:
    assert instructions_of(["version: 1\nsummary: 83504029\n", "totals: 71\n"]) == 83504100
    with pytest.raises(ValueError, match="no counts"):
        instructions_of(["version: 1\n"])


def test_websocket_words() -> None:
    assert accept_for("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
    assert len(client_frame(7)) == 70
    assert client_frame(7).endswith(b"\x00\x07")


HERE = frozenset(os.sched_getaffinity(0))


@contextmanager
def upstream(folder: Path) -> Iterator[Door]:
    with running(STREAMS_UPSTREAM, folder, HERE) as here:
        yield here.door


@pytest.mark.parametrize("name", ["events", "websocket"])
def test_a_stream_from_our_client_to_our_upstream(tmp_path: Path, name: str) -> None:
    """Without a proxy in between, nothing can be lost."""
    load = LOADS[name]
    with upstream(tmp_path) as door:
        tally = send_load(Generators("none", HERE), load, Target(door.port), 1)
        assert tally.faults(load) == []
        assert tally.units >= 100
        assert count_seen(door) >= tally.units


def test_a_paced_load_keeps_its_pace(tmp_path: Path) -> None:
    load = LOADS["latency"]
    with upstream(tmp_path) as door:
        tally = send_load(Generators("none", HERE), load, Target(door.port, rate=200.0), 1)
    assert tally.faults(load) == []
    assert tally.units == 200
    assert 0 < tally.p50_us <= tally.p99_us


def test_an_upload_is_answered_when_it_is_there(tmp_path: Path) -> None:
    with upstream(tmp_path) as door:
        answer = exchange(door, "POST", {"Origin": ORIGIN}, body_of(MIB))
    assert (answer.status, answer.body) == (200, BODY.encode())


def test_certificates_are_made(tmp_path: Path) -> None:
    issue_certificates(tmp_path)
    both = (tmp_path / "both.pem").read_text()
    assert both == (tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text()
    assert "BEGIN CERTIFICATE" in (tmp_path / "ca.pem").read_text()


def test_a_process_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    """The child ignores SIGTERM, as a stuck worker would."""
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    child = f"{ignore}; print('up', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    output = tmp_path / "output.txt"
    cores = frozenset(os.sched_getaffinity(0))
    with started(
        "parent", [sys.executable, "-c", parent], cores=cores, folder=tmp_path, environment={}, output=output
    ) as process:
        wait_until(process, lambda: "up" in output.read_text(), 10)
        members = process.members()
        assert len(members) == 2
        assert cpu_seconds(members) > 0
    assert [session_of(pid) for pid in members] == [None, None]


def test_a_process_that_ends_early_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such key: upstreem')"]
    with (
        started(
            "proxy",
            command,
            cores=frozenset(os.sched_getaffinity(0)),
            folder=tmp_path,
            environment={},
            output=tmp_path / "output.txt",
        ) as process,
        pytest.raises(ProcessEndedError, match="proxy ended with status 1: no such key: upstreem"),
    ):
        wait_until(process, lambda: False, 10)
