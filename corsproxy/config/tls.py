"""The `tls` blocks of the file: which files they name, and whether those can be used.

Here:  keys that belong together, and a look into each file, so that `check` finds what would fail at the
       start.
Never: the contexts that serve; they are made when the process starts, from the files as they are then.
"""

import ssl
from collections.abc import Callable, Mapping
from functools import partial

from corsproxy.config import model
from corsproxy.config.addresses import parse_host
from corsproxy.config.certificates import PemError, Role, load_authorities, load_pair, require_pem
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.problems import Path
from corsproxy.config.table import ListenTls, UpstreamTls
from corsproxy.config.words import quoted

__all__ = ["compile_listen_tls", "compile_upstream_tls"]


def compile_listen_tls(tls: model.ListenTls, path: Path, findings: Findings) -> ListenTls | None:
    """TLS towards clients; None when a part is missing, which is noted."""
    for key, value in (("cert", tls.cert), ("key", tls.key)):
        if not value:
            _missing(key, path, findings)
    if not tls.cert or not tls.key:
        return None
    compiled = ListenTls(tls.cert, tls.key, tls.client_ca or "")
    keys: Mapping[Role, str] = {"cert": "cert", "key": "key", "ca": "client_ca"}
    _try_files(compiled.cert, compiled.key, compiled.client_ca, keys, path, findings)
    return compiled


def compile_upstream_tls(
    tls: model.UpstreamTls, path: Path, findings: Findings, *, is_used: bool
) -> UpstreamTls:
    """TLS towards endpoints. is_used: one of them is `https`."""
    if not is_used and tls != model.UpstreamTls():
        says = "no endpoint is https, so this has no effect"
        findings.add(
            path,
            Mistake("unused-tls", says, "write https:// endpoints, or remove it", "warning"),
            on_key=True,
        )
    if bool(tls.cert) != bool(tls.key):
        _missing("key" if tls.cert else "cert", path, findings)
    if not tls.verify:
        says = "whoever sits between can pretend to be the upstream"
        remedy = "name its authority instead: ca: /path/to/ca.pem"
        findings.add((*path, "verify"), Mistake("unverified-upstream", says, remedy, "warning"))
    name = _name(tls.server_name, (*path, "server_name"), findings)
    compiled = UpstreamTls(tls.ca or "", tls.verify, name, tls.cert or "", tls.key or "")
    keys: Mapping[Role, str] = {"cert": "cert", "key": "key", "ca": "ca"}
    _try_files(compiled.cert, compiled.key, compiled.ca, keys, path, findings)
    return compiled


def _missing(key: str, path: Path, findings: Findings) -> None:
    says = Mistake(
        "missing-key",
        f"a certificate and its key go together: {key!r} is missing",
        f"{key}: /path/to/{key}.pem",
    )
    where = (*path, key)
    findings.add(where, says, on_parent=where not in findings.places)


def _try_files(
    cert: str, key: str, ca: str, keys: Mapping[Role, str], path: Path, findings: Findings
) -> None:
    """Load the files once. keys: what the block calls each of them."""
    files: tuple[tuple[Role, str], ...] = (("cert", cert), ("key", key), ("ca", ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    steps: list[Callable[[], object]] = [partial(require_pem, role, file) for role, file in files if file]
    steps += [partial(load_pair, context, cert, key)] if cert and key else []
    steps += [partial(load_authorities, context, ca)] if ca else []
    found: set[Role] = set()
    for step in steps:
        try:
            step()
        except PemError as error:
            if error.role not in found:  # a file is blamed once
                findings.add((*path, keys[error.role]), error.mistake)
            found.add(error.role)


def _name(name: str | None, path: Path, findings: Findings) -> str:
    """A host name or address to ask for; "" = the endpoint's."""
    if not name:
        return ""
    host = parse_host(name)
    if "/" in name:
        host = Mistake("bad-host", f"{quoted(name)} is no host name", "write the name alone: api.example.com")
    if isinstance(host, Mistake):
        findings.add(path, host)
        return ""
    return host
