"""TLS towards upstreams.

Here:  the context for `https` endpoints: whom to trust, which name to check, which certificate to show.
Never: TLS towards clients (ops.certificates).
"""

import asyncio
import contextlib
import importlib
import ssl
import sys
from dataclasses import dataclass

from corsproxy.config.certificates import load_authorities, load_pair, pem_digest
from corsproxy.config.table import UpstreamTls

__all__ = ["ClientTls", "client_tls", "files_digest", "said_goodbye", "tls_objection"]


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How to speak TLS with the endpoints of an upstream."""

    context: ssl.SSLContext
    server_name: str = ""  # asked for and checked; "" = the endpoint's host


def client_tls(settings: UpstreamTls) -> ClientTls:
    """A context for these settings: TLS 1.2 and later, HTTP/1.1 only (ALPN, RFC 7301). Raises PemError."""
    context = _system_context() if settings.verify and not settings.ca else _bare_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca:
        load_authorities(context, settings.ca)
    if settings.cert:
        load_pair(context, settings.cert, settings.key)
    return ClientTls(context, settings.server_name)


def _bare_context() -> ssl.SSLContext:
    """Verifies certificate and name, and trusts nobody yet."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _system_context(platform: str = sys.platform) -> ssl.SSLContext:
    """Trusts whom the system trusts: also the authority that a company has put there.

    On Linux OpenSSL finds these by itself. Elsewhere the system keeps them in a store of its own, which
    truststore asks, where it is installed.
    """
    if platform != "linux":
        with contextlib.suppress(ImportError):
            store = importlib.import_module("truststore")
            asking: ssl.SSLContext = store.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return asking
    context = _bare_context()
    context.load_default_certs()
    return context


def files_digest(settings: UpstreamTls) -> bytes:
    """Changes with the content of the files that the settings name, and when one cannot be read any more."""
    return pem_digest((("ca", settings.ca), ("cert", settings.cert), ("key", settings.key)))


def tls_objection(error: ssl.SSLError) -> str:
    """What was wrong with the certificate, or with the handshake, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason: str | None = getattr(error, "reason", None)  # absent where Python made the error itself
    return reason.replace("_", " ").lower() if reason else "handshake failed"


def said_goodbye(transport: asyncio.Transport) -> bool:
    """True when a stream that ended did so as its protocol wants it; asked in `eof_received`.

    TLS has a closing alert. Without it somebody on the way may have cut the stream, and a body that ends
    with it is incomplete (RFC 9112 §9.8). Asking to read one byte more tells the two apart.
    """
    stream: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if stream is None:
        return True
    try:
        return stream.read(1) == b""
    except ssl.SSLError:
        return False
