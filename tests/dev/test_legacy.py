"""The legacy API of the demo: it works, and it knows nothing of CORS."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp.test_utils import TestClient, TestServer

from corsproxy.dev.legacy import ITEM_COUNT, PIECES, Journal, Seen, legacy_app

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
async def api(journal: Journal) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(legacy_app(journal, pause=0))) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Case:
    says: str
    method: str
    path: str
    status: int
    answer: object = None  # None = not looked at
    body: bytes = b""
    content_type: str = "application/json"


CASES = [
    Case(
        "an item can be renamed", "PUT", "/api/items/7", 200, {"id": 7, "name": "Lamp"}, b'{"name": "Lamp"}'
    ),
    Case(
        "an unknown item is made",
        "PUT",
        "/api/items/43",
        201,
        {"id": 43, "name": "Lamp"},
        b'{"name": "Lamp"}',
    ),
    Case("an item can go", "DELETE", "/api/items/7", 200, {"deleted": 7}),
    Case("what is not there cannot go", "DELETE", "/api/items/900", 404, {"error": "there is no item 900"}),
    Case("a form is not JSON", "PUT", "/api/items/7", 415, body=b"name=Lamp", content_type="text/plain"),
    Case("half a document is not JSON", "PUT", "/api/items/7", 400, body=b'{"name"'),
    Case("bytes outside UTF-8 are not JSON", "PUT", "/api/items/7", 400, body=b'{"name": "\xff"}'),
    Case("a list is no item", "PUT", "/api/items/7", 422, body=b'["Lamp"]'),
    Case("a name has letters", "PUT", "/api/items/7", 422, body=b'{"name": ""}'),
    Case("there is no item 0", "PUT", "/api/items/0", 422, body=b'{"name": "Lamp"}'),
    Case("the shelf ends at 999", "PUT", "/api/items/1000", 404, body=b'{"name": "Lamp"}'),
    Case(
        "there is no page 0", "GET", "/api/items?page=0", 400, {"error": "page must be a number from 1 to 5"}
    ),
    Case("there is no page 6", "GET", "/api/items?page=6", 400),
    Case("a page is a number", "GET", "/api/items?page=two", 400),
    Case("a page is a number in ASCII", "GET", "/api/items?page=%C2%B2", 400),
    Case(
        "it breaks, and says why",
        "GET",
        "/api/broken",
        500,
        {"error": "the nightly import holds the lock on ITEMS"},
    ),
    Case("nobody is logged in", "GET", "/api/me", 401, {"error": "log in first"}),
    Case("OPTIONS is not allowed on items", "OPTIONS", "/api/items", 405),
    Case("OPTIONS is not allowed on one item", "OPTIONS", "/api/items/7", 405),
    Case("OPTIONS is not allowed on the login", "OPTIONS", "/api/login", 405),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_answers(api: TestClient, case: Case) -> None:
    headers = {"Content-Type": case.content_type} if case.body else {}
    response = await api.request(case.method, case.path, data=case.body or None, headers=headers)
    assert response.status == case.status
    assert case.answer is None or await response.json() == case.answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_no_answer_has_a_cors_field(api: TestClient, case: Case) -> None:
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    response = await api.request(case.method, case.path, headers=headers)
    assert [name for name in response.headers if name.lower().startswith("access-control")] == []


@dataclass(frozen=True, slots=True)
class PageCase:
    says: str
    page: str
    ids: range
    rels: list[str]


PAGES = [
    PageCase("without a page it is the first", "", range(1, 11), ["first", "next", "last"]),
    PageCase(
        "a page in the middle has both neighbours",
        "?page=2",
        range(11, 21),
        ["first", "prev", "next", "last"],
    ),
    PageCase("the last page is shorter", "?page=5", range(41, 43), ["first", "prev", "last"]),
]


@pytest.mark.parametrize("case", PAGES, ids=lambda case: case.says)
async def test_pages(api: TestClient, case: PageCase) -> None:
    response = await api.get(f"/api/items{case.page}")
    assert [item["id"] for item in await response.json()] == list(case.ids)
    assert response.headers["X-Total-Count"] == str(ITEM_COUNT)
    assert list(response.links) == case.rels
    assert response.links["last"]["url"].path_qs == "/api/items?page=5"


async def test_a_known_page_is_not_sent_again(api: TestClient) -> None:
    first = await api.get("/api/items")
    again = await api.get("/api/items", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_a_changed_page_is_sent_again(api: TestClient) -> None:
    first = await api.get("/api/items")
    await api.put("/api/items/1", json={"name": "Lamp"})
    again = await api.get("/api/items", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 200


async def test_whoever_logged_in_is_known_by_a_cookie(api: TestClient) -> None:
    login = await api.post("/api/login")
    assert [line.split("=")[0] for line in login.headers.getall("Set-Cookie")] == [
        "legacy_session",
        "legacy_theme",
    ]
    cookies = {name: morsel.value for name, morsel in login.cookies.items()}
    me = await api.get("/api/me", headers={"Cookie": "; ".join(f"{n}={v}" for n, v in cookies.items())})
    assert (me.status, await me.json()) == (200, {"name": "Ada", "theme": "paper"})


async def test_a_made_up_session_is_nobody(api: TestClient) -> None:
    response = await api.get("/api/me", headers={"Cookie": "legacy_session=guess"})
    assert response.status == 401


async def test_the_slow_answer_comes_in_pieces(journal: Journal) -> None:
    """The pause is far longer than the test: the first piece is there while the second is not due."""
    async with TestClient(TestServer(legacy_app(journal, pause=3600))) as client:
        response = await client.get("/api/slow")
        assert await response.content.readline() == b'{"piece": 1, "of": 5}\n'
        response.close()


async def test_the_slow_answer_ends(api: TestClient) -> None:
    response = await api.get("/api/slow")
    assert len((await response.text()).splitlines()) == PIECES


@pytest.mark.parametrize(
    ("kind", "origins"),
    [
        pytest.param("twice", ["*", "*"], id="the wildcard from two hands"),
        pytest.param("foreign", ["https://intranet.example.com"], id="an origin of long ago"),
    ],
)
async def test_wrong_cors(api: TestClient, kind: str, origins: list[str]) -> None:
    response = await api.get(f"/api/wrong-cors?kind={kind}")
    assert response.headers.getall("Access-Control-Allow-Origin") == origins
    assert response.headers["Access-Control-Allow-Credentials"] == "true"


async def test_the_journal_knows_what_one_run_did(api: TestClient, journal: Journal) -> None:
    await asyncio.gather(api.get("/api/items?run=other"), api.get("/api/me"))
    await api.options("/api/items/7?run=mine")
    await api.get("/api/me?run=mine", headers={"Cookie": "a=b"})
    await api.get("/nowhere?run=mine")
    assert journal.of_run("mine") == [
        Seen("mine", "OPTIONS", "/api/items/7", 405, cookie=False),
        Seen("mine", "GET", "/api/me", 401, cookie=True),
        Seen("mine", "GET", "/nowhere", 404, cookie=False),
    ]


def test_the_journal_forgets() -> None:
    journal = Journal()
    for number in range(10_000):
        journal.lines.append(Seen(str(number), "GET", "/", 200, cookie=False))
    assert len(journal.lines) == 500
    assert journal.of_run("0") == []
