"""The admin listener: what it says, and to whom it says nothing."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from corsproxy.config.table import Address, AdminListener
from corsproxy.ops.admin import Admin
from corsproxy.ops.metrics import Readings, Snapshot
from corsproxy.ops.plane import Reload
from corsproxy.ops.server import ListenError
from tests.ops.exchanges import EVIL, exchange
from tests.ops.planes import TEXT, TOKEN, FakePlane, admin
from tests.wire import dial, get

PAGES = ["/-/config", "/-/explain", "/-/healthy", "/-/origins", "/-/ready", "/-/reload", "/metrics"]
CALL = "/-/explain?path=/api&origin=https://app.example.com"
UP = Readings(processes=1, endpoints={("legacy", "http://a"): (1, 1), ("legacy", "http://b"): (0, 1)})
DOWN = Readings(processes=1, endpoints={("legacy", "http://a"): (0, 1), ("legacy", "http://b"): (0, 1)})


@dataclass(frozen=True)
class Case:
    says: str
    path: str
    status: int
    method: str = "GET"
    fields: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)


WITH_TOKEN = {"token": TOKEN}
GUARDED = [
    Case("an address as Host", "/-/healthy", 200, fields={"Host": "10.1.2.3:8081"}),
    Case("an IPv6 address as Host", "/-/healthy", 200, fields={"Host": "[fe80::1]:8081"}),
    Case("localhost", "/-/healthy", 200, fields={"Host": "LocalHost:8081"}),
    Case("a name that nobody expects", "/-/healthy", 421, fields={"Host": "rebound.example:8081"}),
    Case(
        "a name that only begins like an address", "/metrics", 421, fields={"Host": "10.1.2.3.evil.example"}
    ),
    Case("no Host to speak of", "/-/healthy", 421, fields={"Host": ""}),
    Case(
        "a name of `hosts`",
        "/-/healthy",
        200,
        fields={"Host": "proxy.monitoring:8081"},
        settings={"hosts": ("proxy.monitoring",)},
    ),
    Case("a page of another site", "/metrics", 403, fields={"Sec-Fetch-Site": "cross-site"}),
    Case("a page on another port of this host", "/metrics", 403, fields={"Sec-Fetch-Site": "same-site"}),
    Case("a page of its own", "/metrics", 200, fields={"Sec-Fetch-Site": "same-origin"}),
    Case("the address bar", "/metrics", 200, fields={"Sec-Fetch-Site": "none"}),
    Case("a form of another origin", "/-/reload", 403, "POST", {"Origin": "https://evil.example"}),
    Case("a sandboxed form", "/-/reload", 403, "POST", {"Origin": "null"}),
    Case(
        "a form of its own", "/-/reload", 200, "POST", {"Origin": "http://localhost:1", "Host": "localhost:1"}
    ),
    Case("another port is another origin", "/-/reload", 403, "POST", {"Origin": "http://127.0.0.1:1"}),
    Case("a program", "/-/reload", 200, "POST"),
    Case("reload changes something, so GET is refused", "/-/reload", 405),
    Case("nothing there", "/nothing", 404),
    Case("the token is asked for", "/metrics", 401, settings=WITH_TOKEN),
    Case("but not of probes", "/-/ready", 200, settings=WITH_TOKEN),
    Case(
        "nor does it open what is refused anyway",
        "/-/healthy",
        421,
        fields={"Host": "x"},
        settings=WITH_TOKEN,
    ),
    Case("also for what is not there", "/nothing", 401, settings=WITH_TOKEN),
    Case("the token", "/metrics", 200, fields={"Authorization": f"bearer {TOKEN}"}, settings=WITH_TOKEN),
    Case("a wrong one", "/metrics", 401, fields={"Authorization": f"Bearer {TOKEN}x"}, settings=WITH_TOKEN),
    Case("another scheme", "/metrics", 401, fields={"Authorization": f"Basic {TOKEN}"}, settings=WITH_TOKEN),
    Case("no text at all", "/metrics", 401, fields={"Authorization": "Bearer \xff\xfe"}, settings=WITH_TOKEN),
]


@pytest.mark.parametrize("case", GUARDED, ids=lambda case: case.says)
async def test_who_may_ask(case: Case) -> None:
    async with admin(FakePlane(), **case.settings) as front:
        answer = await front.ask(case.path, case.method, **case.fields)
    assert answer.status == case.status
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == (
        "no-store",
        "nosniff",
    )
    assert answer.headers["Server"] == "corsproxy"
    if case.status >= 400:
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert json.loads(answer.text)["status"] == case.status


async def test_a_refusal_says_how_to_do_better() -> None:
    async with admin(FakePlane(), token=TOKEN) as front:
        refused = await front.ask("/metrics")
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="corsproxy"'
        assert TOKEN not in refused.text
        lost = await front.ask("/nothing", Authorization=f"Bearer {TOKEN}")
        assert json.loads(lost.text)["paths"] == PAGES
        wrong = await front.ask("/-/reload", Authorization=f"Bearer {TOKEN}")
        assert wrong.headers["Allow"] == "POST"


UNREADABLE = [
    ("a control character in a value", "Authorization: Bearer {token}\x01"),
    ("a space before the colon", "Authorization : Bearer {token}"),
    ("a line that is no field", "Bearer {token}"),
    ("a line of 9 KB", "X-Long: {token}" + "x" * 9000),
    ("a body whose framing is broken", "Transfer-Encoding: chunked\r\n\r\n{token}"),
]


@pytest.mark.parametrize("line", [row[1] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
async def test_what_cannot_be_read_shows_up_in_no_log_and_no_answer(
    line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be the very line that holds the token; and anybody who reaches the port can send it."""
    async with admin(FakePlane(), token=TOKEN) as front:
        wire = await dial(front.listener.address)
        await wire.send(get("/metrics", line.format(token=TOKEN), host="localhost"))
        answer = await wire.message()
        await wire.close()
    assert answer.status in {400, 401}
    assert TOKEN not in f"{answer}"
    assert (answer.one("Cache-Control"), answer.one("Server")) == ("no-store", "corsproxy")
    assert (answer.one("Content-Type") or "").startswith("application/problem+json")
    assert caplog.records == []


