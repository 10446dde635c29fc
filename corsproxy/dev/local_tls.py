"""A certificate for localhost that browsers of this machine trust: mkcert makes it, when it is there.

Here:  asking mkcert, where the files go, and what to do when it is missing.
Never: an authority of our own: a key that browsers trust is nothing to keep on the side.
"""

import shutil
import subprocess
from pathlib import Path

__all__ = ["NAMES", "LocalTlsError", "make_certificate"]

NAMES = ("localhost", "*.localhost", "127.0.0.1", "::1")

_SECONDS = 60.0

_HOW_TO = """\
--https needs a certificate that this machine's browsers trust, and mkcert makes those:
  1. install it:  brew install mkcert  |  apt install mkcert libnss3-tools  |  choco install mkcert
  2. once:        mkcert -install
  3. again:       corsproxy dev … --https"""


class LocalTlsError(Exception):
    """There is no certificate; the text says what to do."""


def make_certificate(folder: Path) -> tuple[str, str]:
    """Paths of a certificate for this machine's names and of its key, made anew. Raises LocalTlsError."""
    program = shutil.which("mkcert")
    if program is None:
        raise LocalTlsError(_HOW_TO)
    cert, key = folder / "localhost.pem", folder / "localhost-key.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = subprocess.run(  # noqa: S603 - found on the user's own PATH
            [program, "-cert-file", str(cert), "-key-file", str(key), *NAMES],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalTlsError(f"mkcert did not work: {error}") from error
    if made.returncode != 0:
        raise LocalTlsError(f"mkcert failed: {(made.stderr or made.stdout).strip()}")
    return str(cert), str(key)
