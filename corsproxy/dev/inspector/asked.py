"""What the page asks for, read from JSON that anybody could have written.

Here:  bodies with bounds, and the few values in them; what does not fit is answered 400 in words.
Never: acting on them.
"""

import json
from typing import Any

from aiohttp import web

from corsproxy.config.table import Table
from corsproxy.dev.inspector.gate import CHANGE_HEADER
from corsproxy.ops.admin_explain import BadQueryError
from corsproxy.ops.admin_explain import question_of as question_of_query
from corsproxy.proxy.explain import Question

__all__ = ["Body", "flag_in", "number_in", "question_in", "read_body", "text_in"]

_MOST_BYTES = 64 * 1024

Body = dict[str, Any]  # Any: JSON


async def read_body(request: web.Request) -> Body:
    """The JSON object that a page of ours sent. Raises HTTPForbidden and HTTPBadRequest."""
    if CHANGE_HEADER not in request.headers:
        raise web.HTTPForbidden(reason=f"only the inspector's own page may do this, with {CHANGE_HEADER}")
    if request.content_length is None or request.content_length > _MOST_BYTES:
        raise web.HTTPBadRequest(reason="the body is too long, or of unknown length")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(reason="the body is not JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is not a JSON object")
    return body


def number_in(body: Body, name: str) -> int:
    """A whole number. Raises HTTPBadRequest."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise web.HTTPBadRequest(reason=f"{name} is a number")
    return value


def text_in(body: Body, name: str) -> str:
    """Text; "" when it is not there. Raises HTTPBadRequest."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise web.HTTPBadRequest(reason=f"{name} is text")
    return value


def flag_in(body: Body, name: str) -> bool:
    """True or false; false when it is not there. Raises HTTPBadRequest."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise web.HTTPBadRequest(reason=f"{name} is true or false")
    return value


def question_in(body: Body, table: Table) -> Question:
    """The call that `question` describes, with the names that /-/explain takes. Raises HTTPBadRequest."""
    asked = body.get("question")
    if not isinstance(asked, dict):
        raise web.HTTPBadRequest(reason="question is an object")
    query = [
        (name, str(each).lower() if isinstance(each, bool) else str(each))
        for name, value in asked.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    try:
        return question_of_query(query, table)
    except BadQueryError as error:
        raise web.HTTPBadRequest(reason=str(error).partition("\n")[0]) from error
