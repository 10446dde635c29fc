"""No secret is printed: a whole run with planted ones, and a search through all that comes out of it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from corsproxy.config.table import Address
from tests.ops.otlp import collector
from tests.wire import Upstream, Wire, ask, dial, get, ok, upstream

PATIENCE = 20.0
APP, EVIL = "Origin: https://app.example.com", "Origin: https://evil.example"

SECRETS = {
    name: f"s3cret-{name}-0xC0FFEE"
    for name in (
        "cookie",
        "authorization",
        "proxy-authorization",
        "query",
        "referrer-query",
        "request-body",
        "response-body",
        "set-cookie",
        "api-key",
        "admin-token",
        "wrong-token",
        "userinfo",
        "collector-header",
        "collector-userinfo",
        "pem",
        "folded",
    )
}


def config(port: int, form: str, workers: int) -> str:
    return f"""\
listen: 127.0.0.1:0
admin: {{address: "127.0.0.1:0", token: "${{ADMIN_TOKEN}}"}}
workers: {workers}
log: {{format: {form}, level: debug}}
drain: {{timeout: 5s}}
upstreams: {{legacy: {{endpoints: ["http://127.0.0.1:{port}"]}}}}
routes:
  - {{name: dead, match: {{path: /dead}}, upstream: "http://127.0.0.1:1", cors: off}}
  - name: api
    match: {{path: /api}}
    upstream: legacy
    request_headers: {{set: {{X-Api-Key: "${{API_KEY}}"}}}}
    cors: {{allow_origins: [https://app.example.com], allow_credentials: true, on_denied: block}}
"""


# What a hand may write into the file, each an error: found when it is read again.
MISTAKES = {
    "a value with a control character": (
        'X-Api-Key: "${API_KEY}"',
        'X-Api-Key: "${API_KEY}\\x01"',
    ),
    "a password in the URL of an upstream": (
        'upstream: "http://127.0.0.1:1"',
        f'upstream: "http://me:{SECRETS["userinfo"]}@127.0.0.1:1"',
    ),
    "a password in an origin": (
        "[https://app.example.com]",
        f"[https://me:{SECRETS['userinfo']}@app.example.com]",
    ),
    "a key that is none, with a secret": ("token:", "tokne:"),
    "a token that is no string": ('token: "${ADMIN_TOKEN}"', 'token: ["${ADMIN_TOKEN}"]'),
    "a secret where a number belongs": ("timeout: 5s", 'timeout: "${API_KEY}"'),
    "a secret where a word of a list belongs": ("on_denied: block", 'on_denied: "${API_KEY}"'),
    "a secret where an address belongs": ("listen: 127.0.0.1:0", 'listen: "${API_KEY}"'),
    "a secret where a path belongs": ("path: /dead", 'path: "${API_KEY}"'),
    "a secret where a name belongs": ("upstream: legacy", 'upstream: "${API_KEY}"'),
    "a password where a host belongs": ("path: /dead", f'hosts: ["me:{SECRETS["userinfo"]}@x"]'),
    "a default that is not closed": ('"${API_KEY}"', f'"${{KEY:-{SECRETS["api-key"]}"'),
    "a key that is no PEM": (
        "listen: 127.0.0.1:0",
        "listen: {address: 127.0.0.1:0, tls: {cert: FOLDER/bad.pem, key: FOLDER/bad.pem}}",
    ),
    "no YAML, on the line of a secret": (
        'X-Api-Key: "${API_KEY}"',
        f'X-Api-Key: "{SECRETS["api-key"]}',
    ),
}


@dataclass
class Run:
    """A `corsproxy run`, and all that was seen of it."""

    process: Process
    seen: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        stream = self.process.stderr
        assert stream is not None
        async for line in stream:
            async with self.changed:
                self.seen.append(line.decode())
                self.changed.notify_all()

    async def port(self, says: str) -> int:
        """The port at the end of what a line of the log says."""
        pattern = re.compile(says + r"\S*?:(\d+)\b")
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: any(map(pattern.search, self.seen)))
        return next(int(found[1]) for found in map(pattern.search, self.seen) if found)


@contextlib.asynccontextmanager
async def running(file: Path, env: dict[str, str]) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "corsproxy", "run", "-c", str(file), stdout=PIPE, stderr=PIPE, env=env
    )
    run = Run(process)
    reading = asyncio.create_task(run.read())
    try:
        yield run
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
            await reading
        assert process.stdout is not None
        run.seen.append((await process.stdout.read()).decode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


async def legacy(server: Upstream, wire: Wire) -> None:
    while True:
        await server.request(wire)
        cookie = f"Set-Cookie: session={SECRETS['set-cookie']}; Path=/"
        await wire.send(ok(SECRETS["response-body"].encode(), cookie))


async def exchange_everything(address: Address, run: Run) -> None:
    """Requests of every fate, each with every secret. What the proxy itself answers is kept."""
    lines = (
        f"Cookie: session={SECRETS['cookie']}",
        f"Authorization: Bearer {SECRETS['authorization']}",
        f"Proxy-Authorization: Basic {SECRETS['proxy-authorization']}",
        f"Referer: https://app.example.com/?token={SECRETS['referrer-query']}",
    )
    query = f"?token={SECRETS['query']}"
    body = SECRETS["request-body"].encode()
    length = f"Content-Length: {len(body)}"
    asks = ("Access-Control-Request-Method: DELETE", *lines)
    passed = await ask(address, get(f"/api{query}", APP, *lines))
    assert passed.body.decode() == SECRETS["response-body"]
    await ask(address, get(f"/api{query}", *lines, length, method="POST") + body)
    answered = [
        get(f"/api{query}", EVIL, *lines),
        get(f"/api{query}", EVIL, *lines, length, method="POST") + body,
        get(f"/api{query}", APP, *asks, method="OPTIONS"),
        get(f"/api{query}", EVIL, *asks, method="OPTIONS"),
        get(f"/dead{query}", APP, *lines),
        get(f"/none{query}", APP, *lines),
        get(f"/api{query}", *lines, "Transfer-Encoding: gzip", method="POST"),
        get(f"/api{query}#{SECRETS['query']}", *lines),
        get(f"/api{query}", *lines, f"Bad Name: {SECRETS['folded']}"),
        get(f"http://me:{SECRETS['userinfo']}@proxy.test/api{query}", *lines),
        get(f"/api{query}", *lines, host=f"me:{SECRETS['userinfo']}@proxy.test"),
        get(f"/api{query}", *lines, f" folded: {SECRETS['folded']}"),
        get(f"/api{query}", *lines, f"X: {'x' * 40_000}"),
        get("/api", *lines, f"X-Request-Id: {SECRETS['folded']} "[:-1] + '"'),
    ]
    for request in answered[:-1]:
        message = await ask(address, request)
        assert message.status >= 400, request
        run.seen.append(f"{message.first_line} {message.fields} {message.body.decode()}")
    await ask(address, answered[-1])
    wire = await dial(address)  # a client that leaves in the middle
    await wire.send(get(f"/api{query}", *lines, "Content-Length: 99", method="POST") + body)
    await wire.close()


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


async def ask_the_admin(port: int, file: Path, run: Run) -> None:
    """Every page, with the token and without; then the file is broken in every way, and read again."""
    base = f"http://127.0.0.1:{port}"
    token = {"Authorization": f"Bearer {SECRETS['admin-token']}"}
    wrong = {"Authorization": f"Bearer {SECRETS['wrong-token']}"}
    good = read(file)
    async with aiohttp.ClientSession() as session:

        async def page(path: str, headers: dict[str, str], method: str = "GET") -> int:
            async with session.request(method, base + path, headers=headers) as response:
                run.seen.append(f"{response.headers} {await response.text()}")
                return response.status

        paths = ("/metrics", "/-/config", "/-/config?format=json", "/-/origins", "/-/healthy", "/-/ready")
        for path in (*paths, "/-/explain?path=/api&origin=https://evil.example"):
            assert await page(path, token) == 200, path
            await page(path, wrong)
            await page(path, {})
        for says, (written, instead) in MISTAKES.items():
            assert written in good, says
            write(file, good.replace(written, instead.replace("FOLDER", str(file.parent))))
            assert await page("/-/reload", token, "POST") == 422, says
            await page("/-/ready", token)
            await page("/-/config", token)
        write(file, good + "# again\n")
        assert await page("/-/reload", token, "POST") == 200
        await page("/-/config", token)


@pytest.mark.parametrize(
    ("form", "workers"),
    [("json", 1), ("pretty", 1), ("combined", 2)],
    ids=["json", "pretty", "combined, workers"],
)
async def test_nothing_that_is_printed_holds_a_secret(form: str, workers: int, tmp_path: Path) -> None:
    file = tmp_path / "corsproxy.yaml"
    damaged = f"-----BEGIN PRIVATE KEY-----\n{SECRETS['pem']}\n-----END PRIVATE KEY-----\n"
    write(tmp_path / "bad.pem", damaged)
    async with upstream(legacy) as server, collector() as taken:
        write(file, config(server.port, form, workers))
        env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | {
            "ADMIN_TOKEN": SECRETS["admin-token"],
            "API_KEY": SECRETS["api-key"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": taken.endpoint.replace(
                "//", f"//me:{SECRETS['collector-userinfo']}@"
            ),
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {SECRETS['collector-header']}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with running(file, env) as run:
            front = await run.port("listens on ")
            address = Address("127.0.0.1", front)
            await exchange_everything(address, run)
            await ask_the_admin(await run.port("admin on "), file, run)
        # The upstream did get them, so they were there to be printed.
        assert {request.one("X-Api-Key") for request in server.requests} == {SECRETS["api-key"]}
        assert len({span.resource["service.instance.id"] for span in taken.spans}) in range(1, workers + 1)
        assert any(span.attributes.get("url.path") == "/api" for span in taken.spans)
        printed = "".join(run.seen)
        assert "https://evil.example" in printed
        assert "is refused: origin-not-allowed" in printed
        found = {
            name: [line for line in run.seen if secret in line]
            for name, secret in SECRETS.items()
            if secret in printed
        }
        assert not found
        assert not [
            name for name, secret in SECRETS.items() for body in taken.bodies if secret.encode() in body
        ]
