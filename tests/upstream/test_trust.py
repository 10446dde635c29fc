"""Whom upstreams' certificates are held against: the system's own store, where OpenSSL does not find it."""

import ssl
import sys
from types import ModuleType

import pytest

from corsproxy.config.table import UpstreamTls
from corsproxy.upstream import tls
from corsproxy.upstream.tls import _system_context, client_tls


class Asking(ssl.SSLContext):
    """Stands where the context of truststore stands."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("truststore")
    module.SSLContext = Asking  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "truststore", module)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
@pytest.mark.usefixtures("store")
def test_elsewhere_the_system_is_asked(platform: str) -> None:
    assert isinstance(_system_context(platform), Asking)


@pytest.mark.usefixtures("store")
def test_on_linux_openssl_finds_it() -> None:
    assert type(_system_context("linux")) is ssl.SSLContext


def test_without_truststore_openssl_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "truststore", None)
    found = _system_context("darwin")
    assert type(found) is ssl.SSLContext
    assert (found.verify_mode, found.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_an_authority_that_is_named_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_system_context", lambda: pytest.fail("the system was asked"))
    assert client_tls(UpstreamTls(verify=False)).context.verify_mode is ssl.CERT_NONE
