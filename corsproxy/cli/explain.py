"""`corsproxy explain`: what becomes of a call, by a configuration file, without sending anything.

Here:  which call, which form, which exit code.
Never: finding out (`proxy.explain`), the words of the lines (`explain_text`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from corsproxy.cli.explain_text import as_line, as_text
from corsproxy.cli.har import HarError, read_har
from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.cli.table import table_or_exit
from corsproxy.config.search import STDIN
from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.fields import is_token
from corsproxy.cors.pasted import Pasted, read_pasted
from corsproxy.http.authority import is_authority
from corsproxy.proxy.explain import Explanation, Question
from corsproxy.proxy.explain import explain as explain_call
from corsproxy.proxy.explained import Json, as_json, authority_of, curl_commands
from corsproxy.proxy.routing import Router

__all__ = ["explain"]

_HOST_FORM = "write it like api.example.com or api.example.com:8080"
_MOST_HAR_BYTES = 256 * 1024 * 1024

Headers = tuple[tuple[bytes, bytes | None], ...]


class _HeaderNames(click.ParamType[Headers]):
    """Names with a comma between them."""

    name = "names"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Headers:
        if isinstance(value, tuple):  # converted already: click does that to defaults
            return value
        names = [name.strip() for name in str(value).split(",")]
        return tuple((_token(self, name, "header name", param, ctx), None) for name in names if name)


class _Header(click.ParamType[tuple[bytes, bytes]]):
    """`Name: value`, as curl has it."""

    name = "header"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[bytes, bytes]:
        name, colon, content = str(value).partition(":")
        if not colon:
            self.fail("write it like 'Content-Type: application/json'", param, ctx)
        field = _token(self, name.strip(), "header name", param, ctx)
        return field, _wire(self, content.strip(), "header value", param, ctx)


class _Method(click.ParamType[bytes]):
    """A method, with case."""

    name = "method"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        return value if isinstance(value, bytes) else _token(self, str(value), "method", param, ctx)


class _Target(click.ParamType[bytes]):
    """A path, with its query or without."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        target = _wire(self, str(value), "path", param, ctx)
        if not target.startswith(b"/") or b" " in target or b"#" in target:
            self.fail(f"{value!r} is no path: write it like /api/items?page=2", param, ctx)
        return target


class _Wire(click.ParamType[bytes]):
    """What stands in a field of a request."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        return _wire(self, str(value), "field value", param, ctx)


class _Host(click.ParamType[bytes]):
    """What stands in a Host field: the proxy answers any other with 400, before it looks for a route."""

    name = "host"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        host = _wire(self, str(value), "host", param, ctx)
        if not is_authority(host):
            self.fail(f"{value!r} is no host and port, so the proxy answers 400: {_HOST_FORM}", param, ctx)
        return host


def _wire(
    kind: click.ParamType[bytes] | _Header,
    text: str,
    noun: str,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> bytes:
    if not text.isascii() or not text.isprintable():
        kind.fail(f"{text!r} is no {noun}: it is not printable ASCII", param, ctx)
    return text.encode("ascii")


def _token(
    kind: click.ParamType[bytes] | _Header | _HeaderNames,
    text: str,
    noun: str,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> bytes:
    name = text.encode("utf-8", "replace")
    if not is_token(name):
        kind.fail(f"{text!r} is no {noun}", param, ctx)
    return name


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options that describe a call."""

    path: bytes | None
    origin: bytes | None
    method: bytes | None
    headers: Headers
    credentials: bool
    host: bytes | None


@click.command(context_settings=HELP_OPTIONS)
@click.option("--path", type=_Target(), metavar="PATH", help="Path of the call, with its query or without.")
@click.option("--origin", type=_Wire(), metavar="ORIGIN", help="Origin of the page: https://app.example.com")
@click.option("--method", type=_Method(), metavar="METHOD", help="Method of the call.  [default: GET]")
@click.option(
    "--headers",
    type=_HeaderNames(),
    default="",
    metavar="A,B",
    help="Names of the headers that the script sets.",
)
@click.option(
    "-H",
    "--header",
    "with_values",
    type=_Header(),
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header with its value, which decides whether it is safelisted. May be repeated.",
)
@click.option("--credentials", is_flag=True, help='The call has credentials: "include", or withCredentials.')
@click.option("--host", type=_Host(), metavar="HOST", help="Host that is asked.  [default: the listener]")
@click.option("-c", "--config", metavar="FILE", help="The configuration file; - reads standard input.")
@click.option(
    "--har", metavar="FILE", help="Judge every cross-origin call of a HAR file; - reads standard input."
)
@click.option(
    "--error", "pasted_text", metavar="TEXT", help="Explain a message of the console; - reads standard input."
)
@click.option("--json", "wants_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--curl", "wants_curl", is_flag=True, help="Print the commands that send this call, nothing else."
)
@click.pass_context
def explain(
    ctx: click.Context,
    path: bytes | None,
    origin: bytes | None,
    method: bytes | None,
    headers: Headers,
    with_values: tuple[tuple[bytes, bytes], ...],
    credentials: bool,
    host: bytes | None,
    config: str | None,
    har: str | None,
    pasted_text: str | None,
    wants_json: bool,
    wants_curl: bool,
) -> None:
    """Say what becomes of a call of a script: route, rule, each step of the browser, and how to allow it.

    Nothing is sent. Exit with 0 when the call is allowed, 1 when it is not, 78 when the file has errors.
    """
    asked = _Asked(path, origin, method, (*headers, *with_values), credentials, host)
    _check_usage(asked, har, pasted_text, config, wants_json=wants_json, wants_curl=wants_curl)
    table = table_or_exit(ctx, config)
    if har is not None:
        ctx.exit(_explain_har(table, har, asked, wants_json=wants_json))
    pasted = None if pasted_text is None else _pasted(pasted_text)
    found = explain_call(table, _question(table, asked, pasted))
    if wants_curl:
        click.echo("\n".join(curl_commands(found, table.listen)))
    elif wants_json:
        click.echo(json.dumps({**as_json(found), **_pasted_json(pasted)}, indent=2))
    else:
        click.echo(f"{_pasted_text(pasted, found)}{as_text(found)}", nl=False)
    ctx.exit(0 if found.allowed else 1)


