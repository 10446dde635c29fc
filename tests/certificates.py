"""Certificates for tests: an authority of our own, and its files."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from corsproxy.config.table import Address
from tests.wire import Behaviour, Upstream, Wire


@dataclass(frozen=True)
class Files:
    """Paths of a chain with its key, and of the authority that signed it."""

    cert: str
    key: str
    ca: str


def files_of(authority: trustme.CA, folder: Path, *names: str, prefix: str = "") -> Files:
    """Issue a certificate for these names (127.0.0.1 and localhost by default) and write it."""
    files = Files(*(str(folder / f"{prefix}{name}.pem") for name in ("cert", "key", "ca")))
    issue(authority, files, *names)
    return files


def issue(authority: trustme.CA, files: Files, *names: str) -> None:
    """Write a certificate over the one in the files."""
    leaf = authority.issue_cert(*(names or ("127.0.0.1", "::1", "localhost")), key_type=trustme.KeyType.ECDSA)
    Path(files.cert).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.ca)


def server_context(files: Files, *, client_ca: str = "") -> ssl.SSLContext:
    """For a server that shows the certificate, and requires one of `client_ca`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def client_context(files: Files, *, show: Files | None = None) -> ssl.SSLContext:
    """For a client that trusts the authority of the files, and shows the certificate of others."""
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if show is not None:
        context.load_cert_chain(show.cert, show.key)
    return context


@contextlib.asynccontextmanager
async def tls_upstream(behaviour: Behaviour, context: ssl.SSLContext) -> AsyncIterator[Upstream]:
    """Run an upstream that speaks TLS on a free port."""
    server = Upstream(behaviour)
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
    assert not server.errors, server.errors


async def dial_tls(address: Address, context: ssl.SSLContext, name: str = "localhost") -> Wire:
    """Connect to the proxy over TLS."""
    return Wire(*await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name))
