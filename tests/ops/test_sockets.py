"""Listening sockets: who may have an address, and what is left behind."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from corsproxy.config.table import Address
from corsproxy.ops.sockets import address_of, bind, bind_shared, inode_of, reason_of, remove_own_socket


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """What is put in here is closed at the end."""
    with ExitStack() as stack:
        yield stack


def listen(address: Address, held: ExitStack) -> list[socket.socket]:
    socks = bind(address)
    for sock in socks:
        held.enter_context(sock)
    return socks


def share(address: Address, count: int, held: ExitStack) -> list[list[socket.socket]]:
    shares = bind_shared(address, count)
    for sock in {sock for socks in shares for sock in socks}:
        held.enter_context(sock)
    return shares


def connect(address: Address, held: ExitStack) -> socket.socket:
    return held.enter_context(socket.create_connection((address.host, address.port), 5))


def waiting(sock: socket.socket) -> int:
    """Accept what waits in the queue of this socket; how many those were."""
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.fixture
def two_faced(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that has an IPv6 and an IPv4 address, as localhost has on most machines."""

    def resolve(_host: str, port: int, **_hints: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return "two-faced.test"


def test_port_0_is_one_port_for_every_address_of_a_host(two_faced: str, held: ExitStack) -> None:
    one, other = (address_of(sock) for sock in listen(Address(two_faced, 0), held))
    assert (one.host, other.host) == ("::1", "127.0.0.1")
    assert one.port == other.port != 0


def test_workers_share_a_port_and_connections_are_spread(held: ExitStack) -> None:
    shares = share(Address("127.0.0.1", 0), 2, held)
    (one,), (two,) = shares
    assert address_of(one) == address_of(two)
    for _ in range(64):
        connect(address_of(one), held)
    counts = waiting(one), waiting(two)
    assert sum(counts) == 64
    assert min(counts) > 8  # by a hash of the addresses: 64 fair coins show less once in 10^10


def test_each_has_every_address_of_the_host(two_faced: str, held: ExitStack) -> None:
    shares = share(Address(two_faced, 0), 3, held)
    places = [[address_of(sock) for sock in socks] for socks in shares]
    assert places[0] == places[1] == places[2]
    assert {place.host for place in places[0]} == {"::1", "127.0.0.1"}


def test_a_queue_outlives_the_process_that_should_have_served_it(held: ExitStack) -> None:
    """The descriptor that is kept here is what makes connections wait for the next worker."""
    (one,), (two,) = share(Address("127.0.0.1", 0), 2, held)
    theirs = socket.socket(fileno=os.dup(one.fileno()))
    for _ in range(64):
        connect(address_of(one), held)
    theirs.close()
    assert waiting(one) + waiting(two) == 64


def test_one_worker_needs_no_sharing(held: ExitStack) -> None:
    ((only,),) = share(Address("127.0.0.1", 0), 1, held)
    assert only.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_a_unix_socket_is_one_for_all(tmp_path: Path, held: ExitStack) -> None:
    (one,), (two,) = share(Address(path=str(tmp_path / "front.sock")), 2, held)
    assert one is two


@pytest.mark.parametrize("count", [1, 2], ids=["alone", "with workers"])
@pytest.mark.parametrize("theirs", [1, 2], ids=["held alone", "held by workers"])
def test_nobody_slips_in_beside_another(count: int, theirs: int, held: ExitStack) -> None:
    """With SO_REUSEPORT alone two proxies of one user would share the port, and its connections."""
    ((taken, *_), *_) = share(Address("127.0.0.1", 0), theirs, held)
    with pytest.raises(OSError, match="in use") as caught:
        bind_shared(address_of(taken), count)
    assert reason_of(caught.value) == "address already in use"


def test_what_was_bound_before_a_failure_is_let_go(two_faced: str, held: ExitStack) -> None:
    taken = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        bind(Address(two_faced, taken))
    with socket.socket(socket.AF_INET6) as again:
        again.bind(("::1", taken))


def test_a_port_is_free_again_at_once(held: ExitStack) -> None:
    """A restart must not wait for connections that linger (TIME_WAIT)."""
    (first,) = bind(Address("127.0.0.1", 0))
    place = address_of(first)
    client = connect(place, held)
    accepted = first.accept()[0]
    accepted.close()  # the side that closes first is the one that lingers
    assert client.recv(1) == b""
    client.close()
    first.close()
    listen(place, held)


# Unix sockets


def test_a_stale_one_makes_way(tmp_path: Path, held: ExitStack) -> None:
    place = Address(path=str(tmp_path / "front.sock"))
    bind(place)[0].close()
    listen(place, held)


def live(path: Path, held: ExitStack) -> None:
    listen(Address(path=str(path)), held)


def busy(path: Path, held: ExitStack) -> None:
    """Nobody takes who comes, and no more may wait: who connects would wait for that."""
    sock = held.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(str(path))
    sock.listen(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(str(path))


def a_file(path: Path, _held: ExitStack) -> None:
    path.write_text("mine")


@pytest.mark.parametrize("occupy", [live, busy, a_file])
def test_what_is_another_ones_stays(
    occupy: Callable[[Path, ExitStack], None], tmp_path: Path, held: ExitStack
) -> None:
    path = tmp_path / "front.sock"
    occupy(path, held)
    inode = path.stat().st_ino
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRINUSE):
        bind(Address(path=str(path)))
    assert path.stat().st_ino == inode


def test_only_the_own_one_is_removed(tmp_path: Path, held: ExitStack) -> None:
    place = Address(path=str(tmp_path / "front.sock"))
    (old,) = bind(place)
    inode = inode_of(place)
    old.close()
    kept = tmp_path / "kept"
    Path(place.path).rename(kept)  # so that its number is not given to the next
    listen(place, held)
    remove_own_socket(place, inode)
    assert Path(place.path).exists()  # another process has taken over: it is that one's
    remove_own_socket(place, inode_of(place))
    assert not Path(place.path).exists()
    remove_own_socket(place, inode_of(place))  # there is none any more


def test_tcp_has_nothing_to_remove() -> None:
    assert inode_of(Address("127.0.0.1", 80)) == 0


REASONS = [
    ("the number says it", OSError(errno.EACCES, "asyncio wraps: [Errno 13] ..."), "permission denied"),
    (
        "a name that does not resolve",
        socket.gaierror(-2, "Name or service not known"),
        "name or service not known",
    ),
    ("only words", OSError("AF_UNIX path too long"), "af_unix path too long"),
]


@pytest.mark.parametrize(("error", "says"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS])
def test_reasons(error: OSError, says: str) -> None:
    assert reason_of(error) == says
