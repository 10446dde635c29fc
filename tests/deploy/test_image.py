"""The image as built: what is in it, what is not, and that it runs as an operator should run it.

`make image-test` builds it and runs these. They need root, for file owners and namespaces, and runc.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.container import Container, Image, bundle, running

ARCHIVE = os.environ.get("CORSPROXY_IMAGE", "")
# Put into pip's configuration for the build by `make image-test`: it must not come out at the other end.
PLANTED = "planted-secret.invalid"
MOST_BYTES = 45_000_000  # beyond the base: 22 MB on Debian's Python, 10 more where it has no byte-code yet

if not ARCHIVE:
    pytest.skip("no image: make image-test", allow_module_level=True)
pytestmark = pytest.mark.xdist_group("image")
needs_runc = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("runc") is None, reason="needs root and runc"
)

CONFIG = """\
listen: 0.0.0.0:8080
routes:
  - upstream: http://127.0.0.1:9000
    cors:
      allow_origins: [https://app.example.com]
"""
UPSTREAM = """
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 9000), http.server.SimpleHTTPRequestHandler)
print("listens", flush=True)
server.serve_forever()
"""
REQUEST = """
import json, urllib.request
request = urllib.request.Request("http://127.0.0.1:8080/etc/corsproxy/hello", headers={"Origin": "https://app.example.com"})
with urllib.request.urlopen(request) as response:
    print(json.dumps([response.status, dict(response.headers), response.read().decode()]))
"""


@pytest.fixture(scope="module")
def image() -> Image:
    return Image(Path(ARCHIVE))


# What it says of itself


def test_it_starts_the_proxy_as_a_numbered_user_and_no_shell(image: Image) -> None:
    assert image.config["Entrypoint"] == ["corsproxy"]
    assert image.config["Cmd"] == ["run"]
    assert image.config["User"] == "10001:10001"
    assert image.config.get("StopSignal", "SIGTERM") == "SIGTERM"
    assert set(image.config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}


def test_its_health_check_is_ours(image: Image) -> None:
    assert image.config["Healthcheck"]["Test"] == ["CMD", "corsproxy", "healthcheck"]


# What is in it


def test_nothing_of_the_building_machine_is_in_a_layer(image: Image) -> None:
    assert PLANTED not in json.dumps(image.description)
    for layer in image.layers():
        for member in layer:
            assert member.name not in {"etc/pip.conf", "run/secrets/pip", "run/secrets/ca"}
            assert not member.name.startswith(("root/.config", "root/.cache", "build/", "tmp/"))


def test_no_secret_and_no_certificate_is_in_a_file_of_ours(image: Image) -> None:
    for layer in image.own_layers():
        for member in layer:
            if member.isfile() and (file := layer.extractfile(member)) is not None:
                content = file.read()
                assert PLANTED.encode() not in content, member.name
                assert b"-----BEGIN CERTIFICATE-----\nMII" not in content, member.name


def test_it_adds_little(image: Image) -> None:
    assert sum(member.size for layer in image.own_layers() for member in layer) < MOST_BYTES


def test_only_what_runs_is_installed(image: Image) -> None:
    names = [
        member.name for layer in image.own_layers() for member in layer if "opt/corsproxy" in member.name
    ]
    assert any(name.endswith("corsproxy/cli/main.py") for name in names)
    assert any(name.endswith("site-packages/aiohttp/__init__.py") for name in names)
    programs = {Path(name).name for name in names if Path(name).parent.name == "bin"}
    assert {name for name in programs if not name.startswith("python")} == {"corsproxy"}
    for name in names:
        assert not name.endswith((".pyx", ".pyi", ".c", ".h")), name
        assert not name.endswith(("site-packages/pip", "site-packages/hatchling", "corsproxy/tests")), name


def test_licences_go_along(image: Image) -> None:
    names = [member.name for layer in image.own_layers() for member in layer]
    packages = [name for name in names if name.endswith(".dist-info/METADATA")]
    assert len(packages) >= 15
    assert sum("licen" in name.lower() or "copying" in name.lower() for name in names) >= len(packages)


def test_every_module_of_ours_has_its_byte_code(image: Image) -> None:
    names = {
        member.name for layer in image.own_layers() for member in layer if "opt/corsproxy/lib" in member.name
    }
    compiled = {Path(name).name.partition(".cpython")[0] for name in names if name.endswith(".pyc")}
    assert {Path(name).stem for name in names if name.endswith(".py")} <= compiled


# That it runs


@pytest.fixture(scope="module")
def folder(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bundle")
    folder.chmod(0o755)
    config = folder / "conf"
    config.mkdir()
    (config / "corsproxy.yaml").write_text(CONFIG)
    (config / "hello").write_text("hello from the upstream")
    image.unpack(folder / "root")
    bundle(folder, image, config)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def container(folder: Path) -> Iterator[Container]:
    with running(folder) as container:
        container.message("admin on")
        yield container


@needs_runc
def test_it_is_process_one_without_root_or_any_privilege(container: Container) -> None:
    lines = container.run("cat", "/proc/1/status").splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert facts["Uid"].split() == ["10001"] * 4
    assert facts["Gid"].split() == ["10001"] * 4
    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
    assert "corsproxy" in container.run("cat", "/proc/1/cmdline")


@needs_runc
@pytest.mark.parametrize("place", ["/", "/opt/corsproxy/lib", "/tmp", "/etc/corsproxy", "/var/tmp"])
def test_nothing_can_be_written_to(place: str, container: Container) -> None:
    assert "Read-only file system" in container.run("touch", f"{place}/x", code=1)


@needs_runc
def test_its_health_check_finds_it_ready(container: Container) -> None:
    assert container.run("corsproxy", "healthcheck") == "ready\n"


@needs_runc
def test_a_request_goes_through_it(container: Container) -> None:
    with container.beside("python3", "-c", UPSTREAM) as upstream:
        assert upstream.stdout is not None
        assert upstream.stdout.readline() == "listens\n"
        status, headers, body = json.loads(container.run("python3", "-c", REQUEST))
    assert (status, body) == (200, "hello from the upstream")
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert headers["Vary"] == "Origin"


@needs_runc
def test_it_knows_its_parts(container: Container) -> None:
    version = container.run("corsproxy", "version")
    assert "uvloop" in version
    assert "corsproxy" in version


@needs_runc
def test_sigterm_ends_it_with_zero(folder: Path) -> None:
    with running(folder) as container:
        container.message("admin on")
        container.signal("TERM")
        assert container.ends() == 0


@needs_runc
def test_a_bad_configuration_ends_it_with_78(folder: Path) -> None:
    file = folder / "conf" / "corsproxy.yaml"
    file.write_text("listen: 0.0.0.0:8080\nroutes: []\n")
    try:
        with running(folder) as container:
            assert container.ends() == 78
    finally:
        file.write_text(CONFIG)


@needs_runc
def test_it_is_up_soon(folder: Path) -> None:
    started = time.monotonic()
    with running(folder) as container:
        container.message("admin on")
        took = time.monotonic() - started
    assert took < 5, "byte-code is missing, or the start has become slow"
