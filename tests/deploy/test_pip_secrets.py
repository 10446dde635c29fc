"""What of this machine's pip configuration a build is given."""

import stat
from pathlib import Path

import pytest

from tests.deploy.scripts import script

pip_secrets = script("pip_secrets")

LISTED = """\
:env:.timeout='180'
global.index-url='https://user:secret@mirror.test/simple'
global.timeout='60'
install.find-links='/opt/wheels https://wheels.test'
list.format='columns'
""".splitlines()


def test_the_environment_has_the_last_word_and_a_section_for_installing_the_second() -> None:
    assert pip_secrets.read_settings(LISTED) == {
        "index-url": "https://user:secret@mirror.test/simple",
        "timeout": "180",
        "find-links": "/opt/wheels https://wheels.test",
    }


CASES: dict[str, tuple[dict[str, str], bool, str, list[str]]] = {
    "nothing to say": ({}, False, "", []),
    "certificates alone": ({}, True, "[global]\ncert = /run/secrets/ca\n", []),
    "a mirror": ({"index-url": "https://m.test"}, False, "[global]\nindex-url = https://m.test\n", []),
    "taste stays at home": ({"progress-bar": "off"}, False, "", []),
    "a place on this machine is no place in a build": (
        {"find-links": "/opt/wheels https://w.test", "extra-index-url": "file:///opt/simple"},
        False,
        "[global]\nfind-links = https://w.test\n",
        ["extra-index-url file:///opt/simple", "find-links /opt/wheels"],
    ),
}


@pytest.mark.parametrize("says", CASES)
def test_configuration(says: str) -> None:
    settings, has_ca, text, left_out = CASES[says]
    assert pip_secrets.to_config(settings, has_ca=has_ca) == (text, left_out)


def test_the_files_are_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ca = tmp_path / "bundle.pem"
    ca.write_text("certificates")
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("PIP_CERT", str(ca))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "planted.test")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    pip_secrets.main(out)
    assert (out / "ca").read_text() == "certificates"
    assert "trusted-host = planted.test\n" in (out / "pip").read_text()
    assert f"find-links {tmp_path}" in capfd.readouterr().err
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
