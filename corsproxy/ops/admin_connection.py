"""One connection to the admin listener: what cannot be read as a request, and what breaks in an answer.

Here:  these two as answers like all others (RFC 9457), and what the log may know of them.
Never: requests that can be read, pages, who may ask.
"""

import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from corsproxy.ops.admin_guard import problem

__all__ = ["FIELDS", "AdminConnection"]

_log = logging.getLogger(__name__)

FIELDS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    # Nothing that stands here is for other people's pages, not even as an image or a script.
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Server": "corsproxy",  # else aiohttp tells its version and Python's
}
"""What every answer carries."""

# Both quote what they could not read, and that may be the line with the token.
_OF_THE_CLIENT = (HttpProcessingError, web.RequestPayloadError)


class AdminConnection(RequestHandler):
    """As aiohttp serves it, but for errors: aiohttp shows the client's bytes in log and answer."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what ended in an exception. message: aiohttp's, which quotes the request."""
        del message
        self.log_exception("the admin listener could not answer %s", request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is out")  # the connection is cut: it must not look whole
        answer = problem(status, _says(status, exc))
        answer.headers.update(FIELDS)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **more: Any) -> None:  # Any: those of `logging`
        """A mistake of ours is an error, with its traceback; one of the client is neither."""
        error = more.get("exc_info")
        if isinstance(error, _OF_THE_CLIENT):
            _log.debug("the admin listener cannot read a request: %s", type(error).__name__)
        else:
            super().log_exception(*args, **more)


def _says(status: int, error: BaseException | None) -> str:
    if isinstance(error, LineTooLong):
        return "a line of this request is too long"
    if isinstance(error, _OF_THE_CLIENT) or status == 400:
        return "this cannot be read as a request of HTTP"
    return "internal error; the log says more"
