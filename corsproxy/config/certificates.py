"""The PEM files that a configuration names, loaded into a TLS context.

Here:  certificate chains with their keys, and authorities; what is wrong with a file, said for a person.
       `check` uses it to look at the files, the process to serve with them.
Never: what a context is for, handshakes, when a file is read again.
"""

import hashlib
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from corsproxy.config.findings import Mistake
from corsproxy.config.words import quoted

__all__ = ["PemError", "Role", "load_authorities", "load_pair", "pem_digest", "read_pem", "require_pem"]

Role = Literal["cert", "key", "ca"]

# Far above any chain; below what it would cost to read a device or a log by mistake.
_LARGEST = 4 * 1024 * 1024


class PemError(Exception):
    """A file cannot be used.

    role: which of the files it is.
    mistake: what is wrong with it, and the remedy.
    """

    def __init__(self, role: Role, code: str, says: str, remedy: str) -> None:
        super().__init__(says)
        self.role: Role = role
        self.mistake = Mistake(code, says, remedy)


def load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Let a context show this certificate chain. Raises PemError."""
    require_pem("cert", cert)
    require_pem("key", key)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except _EncryptedError:
        remedy = "write one without, readable by corsproxy alone"
        raise PemError("key", "bad-certificate", f"{quoted(key)} needs a password", remedy) from None
    except ssl.SSLError as error:
        raise _pair_error(error, cert, key) from error
    except OSError as error:  # it vanished since it was read
        raise _unreadable("cert", cert, error) from error


def pem_digest(files: Iterable[tuple[Role, str]]) -> bytes:
    """Changes with the content of the files, and when one cannot be read any more; "" = no file."""
    digest = hashlib.sha256()
    for role, path in files:
        try:
            content = read_pem(role, path) if path else b""
        except PemError as error:
            content = str(error).encode()
        digest.update(b"%d:%b" % (len(content), content))
    return digest.digest()


def load_authorities(context: ssl.SSLContext, ca: str) -> None:
    """Let a context trust these authorities beside those it trusts already. Raises PemError."""
    pem = require_pem("ca", ca)
    try:
        context.load_verify_locations(cadata=_text(pem))
    except ssl.SSLError as error:
        raise PemError("ca", "bad-certificate", _no_pem(ca), _PEM_REMEDY) from error


def read_pem(role: Role, path: str) -> bytes:
    """What is in the file. Raises PemError.

    Only regular files: a pipe could block, and a device has no end.
    """
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise PemError(
                role, "file-unreadable", f"{quoted(path)} is no file", "write the path of a PEM file"
            )
        if status.st_size > _LARGEST:
            says = f"{quoted(path)} is too large for a PEM file"
            raise PemError(role, "file-unreadable", says, "write the path of a PEM file")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(role, path, error) from error


def require_pem(role: Role, path: str) -> bytes:
    """The content of a file that has the look of what its role needs. Raises PemError."""
    mark, what = (
        (b"PRIVATE KEY-----", "private key") if role == "key" else (b"CERTIFICATE-----", "certificate")
    )
    pem = read_pem(role, path)
    if mark not in pem:
        says = f"{quoted(path)} holds no {what}"
        raise PemError(role, "bad-certificate", says, f"write a PEM file with a {what}")
    return pem


def _unreadable(role: Role, path: str, error: Exception) -> PemError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    remedy = "a relative path starts where corsproxy is started"
    remedy = remedy if not path.startswith("/") else "check the path and who may read it"
    return PemError(role, "file-unreadable", f"cannot read {quoted(path)}: {reason.lower()}", remedy)


def _pair_error(error: ssl.SSLError, cert: str, key: str) -> PemError:
    """Which of the two is to blame: OpenSSL does not say."""
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        says = f"{quoted(key)} is not the key of the first certificate in {quoted(cert)}"
        return PemError("key", "certificate-mismatch", says, "write the two that were issued together")
    try:
        scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        scratch.load_verify_locations(cadata=_text(read_pem("cert", cert)))
    except ssl.SSLError:
        return PemError("cert", "bad-certificate", _no_pem(cert), _PEM_REMEDY)
    return PemError("key", "bad-certificate", _no_pem(key), _PEM_REMEDY)


_PEM_REMEDY = "write the file anew; BEGIN and END lines are not enough"


def _no_pem(path: str) -> str:
    return f"{quoted(path)} is damaged"


def _text(pem: bytes) -> str:
    """As ssl wants it: what is no ASCII stands between the blocks, or breaks one."""
    return pem.decode("ascii", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")


class _EncryptedError(Exception):
    """A password was asked for."""


def _no_password() -> str:
    """Refuse, where OpenSSL would ask at the terminal."""
    raise _EncryptedError
