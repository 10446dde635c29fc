"""The systemd unit, as systemd-analyze reads it; and what the process tells the manager."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corsproxy.config.table import Drain
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "corsproxy.service"
PROGRAM = "/opt/corsproxy/bin/corsproxy"
PATIENCE = 15.0
WORST_SCORE = 1.5  # of 10, which is a service without any of this; 2 and less is "OK"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def seconds(name: str) -> float:
    (value,) = settings()[name]
    return float(value.removesuffix("s"))


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    out = done.stdout + done.stderr
    assert done.returncode == 0, out
    return out


def installed_copy(folder: Path) -> Path:
    """The unit with a program that is there: verify looks for it."""
    program = folder / "bin" / "corsproxy"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace(PROGRAM, str(program)))
    return copy


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    out = analyze("verify", "--man=no", str(installed_copy(tmp_path)))
    assert "corsproxy.service" not in out


@needs_systemd
def test_systemd_does_find_what_is_wrong(tmp_path: Path) -> None:
    copy = installed_copy(tmp_path)
    copy.write_text(copy.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyze("verify", "--man=no", str(copy))


@needs_systemd
def test_it_is_locked_in(tmp_path: Path) -> None:
    out = analyze("security", "--offline=yes", "--no-pager", str(installed_copy(tmp_path)))
    score = re.search(r"Overall exposure level for corsproxy.service: ([\d.]+)", out)
    assert score, out
    assert float(score[1]) <= WORST_SCORE


def test_it_says_itself_when_it_serves() -> None:
    assert settings()["Type"] == ["notify"]
    assert seconds("WatchdogSec") >= 10, "a pause of the machine is no reason to end it"


def test_a_reload_is_checked_before_it_is_sent() -> None:
    (start,) = settings()["ExecStart"]
    assert start == f"{PROGRAM} run --config /etc/corsproxy/corsproxy.yaml"
    assert settings()["ExecReload"] == [
        f"{PROGRAM} check /etc/corsproxy/corsproxy.yaml",
        '/bin/sh -c "kill -HUP $MAINPID"',
    ]


def test_a_bad_configuration_is_not_tried_again() -> None:
    assert settings()["Restart"] == ["on-failure"]
    assert settings()["RestartPreventExitStatus"] == ["78"]


def test_it_has_time_to_drain() -> None:
    usual = Drain()
    assert usual.delay + usual.timeout < seconds("TimeoutStopSec")


class Manager:
    """The service manager's end of the notification socket, in the parts that the unit uses."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(PATIENCE)

    def hears(self, word: str) -> str:
        """The next message that has this assignment, whatever beats come before."""
        while True:
            message = self.socket.recv(4096).decode()
            if word in message.split("\n"):
                return message
            assert message == "WATCHDOG=1", f"{message!r} instead of {word}"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.socket.close()


def test_the_manager_follows_it_from_start_to_end(manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "corsproxy.yaml"
    config.write_text(
        "{listen: 127.0.0.1:0, admin: off, routes: [{upstream: http://127.0.0.1:9, cors: off}]}"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "corsproxy", "run", "-c", str(config)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"},
    ) as process:
        try:
            assert "STATUS=" in manager.hears("READY=1")
            assert manager.hears("WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in manager.hears("RELOADING=1")
            manager.hears("READY=1")
            process.send_signal(signal.SIGTERM)
            manager.hears("STOPPING=1")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
