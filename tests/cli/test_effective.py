"""`check --effective`: the file written out on standard output, what is wrong with it on standard error."""

from pathlib import Path

from click.testing import CliRunner

from corsproxy.cli.main import cli
from corsproxy.config.effective import effective_yaml

TEXT = """\
admin: {address: 127.0.0.1:8081, token: abcdefghijklmnop}
origins: {unused: [https://b.test]}
routes:
  - upstream: http://127.0.0.1:9000
    cors: {allow_origins: [https://a.test], expose_headers: ["@ratelimit"]}
"""


def test_the_document_is_alone_on_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "corsproxy.yaml"
    file.write_text(TEXT, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "--effective", str(file)])
    assert result.exit_code == 0
    assert result.stdout == effective_yaml(TEXT, str(file), {})
    assert "RateLimit-Reset" in result.stdout
    assert "abcdefghijklmnop" not in result.output
    assert "no policy uses this group" in result.stderr


def test_a_file_with_errors_has_none(tmp_path: Path) -> None:
    file = tmp_path / "corsproxy.yaml"
    file.write_text("routes: []\n", encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "--effective", str(file)])
    assert result.exit_code == 78
    assert "there are no routes" in result.stdout