def _check_usage(
    asked: _Asked,
    har: str | None,
    pasted: str | None,
    config: str | None,
    *,
    wants_json: bool,
    wants_curl: bool,
) -> None:
    if har is not None and pasted is not None:
        raise click.UsageError("give one of --har and --error")
    if har is not None and (asked.path or asked.origin or asked.method or asked.headers or wants_curl):
        raise click.UsageError(
            "a HAR says what the calls are: beside --har stand --host, --credentials and --json"
        )
    if wants_json and wants_curl:
        raise click.UsageError("give one of --json and --curl")
    if [har, pasted, config].count(STDIN) > 1:
        raise click.UsageError("standard input can be read once")
    if har is None and pasted is None and not (asked.path and asked.origin):
        raise click.UsageError("name the call with --path and --origin, or give --har or --error")


def _question(table: Table, asked: _Asked, pasted: Pasted | None) -> Question:
    """The call that the options name; what they leave open, the pasted message says."""
    origin = asked.origin or (pasted.origin.encode() if pasted else b"")
    if not origin:
        raise click.UsageError("the message does not name the page's origin: add --origin")
    headers = asked.headers
    if pasted and pasted.header and all(name.lower() != pasted.header.encode() for name, _ in headers):
        headers = (*headers, (pasted.header.encode(), None))
    call = Call(
        origin,
        asked.method or (pasted.method.encode() if pasted else b"") or b"GET",
        headers,
        asked.credentials or (pasted is not None and pasted.credentials),
        asks_first=pasted is not None and pasted.preflight,
    )
    host, target = _place(pasted.url) if pasted else (b"", b"/")
    listener = authority_of(table.listen).encode()
    scheme = b"https" if table.tls else b"http"
    return Question(call, asked.path or target, asked.host or host or listener, scheme)


def _place(url: str) -> tuple[bytes, bytes]:
    """Authority and path with query of a URL; empty parts where it has none."""
    try:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        authority, target = parts.netloc.encode("ascii"), f"{parts.path or '/'}{query}".encode("ascii")
    except ValueError as error:  # also of characters beyond ASCII
        raise click.UsageError(f"{url!r} is no URL as browsers send it") from error
    if authority and not is_authority(authority):
        raise click.UsageError(f"{url!r} is no URL as browsers send it: {parts.netloc!r} is no host and port")
    return authority, target


# What people bring along


def _pasted(text: str) -> Pasted:
    found = read_pasted(_stdin() if text == STDIN else text)
    if found is None:
        raise click.UsageError(
            "this is no message about CORS of Chromium or Firefox; copy it from 'Access to …' or "
            "'Cross-Origin Request Blocked' to its end"
        )
    return found


def _pasted_text(pasted: Pasted | None, found: Explanation) -> str:
    if pasted is None:
        return ""
    message = pasted.message
    lines = [f"{message.browser} said {message.kind}: {message.says}"]
    if found.allowed:
        lines.append(
            "By this file the call is allowed. Did it go through this proxy, and does that serve this file?"
        )
    return "\n".join([*lines, "", ""])


def _pasted_json(pasted: Pasted | None) -> Json:
    if pasted is None:
        return {}
    message = pasted.message
    return {
        "pasted": {"browser": message.browser, "kind": message.kind, "says": message.says, "url": pasted.url}
    }


def _explain_har(table: Table, name: str, asked: _Asked, *, wants_json: bool) -> int:
    """The exit code, once every call of the file has its line."""
    host = asked.host.decode() if asked.host else None
    try:
        entries = read_har(_har_text(name), credentials=asked.credentials, host=host)
    except (OSError, HarError) as error:
        raise click.UsageError(f"{name} cannot be read as a HAR: {error}") from error
    router = Router(table.routes)
    found = [(entry, explain_call(table, entry.question, router)) for entry in entries]
    if wants_json:
        listed = [{"entry": entry.number, "url": entry.url, **as_json(each)} for entry, each in found]
        click.echo(json.dumps(listed, indent=2))
    else:
        for entry, each in found:
            click.echo(f"{entry.number:>4}  {as_line(each)}")
        click.echo(_har_summary([each for _, each in found]), err=True)
    return 0 if all(each.allowed for _, each in found) else 1


def _har_summary(found: Sequence[Explanation]) -> str:
    allowed = sum(each.allowed for each in found)
    return f"{len(found)} cross-origin calls: {allowed} allowed, {len(found) - allowed} not"


def _har_text(name: str) -> str:
    if name == STDIN:
        return _stdin()
    with open(name, encoding="utf-8-sig", errors="replace") as file:  # noqa: PTH123 - the name is the user's own
        return file.read(_MOST_HAR_BYTES)


def _stdin() -> str:
    with click.open_file(STDIN, encoding="utf-8-sig", errors="replace") as file:
        return str(file.read(_MOST_HAR_BYTES))
