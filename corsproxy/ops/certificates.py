"""TLS towards clients: the listener's certificate, renewed while it serves, and handshakes that fail.

Here:  the context of the listener, and a look at the files now and then. A new pair is loaded whole into a
       context of its own before any handshake sees it; connections that are open keep what they have. Why a
       handshake failed: nobody else would say so, since there is no request yet.
Never: what is wrong with a file (config.certificates), TLS towards upstreams.
"""

import asyncio
import gc
import logging
import ssl
import time
from collections.abc import Callable

from corsproxy.config.certificates import PemError, load_authorities, load_pair, pem_digest
from corsproxy.config.table import ListenTls
from corsproxy.upstream.tls import tls_objection

__all__ = ["Handshakes", "ListenerCertificate"]

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_COLLECT_SECONDS = 1.0  # it takes some milliseconds
_SILENT_SECONDS = 60.0  # between two lines on the same objection: anybody can fail, and often

_ADVICE = {
    "http request": "a client speaks plain HTTP: https:// is spoken here",
    "unsupported protocol": "a client offers TLS 1.1 at most: 1.2 is the least here",
    "tlsv1 alert unknown ca": "a client does not trust the certificate's authority",
    "sslv3 alert bad certificate": "a client does not accept the certificate",
}


class ListenerCertificate:
    """The listener's side of each handshake. `context` is for the listener; it stays the same object."""

    def __init__(self, files: ListenTls) -> None:
        """Load the files. Raises PemError."""
        self._files = files
        self._timer: asyncio.TimerHandle | None = None
        self._digest = _digest(files)
        self._current = _context(files)
        self.context = _context(files)
        self.context.sni_callback = self._show_current
        self.handshakes = Handshakes()
        self.context.sslobject_class = _watched_by(self.handshakes)

    def _show_current(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL calls this in each handshake, with or without a name asked for."""
        handshake.context = self._current

    def watch(self, seconds: float = _POLL_SECONDS) -> None:
        """Look at the files every so many seconds, until `close`.

        By content: the files of a mounted secret are symbolic links whose target changes.
        """
        self._timer = asyncio.get_running_loop().call_later(seconds, self._tick, seconds)

    def _tick(self, seconds: float) -> None:
        try:
            self.refresh()
        except Exception:  # noqa: BLE001 - else no later certificate would ever be taken up
            _log.exception("internal error; the listener keeps its certificate")
        self.watch(seconds)

    def refresh(self) -> None:
        """Load the files again if they changed; ones that cannot be used leave the old in use, and are named
        once.
        """
        digest = _digest(self._files)
        if digest == self._digest:
            return
        self._digest = digest
        try:
            self._current = _context(self._files)
        except PemError as error:
            _log.error("the listener keeps its certificate: %s", error)
        else:
            _log.info("the listener's certificate was renewed from %s", self._files.cert)

    def use(self, files: ListenTls) -> None:
        """Show the certificate of these files from now on. Raises PemError: then the old one stays."""
        if files != self._files:
            digest = _digest(files)  # of what is loaded, or of what it was before: never of what came after
            self._current = _context(files)
            self._files, self._digest = files, digest

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Handshakes:
    """Those under way: how many, whether there may be more, and why some failed."""

    def __init__(self) -> None:
        self.has_room: Callable[[int], bool] = lambda _: True  # for so many more connections
        self._under_way = 0
        self._collects_at = 0.0  # not before
        self._silent_until: dict[str, float] = {}  # by objection: OpenSSL has some hundreds
        self._left_out: dict[str, int] = {}

    def begin(self) -> None:
        """A client wants one. Raises SSLError when there are too many: each holds a descriptor."""
        if not self.has_room(self._under_way + 1):
            self._count_anew()
        if not self.has_room(self._under_way + 1):
            error = ssl.SSLError(ssl.SSL_ERROR_SSL, "too many connections")
            error.reason = "TOO_MANY_CONNECTIONS"
            raise error
        self._under_way += 1

    def _count_anew(self) -> None:
        """Those that a client broke off may wait for the collector of garbage, by the way of asyncio."""
        now = time.monotonic()
        if now >= self._collects_at:
            self._collects_at = now + _COLLECT_SECONDS
            gc.collect()

    def end(self) -> None:
        """One is over, however."""
        self._under_way -= 1

    def note(self, error: ssl.SSLError) -> None:
        """One failed: tell of each kind once in a while."""
        objection = tls_objection(error)
        now = time.monotonic()
        if now < self._silent_until.get(objection, 0.0):
            self._left_out[objection] = self._left_out.get(objection, 0) + 1
            return
        self._silent_until[objection] = now + _SILENT_SECONDS
        others = self._left_out.pop(objection, 0)
        advice = f" ({_ADVICE[objection]})" if objection in _ADVICE else ""
        since = f"; {others} more since this was said last" if others else ""
        _log.info("a TLS handshake failed: %s%s%s", objection, advice, since)


def _watched_by(handshakes: Handshakes) -> type[ssl.SSLObject]:
    """A server's side of TLS that hands over how its handshake went: event loops do not say.

    They drop it with the connection, so one that is cut in the middle is over when its object is.
    """

    class WatchedSSLObject(ssl.SSLObject):
        is_under_way = False

        def do_handshake(self) -> None:
            try:
                if not self.is_under_way:
                    handshakes.begin()
                    self.is_under_way = True
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                self._end()
                handshakes.note(error)
                raise
            self._end()

        def _end(self) -> None:
            if self.is_under_way:
                self.is_under_way = False
                handshakes.end()

        __del__ = _end

    return WatchedSSLObject


def _context(files: ListenTls) -> ssl.SSLContext:
    """TLS 1.2 and later with OpenSSL's own choice of ciphers, HTTP/1.1 only (ALPN, RFC 7301)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, files.cert, files.key)
    if files.client_ca:
        # Asked for, not required: a preflight never carries one (Fetch, #cors-preflight-fetch). One that does
        # not verify ends the handshake.
        context.verify_mode = ssl.CERT_OPTIONAL
        load_authorities(context, files.client_ca)
    return context


def _digest(files: ListenTls) -> bytes:
    return pem_digest((("cert", files.cert), ("key", files.key), ("ca", files.client_ca)))
