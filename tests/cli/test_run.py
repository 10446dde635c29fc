"""`corsproxy run` and `healthcheck` as an orchestrator uses them: processes, signals, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PATIENCE = 15.0

SMALLEST = """\
listen: 127.0.0.1:0
admin: {admin}
drain: {{timeout: {drain}s}}
routes:
  - upstream: {upstream}
    cors:
      allow_origins: [https://app.example.com]
"""


class Legacy(BaseHTTPRequestHandler):
    """An API in two answers: at once, and when the test lets it."""

    protocol_version = "HTTP/1.1"
    asked = threading.Event()
    release = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.asked.set()
            self.release.wait(PATIENCE)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def legacy() -> Iterator[str]:
    Legacy.asked.clear()
    Legacy.release.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Legacy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Legacy.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Running:
    """A `corsproxy run` process; its log, line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []

    def message(self, word: str) -> str:
        """The message of the next log line that holds this word."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if word in line:
                return str(json.loads(line)["message"])
        raise AssertionError(f"the log ended without {word!r}: {self.lines}")

    def port(self) -> int:
        return int(self.message("listens on").split(" listens on ")[1].split(" ")[0].rpartition(":")[2])

    def ends(self) -> int:
        code = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return code


@contextmanager
def running(*args: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "corsproxy", "run", *args],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def config(tmp_path: Path, upstream: str, *, admin: str = "off", drain: float = 10) -> str:
    file = tmp_path / "corsproxy.yaml"
    file.write_text(SMALLEST.format(upstream=upstream, admin=admin, drain=drain))
    return str(file)


def ask(port: int, path: str = "/") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: p.test\r\n\r\n".encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"done") and (data := connection.recv(65536)):
        received += data
    return received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight_and_exits_with_0(
    tmp_path: Path, legacy: str, number: signal.Signals
) -> None:
    with running("-c", config(tmp_path, legacy)) as proxy:
        port = proxy.port()
        with ask(port, "/slow") as busy, ask(port) as idle:
            assert answer(idle).startswith(b"HTTP/1.1 200 ")
            assert Legacy.asked.wait(PATIENCE)
            proxy.process.send_signal(number)
            proxy.message("stopping")
            assert idle.recv(1) == b""  # an idle connection is closed at once
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            Legacy.release.set()
            whole = answer(busy)
        assert whole.endswith(b"done")
        assert b"\r\nConnection: close\r\n" in whole
        assert proxy.ends() == 0


def test_what_does_not_finish_is_cut_after_the_drain_timeout(tmp_path: Path, legacy: str) -> None:
    with running("-c", config(tmp_path, legacy, drain=0.2)) as proxy, ask(proxy.port(), "/slow") as busy:
        assert Legacy.asked.wait(PATIENCE)
        proxy.process.terminate()
        assert proxy.ends() == 0
        with pytest.raises(ConnectionResetError):
            busy.recv(1)


def test_a_second_signal_ends_it_at_once(tmp_path: Path, legacy: str) -> None:
    with running("-c", config(tmp_path, legacy, drain=60)) as proxy, ask(proxy.port(), "/slow"):
        assert Legacy.asked.wait(PATIENCE)
        proxy.process.terminate()
        proxy.message("stopping")
        started = time.monotonic()
        proxy.process.terminate()
        assert proxy.ends() == 0
        assert time.monotonic() - started < PATIENCE


def test_before_the_listener_is_up_a_signal_ends_it_by_that_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "corsproxy", "run", "-c", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as starting:  # it waits for its file as long as the pipe is open
        starting.terminate()
        assert starting.wait(PATIENCE) == -signal.SIGTERM


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with running("-c", config(tmp_path, "http://127.0.0.1:1"), "--listen", place) as proxy:
            assert proxy.ends() == 1
            (line,) = proxy.lines
            assert json.loads(line)["message"] == f"cannot listen on {place}: address already in use"


def test_an_admin_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with running("-c", config(tmp_path, "http://127.0.0.1:1", admin=place)) as proxy:
            assert proxy.ends() == 1
            (line,) = proxy.lines
            assert json.loads(line)["message"] == f"cannot listen on {place} (admin): address already in use"


def test_an_upstream_that_does_not_resolve_is_a_warning_and_a_502(tmp_path: Path) -> None:
    with running("-c", config(tmp_path, "http://nowhere.invalid:9000")) as proxy:
        port = proxy.port()
        assert "nowhere.invalid does not resolve" in proxy.message("resolve")
        with ask(port) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["-c", "nowhere.yaml"],
            "cannot read the configuration file nowhere.yaml: No such file or directory",
        ),
        (["-c", "."], "cannot read the configuration file .: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_78(args: list[str], says: str) -> None:
    with running(*args) as proxy:
        assert proxy.ends() == 78
        assert proxy.lines == [f"corsproxy: {says}\n"]


def test_a_bad_file_is_refused_with_what_check_says(tmp_path: Path) -> None:
    file = tmp_path / "corsproxy.yaml"
    file.write_text(
        'routes:\n  - upstreem: http://x\n    cors: {allow_origins: "*", allow_credentials: true}\n'
    )
    said = subprocess.run(
        [sys.executable, "-m", "corsproxy", "check", str(file)], capture_output=True, text=True, check=False
    )
    with running("-c", str(file)) as proxy:
        assert proxy.ends() == said.returncode == 78
        assert "".join(proxy.lines) == said.stdout
        assert "did you mean 'upstream'?" in said.stdout


def test_the_environment_stands_for_the_options(tmp_path: Path, legacy: str) -> None:
    env = {"CORSPROXY_CONFIG": config(tmp_path, legacy), "CORSPROXY_LOG_FORMAT": "json"}
    with running(env=env) as proxy, ask(proxy.port()) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def test_healthcheck_follows_the_life_of_the_proxy(tmp_path: Path, legacy: str) -> None:
    admin = f"unix:{tmp_path}/admin.sock"
    assert check_health(admin) == (1, "", f"corsproxy: no answer from {admin}: no such file or directory\n")
    with running("-c", config(tmp_path, legacy, admin=admin)) as proxy:
        port = proxy.port()
        assert proxy.message("admin on") == f"admin on {admin}"
        assert check_health(admin) == (0, "ready\n", "")
        with ask(port, "/slow"):
            assert Legacy.asked.wait(PATIENCE)
            proxy.process.terminate()
            proxy.message("stopping")
            assert check_health(admin) == (
                1,
                "",
                "corsproxy: not ready: HTTP/1.1 503 Service Unavailable\n",
            )
            Legacy.release.set()
        assert proxy.ends() == 0


def check_health(admin: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "corsproxy", "healthcheck", "--admin", admin],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_healthcheck_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "corsproxy", "healthcheck", "--admin", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {
        line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line
    }
    assert "click" in imported
    assert not imported & {"aiohttp", "asyncio", "pydantic", "yaml", "ssl", "uvloop", "httptools"}


def starts_and_ends(tmp_path: Path, file: str, redirected: str, workers: int) -> int:
    """Start it by a shell that redirects something first, stop it once it listens; the exit code."""
    place = tmp_path / "s"
    proxy = f"{sys.executable} -m corsproxy run -c {file} --listen unix:{place} --workers {workers}"
    command = f"exec {proxy} {redirected}"
    with subprocess.Popen(["sh", "-c", command], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not is_up(place):
                assert process.poll() is None, f"it ended with {process.returncode}"
                assert time.monotonic() < deadline
                time.sleep(0.01)  # of what happens in other processes nobody sends word
            process.send_signal(signal.SIGTERM)
            return process.wait(PATIENCE)
        finally:
            process.kill()


def is_up(place: Path) -> bool:
    """True when it has answered, which it does with 502."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(place))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: p.test\r\n\r\n")
            return connection.recv(12) == b"HTTP/1.1 502"
        except OSError:
            return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_was_closed_at_the_start_is_nobody_elses_descriptor(
    tmp_path: Path, closed: str, workers: int
) -> None:
    file = config(tmp_path, "http://127.0.0.1:9")
    assert starts_and_ends(tmp_path, file, closed, workers) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_too_few_descriptors_for_a_start_are_one_line(tmp_path: Path, workers: int) -> None:
    file = config(tmp_path, "http://127.0.0.1:9")
    command = f"ulimit -n 11; exec {sys.executable} -m corsproxy run -c {file} --workers {workers}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["message"] == "cannot start: too many open files"


def with_a_warning(tmp_path: Path) -> str:
    file = Path(config(tmp_path, "http://127.0.0.1:9"))
    file.write_text("upstreams: {spare: {endpoints: ['http://127.0.0.1:9']}}\n" + file.read_text())
    return str(file)


def test_a_warning_is_a_line_of_the_log(tmp_path: Path) -> None:
    file = with_a_warning(tmp_path)
    with running("-c", file) as proxy:
        assert proxy.message("spare").startswith(f"{file}:1:13: warning: upstreams.spare: ")
        proxy.port()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_warning_for_a_full_disk_is_no_reason_not_to_start(tmp_path: Path, workers: int) -> None:
    assert starts_and_ends(tmp_path, with_a_warning(tmp_path), "2>/dev/full", workers) == 0
