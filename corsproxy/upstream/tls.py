"""TLS towards upstreams.

Here:  the context for `https` endpoints: the system's trust store, names checked, TLS 1.2 and later.
Never: TLS towards clients.
"""

import ssl

__all__ = ["client_context"]


def client_context() -> ssl.SSLContext:
    """A context that verifies the upstream's certificate and name, and offers HTTP/1.1 only (ALPN)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
