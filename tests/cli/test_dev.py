"""`corsproxy dev` as a process: a remote API over TLS, used from a page on this machine."""

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession, web
from click.testing import CliRunner

from corsproxy.cli.main import cli
from corsproxy.config.compile import load_table
from corsproxy.dev.places import port_of, take_port
from tests.certificates import Files, client_context, files_of, server_context, tls_upstream
from tests.wire import answers, ok, upstream

PATIENCE_SECONDS = 60
PAGE = {"Origin": "http://localhost:5173"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return files_of(trustme.CA(), tmp_path_factory.mktemp("authority"))


class Command:
    """A run of the command, and where it is."""

    def __init__(self, process: Process, proxy: str, inspector: str, heard: str) -> None:
        self.process = process
        self.heard = heard  # until it had said both
        self.proxy = proxy
        self.inspector = inspector

    async def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, and what was written to standard output and standard error since the start."""
        self.process.send_signal(number)
        out, err = await self.process.communicate()
        return self.process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def started(tmp_path: Path, *arguments: str) -> AsyncIterator[Command]:
    """The command as a process of its own, once it has said where it is."""
    # PYTHONUNBUFFERED, or a pipe would hold back what it says first.
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}
    async with asyncio.timeout(PATIENCE_SECONDS):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "corsproxy", "dev", "--port", "0", *arguments),
            stdout=PIPE,
            stderr=PIPE,
            env=env,
        )
        try:
            stream = process.stderr if "--json" in arguments else process.stdout
            heard, places = "", re.compile(r"Proxy +(\S+).*Inspector +(\S+)", re.DOTALL)
            while (found := places.search(heard)) is None:
                line = await stream.readline()  # type: ignore[union-attr]  # a pipe was asked for
                assert line, f"it ended: {heard}{(await process.communicate())[1].decode()}"
                heard += line.decode()
            yield Command(process, found[1], found[2], heard)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@asynccontextmanager
async def api(files: Files) -> AsyncIterator[tuple[str, list[web.BaseRequest]]]:
    """A remote API over TLS that knows nothing of CORS: a login, a session, a redirect, a WebSocket."""
    seen: list[web.BaseRequest] = []

    async def login(request: web.Request) -> web.Response:
        assert await request.json() == {"user": "ada"}
        response = web.json_response({"ok": True})
        response.headers.add("Set-Cookie", "sid=1; Domain=api.example.com; Path=/v1; Secure; SameSite=None")
        return response

    async def me(request: web.Request) -> web.Response:
        return web.json_response({"cookies": dict(request.cookies), "origin": request.headers.get("Origin")})

    async def old(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"https://{request.host}/v1/me")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        async for message in talk:
            await talk.send_str(f"heard {message.data}")
        return talk

    @web.middleware
    async def note(request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:  # type: ignore[type-arg]
        seen.append(request)
        return await handler(request)  # type: ignore[operator]

    app = web.Application(middlewares=[note])  # type: ignore[list-item]
    app.router.add_post("/v1/login", login)
    app.router.add_get("/v1/me", me)
    app.router.add_get("/v1/old", old)
    app.router.add_get("/v1/socket", socket)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(files))
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


async def test_a_login_over_tls_from_a_page_on_this_machine(tmp_path: Path, files: Files) -> None:
    async with (
        api(files) as (url, seen),
        started(tmp_path, f"{url}/v1", "--ca", files.ca, "--json") as command,
        ClientSession(headers=PAGE) as page,
    ):
        answer = await page.post(f"{command.proxy}/login", json={"user": "ada"})
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Set-Cookie"] == "sid=1; Path=/; SameSite=Lax"
        # As a browser sends it: this cookie, and one that another program has set for localhost.
        me = await page.get(f"{command.proxy}/me", headers={"Cookie": "sid=1; other=2"})
        assert await me.json() == {"cookies": {"sid": "1"}, "origin": url}
        moved = await page.get(f"{command.proxy}/old", allow_redirects=False)
        assert moved.headers["Location"] == f"{command.proxy}/me"
        async with page.ws_connect(f"{command.proxy}/socket") as talk:
            await talk.send_str("hello")
            assert await talk.receive_str() == "heard hello"
        async with ClientSession() as visitor:
            assert (await visitor.get(command.inspector)).status == 200
        code, out, err = await command.end()
    assert code == 0
    entries = [json.loads(line) for line in out.splitlines()]
    assert {(entry["path"], entry["status"]) for entry in entries} == {
        ("/login", 200),
        ("/me", 200),
        ("/old", 302),
        ("/socket", 101),
    }
    assert "4 exchanges seen; `corsproxy init --from-dev`" in err
    assert {request.headers["Host"] for request in seen} == {url.removeprefix("https://")}

    # What it saw becomes a policy, and the session outlives the run.
    target = tmp_path / "corsproxy.yaml"
    result = CliRunner(env={"XDG_STATE_HOME": str(tmp_path / "state")}).invoke(
        cli, ["init", "--from-dev", str(target)]
    )
    assert result.exit_code == 0, result.output
    table, problems = load_table(target.read_text(encoding="utf-8"), "f", {})
    assert problems == []
    assert table is not None
    assert table.policies[0].credentials
    shown = CliRunner(env={"XDG_STATE_HOME": str(tmp_path / "state")}).invoke(
        cli, [f"{url}/v1", "--print-config"]
    )
    assert 'forward_names: ["sid"]' in shown.output


async def test_an_authority_that_nobody_knows_is_explained(tmp_path: Path, files: Files) -> None:
    async with (
        tls_upstream(answers(ok()), server_context(files)) as remote,
        started(tmp_path, f"https://localhost:{remote.port}") as command,
        ClientSession(headers=PAGE) as page,
    ):
        answer = await page.get(f"{command.proxy}/x")
        assert (answer.status, (await answer.json())["reason"]) == (502, "tls-error")
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
        code, _, err = await command.end()
    assert code == 0
    assert "--ca FILE names the authority to trust" in err


async def test_insecure_is_said_and_works(tmp_path: Path, files: Files) -> None:
    async with (
        tls_upstream(answers(ok()), server_context(files)) as remote,
        started(tmp_path, f"https://localhost:{remote.port}", "--insecure") as command,
        ClientSession(headers=PAGE) as page,
    ):
        assert (await page.get(f"{command.proxy}/x")).status == 200
        code, out, _ = await command.end(signal.SIGHUP)  # the terminal was closed
    assert code == 0
    assert "--insecure: whoever sits between can pretend to be the API" in out


async def test_an_api_that_is_down_at_the_start(tmp_path: Path) -> None:
    with take_port(22000) as taken:
        port = port_of(taken)
    async with started(tmp_path, f":{port}") as command:
        heard = b""
        while b"is the API running?" not in heard:
            line = await command.process.stderr.readline()  # type: ignore[union-attr]
            assert line, heard
            heard += line
        assert f"http://localhost:{port}: The upstream refused the connection".encode() in heard
        code, _, _ = await command.end(signal.SIGTERM)
    assert code == 0


async def test_a_port_that_was_asked_for_and_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with take_port(22500) as taken:
        port = port_of(taken)
        async with started(tmp_path, ":1", "--port", str(port)) as command:
            _, out, _ = await command.end()
    assert re.search(rf"^ +{port} is taken, so \d+$", command.heard + out, re.MULTILINE)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
async def test_production_decides_the_exit_code_when_that_is_asked_for(
    tmp_path: Path, files: Files, strict: tuple[str, ...], code: int
) -> None:
    production = tmp_path / "production.yaml"
    production.write_text(
        "routes:\n  - upstream: http://127.0.0.1:9000\n    cors: {allow_origins: [https://app.example.com]}\n",
        encoding="utf-8",
    )
    asked = ("--as", str(production), "--as-origin", "https://app.example.com", *strict)
    async with (
        tls_upstream(answers(ok()), server_context(files)) as remote,
        started(tmp_path, f"https://localhost:{remote.port}", "--ca", files.ca, *asked) as command,
        ClientSession(headers=PAGE) as page,
    ):
        assert (await page.get(f"{command.proxy}/x")).status == 200
        assert (await page.get(f"{command.proxy}/x", headers={"Cookie": "sid=1"})).status == 200
        found, out, err = await command.end()
    assert found == code
    assert f"Judged by  {production}, as https://app.example.com that calls 127.0.0.1:8080" in out
    assert "1 of 2 calls of scripts would fail in production:" in err
    assert (
        f"GET /x: the call fails with credentials-not-allowed: https://app.example.com ({production}:3)"
        in err
    )


async def test_a_run_that_judged_nothing_does_not_look_like_success(tmp_path: Path) -> None:
    production = tmp_path / "production.yaml"
    production.write_text("routes: [{upstream: 'http://127.0.0.1:9000', cors: off}]\n", encoding="utf-8")
    asked = ("--as", str(production), "--as-origin", "https://app.example.com", "--strict")
    async with started(tmp_path, ":1", *asked) as command:
        code, _, err = await command.end()
    assert code == 1
    assert "no call of a script was judged" in err


async def test_who_reads_only_the_first_line_does_not_end_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)  # as `| head -1` does, sooner or later
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    async with asyncio.timeout(PATIENCE_SECONDS), upstream(answers(ok())) as api:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "corsproxy", "dev", f":{api.port}", "--port", "0"),
            *("--origin", "https://shop.test"),  # there is something to say on standard error once it serves
            stdout=write,
            stderr=PIPE,
            env=env,
        )
        os.close(write)
        try:
            assert b"https://shop.test is no page of this machine" in await process.stderr.readline()  # type: ignore[union-attr]
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    assert err.decode().endswith("Ending; Ctrl-C again ends at once.\n")


async def test_https_with_what_mkcert_makes(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mkcert"
    program.write_text(f"#!/bin/sh\ncp {files.cert} $2\ncp {files.key} $4\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    async with (
        tls_upstream(
            answers(ok(b"", "Set-Cookie: sid=1; Secure; SameSite=None")), server_context(files)
        ) as remote,
        started(tmp_path, f"https://localhost:{remote.port}", "--ca", files.ca, "--https") as command,
        ClientSession(headers=PAGE) as page,
    ):
        assert command.proxy.startswith("https://localhost:")
        context: ssl.SSLContext = client_context(files)
        answer = await page.get(f"{command.proxy}/x", ssl=context)
        assert answer.headers["Set-Cookie"] == "sid=1; Secure; SameSite=None"
        code, _, _ = await command.end()
    assert code == 0


# Usage


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["dev"], 2, "name the API"),
        (["dev", "api.example.com"], 2, "write https://api.example.com"),
        (["dev", ":1", "--route", "auth"], 2, "is no route"),
        (["dev", ":1", "--quiet", "--json"], 2, "give one of --quiet and --json"),
        (["dev", ":1", "--strict"], 2, "go with --as FILE"),
        (["dev", ":1", "--as", "x.yaml"], 2, "--as needs --as-origin"),
        (["dev", ":1", "--as", "missing.yaml", "--as-origin", "https://a.test"], 78, "cannot read"),
        (
            ["dev", ":1", "--as", "x.yaml", "--as-origin", "app.example.com"],
            2,
            "different origins: write https://app.example.com",
        ),
        (["dev", ":1", "--as", "x.yaml", "--as-origin", "*"], 2, "name one origin"),
        (["dev", ":1", "--as", "x.yaml", "--as-origin", "null"], 2, "name one origin"),
        (["dev", ":1", "--origin", "null"], 2, "serve the page"),
        (["dev", ":1", "--origin", "*"], 2, "name the origins"),
        (["dev", ":5000x"], 2, "write :5000"),
        (["dev", ":1", "--save", "taken.yaml"], 1, "exists already"),
        (["dev", ":1", "--origin", "https://a.test/x"], 1, "write https://a.test"),
        (["dev", ":1", "--port", "70000"], 2, "70000"),
        (["nonsense"], 2, "no such verb"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.yaml").touch()
    result = CliRunner(env={"XDG_STATE_HOME": str(tmp_path)}).invoke(cli, arguments)
    assert says in result.output
    assert result.exit_code == code


def test_a_url_alone_means_dev(tmp_path: Path) -> None:
    runner = CliRunner(env={"XDG_STATE_HOME": str(tmp_path)})
    short = runner.invoke(
        cli, ["https://api.example.com", "--print-config", "--origin", "https://shop.test/"]
    )
    long = runner.invoke(
        cli, ["dev", "https://api.example.com", "--print-config", "--origin", "https://shop.test"]
    )
    assert short.output == long.output
    for address in (":5000", "localhost:5000"):
        result = runner.invoke(cli, [address, "--print-config"])
        assert 'endpoints: ["http://localhost:5000"]' in result.output
    assert 'endpoints: ["https://api.example.com"]' in short.output


def test_init_from_dev_without_a_run(tmp_path: Path) -> None:
    runner = CliRunner(env={"XDG_STATE_HOME": str(tmp_path)})
    result = runner.invoke(cli, ["init", "--from-dev", str(tmp_path / "corsproxy.yaml")])
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "no run of `corsproxy dev`" in result.output
