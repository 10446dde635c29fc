"""The installed wheel as a container runs it, without one: process 1, no root, nothing to write to."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ops.process import children_of

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
NOBODY = "10001"

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
routes:
  - upstream: http://127.0.0.1:9
    cors: {allow_origins: [https://app.example.com]}
"""
# In namespaces of its own: the root file system becomes read-only, then every privilege goes.
ENTER = f"""\
mount -o remount,bind,ro / && for place in /tmp /var/tmp /dev/shm /run; do
  ! mountpoint -q "$place" || mount -o remount,bind,ro "$place"
done
exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \\
  --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def _as_nobody(*command: str | Path) -> bool:
    privileges = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run([*privileges, *command], capture_output=True, timeout=PATIENCE, check=False)
    return done.returncode == 0


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root can make a file system read-only and a pid namespace"
    missing = [tool for tool in ("unshare", "setpriv", "mountpoint") if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]} here"
    if not _as_nobody(sys.executable, "-c", "pass"):
        return f"{sys.executable} is for nobody but root"
    return ""


REASON = _why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that others may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="corsproxy-wheel-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    """`corsproxy` of a wheel, built and installed as users do it; its dependencies are those of the tests."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=PATIENCE)
    python = venv / "bin" / "python"
    install = ["--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, timeout=PATIENCE)
    (site,) = venv.glob("lib/python3*/site-packages")
    dependencies = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return venv / "bin" / "corsproxy"


@contextmanager
def running(program: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command as process 1 of a pid namespace, killed at the latest when the test is over."""
    file = program.parents[2] / "corsproxy.yaml"
    file.write_text(CONFIG)
    unshare = ["unshare", "--pid", "--fork", "--mount", "--mount-proc"]
    command = [*unshare, "sh", "-c", ENTER, "enter", program, "run", "-c", str(file), *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd="/") as process:
        try:
            yield process
        finally:
            # Not by --kill-child: a change of the user, as by setpriv, undoes that (PR_SET_PDEATHSIG).
            for child in children_of(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.kill()


def listening(process: "subprocess.Popen[str]") -> int:
    """The port of the proxy, once it and the admin listener are up."""
    assert process.stderr is not None
    port = 0
    lines = []
    for line in process.stderr:
        lines.append(line)
        message = str(json.loads(line)["message"])
        if " listens on " in message:
            port = int(message.split(" listens on ")[1].split(" ", maxsplit=1)[0].rpartition(":")[2])
        if "admin on" in message:
            return port
    raise AssertionError(lines)


def inside(process: "subprocess.Popen[str]") -> int:
    """The number, out here, of the process that is 1 in there: the one child of unshare."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_it_is_process_one_nobody_and_may_do_nothing(program: Path) -> None:
    with running(program) as process:
        listening(process)
        lines = Path(f"/proc/{inside(process)}/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert facts["NSpid"].split()[-1] == "1"
    assert facts["Uid"].split() == [NOBODY] * 4
    assert {facts[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"


def test_its_file_system_is_read_only(program: Path) -> None:
    with running(program) as process:
        listening(process)
        mounts = Path(f"/proc/{inside(process)}/mountinfo").read_text().splitlines()
    options = {fields[4]: fields[5].split(",") for fields in (line.split(" ") for line in mounts)}
    assert "ro" in options["/"]


def test_it_answers(program: Path) -> None:
    preflight = (
        b"OPTIONS / HTTP/1.1\r\nHost: p.test\r\nOrigin: https://app.example.com\r\n"
        b"Access-Control-Request-Method: GET\r\nConnection: close\r\n\r\n"
    )
    with (
        running(program) as process,
        socket.create_connection(("127.0.0.1", listening(process)), PATIENCE) as client,
    ):
        client.sendall(preflight)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"Access-Control-Allow-Origin: https://app.example.com\r\n" in answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_as_process_one_it_hears_the_signal_to_stop(number: signal.Signals, program: Path) -> None:
    with running(program) as process:
        listening(process)
        os.kill(inside(process), number)
        assert process.wait(PATIENCE) == 0


def test_a_bad_address_is_an_exit_code_not_a_traceback(program: Path) -> None:
    with running(program, "--listen", "unix:/var/tmp/corsproxy-test.sock") as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 1
    assert "read-only file system" in said
    assert "Traceback" not in said