async def test_a_mistake_of_ours_is_in_the_log_and_not_in_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(FakePlane):
        async def snapshot(self) -> Snapshot:
            raise ZeroDivisionError("ours")

    async with admin(Broken()) as front:
        answer = await front.ask("/metrics", Accept="text/html")
    assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
    assert json.loads(answer.text)["detail"] == "internal error; the log says more"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.getMessage() == "the admin listener could not answer /metrics"


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_of_another_origin_reads_or_changes_anything(path: str) -> None:
    plane = FakePlane()
    async with admin(plane) as front:
        for method in ("GET", "POST", "OPTIONS"):
            origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
            assert (await front.ask(path, method, **origin)).status == 403
    assert plane.reloads == 0


# Health


async def test_ready_and_what_it_reports() -> None:
    plane = FakePlane()
    plane.readings = UP
    async with admin(plane) as front:
        answer = await front.ask("/-/ready")
    assert json.loads(answer.text) == {
        "ready": True,
        "draining": False,
        "config": {"version": "0123456789ab", "loaded_at": 1_800_000_000.0},
        "upstreams": {"legacy": True},
    }


READY = [
    ("it serves", False, UP, {}, 200),
    ("it drains", True, UP, {}, 503),
    ("all endpoints are out, which is reported only", False, DOWN, {}, 200),
    ("unless the file says that it counts", False, DOWN, {"ready_needs_upstream": True}, 503),
    ("one endpoint is enough", False, UP, {"ready_needs_upstream": True}, 200),
]


@pytest.mark.parametrize(
    ("says", "draining", "readings", "settings", "status"), READY, ids=[row[0] for row in READY]
)
async def test_ready(
    says: str, draining: bool, readings: Readings, settings: dict[str, object], status: int
) -> None:
    plane = FakePlane()
    plane.readings = readings
    plane.state = replace(plane.state, draining=draining)
    async with admin(plane, **settings) as front:
        assert (await front.ask("/-/ready")).status == status
        assert (await front.ask("/-/healthy")).status == 200


