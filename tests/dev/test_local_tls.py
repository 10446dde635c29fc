"""--https: mkcert is asked, and what happens without it."""

from pathlib import Path

import pytest

from corsproxy.dev.local_tls import NAMES, LocalTlsError, make_certificate


def put_mkcert(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, alone on the PATH."""
    program = folder / "mkcert"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_it_is_asked_for_every_name_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_mkcert(tmp_path, f'echo "$@" > {tmp_path}/asked', monkeypatch)
    state = tmp_path / "state"
    cert, key = make_certificate(state)
    assert (cert, key) == (str(state / "localhost.pem"), str(state / "localhost-key.pem"))
    asked = (tmp_path / "asked").read_text(encoding="utf-8").split()
    assert asked == ["-cert-file", cert, "-key-file", key, *NAMES]
    assert state.stat().st_mode & 0o077 == 0  # the key is nobody else's


def test_without_it_the_steps_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalTlsError, match="mkcert -install"):
        make_certificate(tmp_path)


def test_its_own_words_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_mkcert(tmp_path, "echo no authority >&2; exit 3", monkeypatch)
    with pytest.raises(LocalTlsError, match="mkcert failed: no authority"):
        make_certificate(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_mkcert(tmp_path, "exit 0", monkeypatch)
    with pytest.raises(LocalTlsError, match="mkcert did not work"):
        make_certificate(tmp_path / "mkcert" / "below-a-file")
