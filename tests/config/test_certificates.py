"""Certificate files, good and bad: which is blamed, where, and what `check` and `run` make of it."""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from corsproxy.cli.main import cli
from corsproxy.config.certificates import PemError, load_authorities, load_pair, require_pem
from corsproxy.config.compile import load_table
from corsproxy.config.table import HealthCheck, ListenTls, UpstreamTls
from corsproxy.config.words import quoted
from tests.certificates import Files, files_of

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return files_of(AUTHORITY, tmp_path)


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def other_key(path: str) -> None:
    AUTHORITY.issue_cert("else.test", key_type=trustme.KeyType.ECDSA).private_key_pem.write_to_path(path)


def encrypted(path: str) -> None:
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    coded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(path).write_bytes(coded)


def holding(text: str) -> Callable[[str], None]:
    def write(path: str) -> None:
        Path(path).write_text(text, encoding="utf-8")

    return write


def removed(path: str) -> None:
    Path(path).unlink()


def a_folder(path: str) -> None:
    Path(path).unlink()
    Path(path).mkdir()


def a_pipe(path: str) -> None:
    """Reading it would never end."""
    Path(path).unlink()
    os.mkfifo(path)


def huge(path: str) -> None:
    with Path(path).open("r+b") as file:
        file.truncate(5 * 1024 * 1024)


DAMAGED_CERT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
DAMAGED_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@dataclass(frozen=True)
class Bad:
    says: str
    role: str
    spoil: Callable[[str], None]
    code: str
    message: str  # a part of it


BAD = [
    Bad("no certificate file", "cert", removed, "file-unreadable", "no such file or directory"),
    Bad("no key file", "key", removed, "file-unreadable", "no such file or directory"),
    Bad("no authority file", "ca", removed, "file-unreadable", "no such file or directory"),
    Bad("a folder", "cert", a_folder, "file-unreadable", "is no file"),
    Bad("a pipe", "key", a_pipe, "file-unreadable", "is no file"),
    Bad("a file too large to be one", "ca", huge, "file-unreadable", "too large"),
    Bad("an empty certificate", "cert", holding(""), "bad-certificate", "holds no certificate"),
    Bad(
        "a certificate where the key belongs",
        "key",
        holding(DAMAGED_CERT),
        "bad-certificate",
        "holds no private key",
    ),
    Bad(
        "a key where the certificate belongs",
        "cert",
        holding(DAMAGED_KEY),
        "bad-certificate",
        "holds no certificate",
    ),
    Bad("a damaged certificate", "cert", holding(DAMAGED_CERT), "bad-certificate", "is damaged"),
    Bad("a damaged key", "key", holding(DAMAGED_KEY), "bad-certificate", "is damaged"),
    Bad("a damaged authority", "ca", holding(DAMAGED_CERT), "bad-certificate", "is damaged"),
    Bad("the key of another certificate", "key", other_key, "certificate-mismatch", "is not the key of"),
    Bad("a key with a password", "key", encrypted, "bad-certificate", "needs a password"),
]


def load(files: Files) -> None:
    load_pair(context(), files.cert, files.key)
    load_authorities(context(), files.ca)


def listening(files: Files) -> str:
    return (
        "listen:\n"
        "  address: 127.0.0.1:0\n"
        "  tls:\n"
        f"    cert: {files.cert}\n"
        f"    key: {files.key}\n"
        f"    client_ca: {files.ca}\n"
        "routes: [{upstream: 'http://127.0.0.1:9000', cors: off}]\n"
    )


LINES = {"cert": 4, "key": 5, "ca": 6}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.says)
def test_a_bad_file_is_blamed(case: Bad, files: Files) -> None:
    path = getattr(files, case.role)
    case.spoil(path)
    with pytest.raises(PemError) as caught:
        load(files)
    assert (caught.value.role, caught.value.mistake.code) == (case.role, case.code)
    assert case.message in caught.value.mistake.message
    assert quoted(path) in caught.value.mistake.message


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.says)
def test_the_problem_stands_at_its_key_and_there_alone(case: Bad, files: Files) -> None:
    case.spoil(getattr(files, case.role))
    table, problems = load_table(listening(files), "f", {})
    assert table is None
    assert [(problem.line, problem.code) for problem in problems] == [(LINES[case.role], case.code)]


def test_every_bad_file_is_named_at_once(files: Files) -> None:
    for path in (files.cert, files.key, files.ca):
        removed(path)
    _, problems = load_table(listening(files), "f", {})
    assert [problem.line for problem in problems] == [4, 5, 6]


def test_good_files(files: Files) -> None:
    load(files)
    table, problems = load_table(listening(files), "f", {})
    assert problems == []
    assert table is not None
    assert table.tls == ListenTls(files.cert, files.key, files.ca)


def test_remarks_between_the_blocks_do_not_matter(files: Files) -> None:
    remarked = "# für die Prüfung\n" + Path(files.ca).read_text(encoding="utf-8")
    Path(files.ca).write_text(remarked, encoding="utf-8")
    load_authorities(context(), files.ca)
    assert require_pem("ca", files.ca).startswith(b"# f")


def test_a_nul_in_the_path() -> None:
    with pytest.raises(PemError, match="cannot read"):
        require_pem("cert", "a\0b")


@pytest.mark.parametrize(("verb", "code"), [("check", 78), ("run", 78)])
def test_a_bad_file_is_one_clear_line_and_78(verb: str, code: int, files: Files, tmp_path: Path) -> None:
    other_key(files.key)
    config = tmp_path / "corsproxy.yaml"
    config.write_text(listening(files), encoding="utf-8")
    result = CliRunner().invoke(cli, [verb, "-c", str(config)])
    assert result.exit_code == code
    assert f"{config}:5:10: listen.tls.key: {quoted(files.key)} is not the key of" in result.output


UPSTREAM = """
upstreams:
  legacy:
    endpoints: [https://10.0.0.1, https://10.0.0.2]
    balance: least_in_flight
    tls: {{ca: {0.ca}, server_name: Legacy.Test, cert: {0.cert}, key: {0.key}}}
    health: {{path: "/up?x=1", interval: 1s, timeout: 500ms, healthy_after: 1, unhealthy_after: 4}}
routes: [{{upstream: legacy, cors: off}}]
"""


def test_an_upstream_with_everything(files: Files) -> None:
    table, problems = load_table(UPSTREAM.format(files), "f", {})
    assert problems == []
    assert table is not None
    upstream = table.routes[0].upstream
    assert upstream.balance == "least_in_flight"
    assert upstream.tls == UpstreamTls(files.ca, True, "legacy.test", files.cert, files.key)
    assert upstream.health == HealthCheck(b"/up?x=1", 1.0, 0.5, 1, 4)
    assert len(upstream.endpoints) == 2


def test_an_unverified_upstream_is_warned_of_and_served() -> None:
    block = "upstreams: {a: {endpoints: [https://10.0.0.1], tls: {verify: false}}}\n"
    table, problems = load_table(block + "routes: [{upstream: a, cors: off}]\n", "f", {})
    assert table is not None
    assert not table.routes[0].upstream.tls.verify
    assert [(problem.code, problem.severity) for problem in problems] == [("unverified-upstream", "warning")]