async def test_without_the_token_ready_names_no_upstream() -> None:
    plane = FakePlane()
    plane.readings = UP
    async with admin(plane, token=TOKEN) as front:
        assert "upstreams" not in json.loads((await front.ask("/-/ready")).text)
        shown = await front.ask("/-/ready", Authorization=f"Bearer {TOKEN}")
        assert json.loads(shown.text)["upstreams"] == {"legacy": True}


class StuckPlane(FakePlane):
    """One of its workers does not answer."""

    async def snapshot(self) -> Snapshot:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize(("needs", "status"), [(False, 200), (True, 503)])
async def test_a_worker_that_does_not_answer_holds_no_probe_up(needs: bool, status: int) -> None:
    async with admin(StuckPlane(), ready_needs_upstream=needs) as front, asyncio.timeout(5):
        answer = await front.ask("/-/ready")
        assert (answer.status, json.loads(answer.text)["upstreams"]) == (status, None)
        assert (await front.ask("/-/healthy")).status == 200


# Metrics and origins


async def test_metrics() -> None:
    plane = FakePlane()
    plane.meter.record(exchange(EVIL), 100.0)
    async with admin(plane) as front:
        answer = await front.ask("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'corsproxy_requests_total{code="200",method="GET",route="api"} 1.0' in answer.text
        assert EVIL.decode() not in answer.text
        newer = await front.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert newer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        for accept in ("text/plain;version=abc", "application/openmetrics-text; version=abc", "\xff;q=x"):
            odd = await front.ask("/metrics", Accept=accept)
            assert (odd.status, odd.headers["Content-Type"]) == (200, answer.headers["Content-Type"])


async def test_refused_origins() -> None:
    plane = FakePlane()
    plane.meter.record(exchange(EVIL), 100.0)
    async with admin(plane) as front:
        (denied,) = json.loads((await front.ask("/-/origins")).text)["denied"]
    del denied["last_seen"]
    assert denied == {
        "origin": "https://evil.example",
        "count": 1,
        "uncertain": 0,
        "outcome": "denied",
        "reason": "origin-not-allowed",
        "detail": "https://evil.example",
        "route": "api",
    }


# Configuration


async def test_the_effective_configuration_without_secrets() -> None:
    async with admin(FakePlane()) as front:
        answer = await front.ask("/-/config")
        as_json = await front.ask("/-/config", Accept="application/json")
        by_query = await front.ask("/-/config?format=json")
        by_query_again = await front.ask("/-/config?format=yaml", Accept="application/json")
    assert answer.headers["Content-Type"] == "application/yaml; charset=utf-8"
    document = yaml.safe_load(answer.text)
    assert document == json.loads(as_json.text) == json.loads(by_query.text)
    assert by_query_again.text == answer.text
    assert document["routes"][0]["cors"]["allow_methods"] == ["GET", "PUT"]
    assert document["timeouts"]["connect"] == "5s"  # a default
    assert document["routes"][0]["request_headers"]["set"]["X-Env"] == "${ENVIRONMENT_OF_TEST:-prod}"
    for secret in ("planted-key", "sixteen-letters-secret"):
        assert secret in TEXT
        assert secret not in answer.text + as_json.text


async def test_reload() -> None:
    plane = FakePlane()
    plane.next_reload = Reload(ok=True, at=5.0, problems=("warning",), needs_restart=("listen",))
    async with admin(plane) as front:
        answer = await front.ask("/-/reload", "POST")
    assert (answer.status, plane.reloads) == (200, 1)
    assert json.loads(answer.text) == {
        "ok": True,
        "at": 5.0,
        "problems": ["warning"],
        "needs_restart": ["listen"],
        "version": "0123456789ab",
    }


async def test_a_reload_that_fails_says_why() -> None:
    plane = FakePlane()
    plane.next_reload = Reload(ok=False, at=5.0, problems=("corsproxy.yaml:9:5: unknown key",))
    async with admin(plane) as front:
        answer = await front.ask("/-/reload", "POST")
    assert answer.status == 422
    body = json.loads(answer.text)
    assert (body["problems"], body["version"]) == (["corsproxy.yaml:9:5: unknown key"], "0123456789ab")


# Explain


EXPLAINED = [
    ("an allowed call", CALL, True, "allowed"),
    ("another origin", "/-/explain?path=/&origin=https://evil.example", False, "origin-not-allowed"),
    ("a method", CALL + "&method=DELETE", False, "method-not-allowed"),
    ("names of headers", CALL + "&headers=x-id,,%20accept", False, "header-not-allowed"),
    ("a header whose value is safelisted", CALL + "&header=Content-Type:%20text/plain", True, "allowed"),
    ("one whose value is not", CALL + "&header=Content-Type:application/json", False, "header-not-allowed"),
    ("credentials", CALL + "&credentials=true", False, "credentials-not-allowed"),
    ("no credentials", CALL + "&credentials=omit", True, "allowed"),
    ("a Host", CALL + "&host=api.example.com", True, "allowed"),
]


@pytest.mark.parametrize(("says", "path", "allowed", "reason"), EXPLAINED, ids=[row[0] for row in EXPLAINED])
async def test_explain(says: str, path: str, allowed: bool, reason: str) -> None:
    async with admin(FakePlane()) as front:
        answer = await front.ask(path)
    body = json.loads(answer.text)
    assert (answer.status, body["allowed"], body["reason"]) == (200, allowed, reason)


NO_QUESTION = [
    ("nothing", "/-/explain", "origin is missing"),
    ("no path", "/-/explain?origin=https://a.example", "path is missing"),
    ("no absolute path", "/-/explain?origin=https://a.example&path=api", "path is no path"),
    ("a key of another name", CALL + "&metod=PUT", "'metod' is not known here"),
    ("a key twice", CALL + "&path=/b", "path stands there twice"),
    ("no method", CALL + "&method=a%20b", "'a b' is no method"),
    ("no host", CALL + "&host=h:99999", "host is no host and port"),
    ("no header name", CALL + "&headers=a%20b", "'a b' is no header name"),
    ("a header without value", CALL + "&header=X-Id", "header is written like"),
    ("a line break in a value", CALL + "&header=X-Id:%0d%0ax", None),
    ("a line break within", CALL + "&header=X-Id:a%0ab", "header value is not printable ASCII"),
    ("not ASCII", "/-/explain?path=/caf%C3%A9&origin=https://a.example", "path is not printable ASCII"),
    ("neither true nor false", CALL + "&credentials=perhaps", "credentials is true or false"),
]


@pytest.mark.parametrize(("says", "path", "detail"), NO_QUESTION, ids=[row[0] for row in NO_QUESTION])
async def test_what_is_no_question(says: str, path: str, detail: str | None) -> None:
    async with admin(FakePlane()) as front:
        answer = await front.ask(path)
    if detail is None:  # surrounding blanks are no part of a value
        assert answer.status == 200
    else:
        assert answer.status == 400
        assert detail in json.loads(answer.text)["detail"]


# The listener


async def test_more_pages_can_be_mounted_and_admitted_by_a_proof_of_their_own() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="mounted")

    listener = Admin(AdminListener(Address("127.0.0.1", 0), token=TOKEN), FakePlane())
    listener.mount(
        lambda app: app.add_routes([web.get("/-/", page)]),
        lambda request: request.cookies.get("seen") == "yes",
    )
    await listener.start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://{listener.address}/-/"
            async with (
                session.get(url) as refused,
                session.get(url, headers={"Cookie": "seen=yes"}) as let_in,
            ):
                assert (refused.status, let_in.status) == (401, 200)
            foreign = {"Cookie": "seen=yes", "Origin": "https://evil.example"}
            async with session.get(url, headers=foreign) as refused:
                assert refused.status == 403
    finally:
        await listener.stop()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listener = Admin(AdminListener(Address(path=str(path))), FakePlane())
    await listener.start()
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get("http://whatever/-/healthy") as answer,
        ):
            assert answer.status == 200
    finally:
        await listener.stop()
    assert not path.exists()


async def test_an_address_in_use_is_said() -> None:
    async with admin(FakePlane()) as front:
        second = Admin(AdminListener(front.listener.address), FakePlane())
        with pytest.raises(
            ListenError, match=r"cannot listen on 127\.0\.0\.1:\d+ \(admin\): address already in"
        ):
            await second.start()
        await second.stop()
