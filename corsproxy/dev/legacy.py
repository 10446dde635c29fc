"""The API that nobody can change: it works, and it has never heard of CORS.

Here:  an aiohttp.web application as found behind many firewalls, and a journal of what reached it.
Never: a CORS field, but for the wrong ones that `/api/wrong-cors` sends on purpose; anything of the proxy.
"""

import asyncio
import hashlib
import json
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

__all__ = ["ITEM_COUNT", "PAGE_SIZE", "Journal", "Seen", "legacy_app"]

ITEM_COUNT = 42
PAGE_SIZE = 10
HIGHEST_ID = 999  # the shelf is finite: a demo left running must not grow
PIECES = 5
SESSION_SECONDS = 600  # the cookie stays behind in a visitor's browser, so not for long


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it reached the legacy API."""

    run: str  # the `run` parameter of the query: which experiment on the page asked; "" = none
    method: str
    path: str
    status: int
    cookie: bool  # did it carry any


@dataclass(frozen=True, slots=True)
class Journal:
    """What the legacy API saw, most recent last. What a script could not read may still have happened."""

    lines: deque[Seen] = field(default_factory=lambda: deque(maxlen=500))

    def of_run(self, run: str) -> list[Seen]:
        """What one experiment caused, in the order it arrived."""
        return [seen for seen in self.lines if seen.run == run]


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything that one running legacy API knows."""

    journal: Journal
    pause: float  # seconds between two pieces of `/api/slow`
    session: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    items: dict[int, str] = field(default_factory=lambda: {n: f"Item {n}" for n in range(1, ITEM_COUNT + 1)})


SHOP = web.AppKey("SHOP", Shop)


def legacy_app(journal: Journal, *, pause: float = 0.4) -> web.Application:
    """The application. OPTIONS has no handler anywhere: aiohttp answers 405, as legacy servers do."""
    app = web.Application()
    app.on_response_prepare.append(note_in_journal)
    app[SHOP] = Shop(journal, pause)
    app.add_routes(
        [
            web.get("/api/items", list_items),
            web.put(r"/api/items/{id:\d{1,3}}", put_item),
            web.delete(r"/api/items/{id:\d{1,3}}", delete_item),
            web.post("/api/login", log_in),
            web.get("/api/me", who_am_i),
            web.get("/api/slow", trickle),
            web.get("/api/broken", break_down),
            web.get("/api/wrong-cors", answer_with_wrong_cors),
        ]
    )
    return app


async def note_in_journal(request: web.Request, response: web.StreamResponse) -> None:
    """Write a request down once its answer is settled, which is before anybody can have seen the answer."""
    run = request.query.get("run", "")
    seen = Seen(run, request.method, request.path, response.status, bool(request.cookies))
    request.app[SHOP].journal.lines.append(seen)


async def list_items(request: web.Request) -> web.Response:
    items = sorted(request.app[SHOP].items.items())
    last = page_count(len(items))
    asked = request.query.get("page", "1")
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= last:
        return problem(400, f"page must be a number from 1 to {last}")
    page = int(asked)
    shown = items[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    body = json.dumps([{"id": number, "name": name} for number, name in shown])
    etag = hashlib.sha256(body.encode()).hexdigest()[:16]
    fields = {
        "X-Total-Count": str(len(items)),
        "Link": page_links(page, last),
        "ETag": f'"{etag}"',
        "X-Legacy-Node": "rack-7",  # nobody's business: the policy of the demo leaves it unexposed
    }
    if any(known.value in {etag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=fields)
    return web.Response(text=body, content_type="application/json", headers=fields)


def page_count(item_count: int) -> int:
    return max(1, -(-item_count // PAGE_SIZE))


def page_links(page: int, last: int) -> str:
    """The Link field (RFC 8288 §3) that leads from one page to its neighbours and to both ends."""
    targets = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    return ", ".join(
        f'</api/items?page={target}>; rel="{rel}"' for rel, target in targets.items() if 1 <= target <= last
    )


async def put_item(request: web.Request) -> web.Response:
    number = int(request.match_info["id"])
    if request.content_type != "application/json":
        return problem(415, "send application/json")
    try:
        document = await request.json()
    except ValueError:
        return problem(400, "the body is not JSON")
    name = document.get("name") if isinstance(document, Mapping) else None
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not 1 <= number <= HIGHEST_ID:
        return problem(422, f"an item has an id from 1 to {HIGHEST_ID} and a name of 1 to 200 characters")
    items = request.app[SHOP].items
    status = 200 if number in items else 201
    items[number] = name
    return web.json_response({"id": number, "name": name}, status=status)


async def delete_item(request: web.Request) -> web.Response:
    number = int(request.match_info["id"])
    if request.app[SHOP].items.pop(number, None) is None:
        return problem(404, f"there is no item {number}")
    return web.json_response({"deleted": number})


async def log_in(request: web.Request) -> web.Response:
    """Open a session for whoever asks. Two cookies, in two Set-Cookie lines that nobody may join."""
    response = web.json_response({"welcome": "Ada"})
    session = request.app[SHOP].session
    response.set_cookie("legacy_session", session, max_age=SESSION_SECONDS, httponly=True, samesite="Lax")
    response.set_cookie("legacy_theme", "paper", max_age=SESSION_SECONDS, samesite="Lax")
    return response


async def who_am_i(request: web.Request) -> web.Response:
    if not secrets.compare_digest(
        request.cookies.get("legacy_session", "").encode(), request.app[SHOP].session.encode()
    ):
        answer = problem(401, "log in first")
        answer.headers["WWW-Authenticate"] = 'Session realm="legacy"'  # a 401 must name one, RFC 9110 §15.5.2
        return answer
    return web.json_response({"name": "Ada", "theme": request.cookies.get("legacy_theme", "")})


async def trickle(request: web.Request) -> web.StreamResponse:
    """One line, a pause, the next line: a proxy that collects the body first shows nothing until the end."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for number in range(1, PIECES + 1):
        await response.write(json.dumps({"piece": number, "of": PIECES}).encode() + b"\n")
        await asyncio.sleep(request.app[SHOP].pause)
    await response.write_eof()
    return response


async def break_down(_request: web.Request) -> web.Response:
    return problem(500, "the nightly import holds the lock on ITEMS")


async def answer_with_wrong_cors(request: web.Request) -> web.Response:
    """CORS as somebody once pasted it, in one of the two ways that browsers meet most.

    `?kind=twice`: `*` from the framework and `*` from the web server; joined they are "*, *", which matches
    nobody (Fetch, #cors-check). `?kind=foreign`: the one origin that was right years ago.
    """
    response = web.json_response({"stock": 17})
    if request.query.get("kind") == "foreign":
        response.headers["Access-Control-Allow-Origin"] = "https://intranet.example.com"
    else:
        response.headers.add("Access-Control-Allow-Origin", "*")
        response.headers.add("Access-Control-Allow-Origin", "*")
    response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


def problem(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
