"""`corsproxy dev`: any API, made usable from pages on this machine.

Here:  the options, what they may be, the exit code.
Never: serving (dev.run), what is said (cli.dev_session, dev.terminal).
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from corsproxy.cli.dev_session import Session
from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.cli.table import table_or_exit
from corsproxy.cors.entries import read_entry
from corsproxy.cors.origins import parse_origin
from corsproxy.cors.policy import Written
from corsproxy.dev.local_tls import LocalTlsError, make_certificate
from corsproxy.dev.parity import Judge
from corsproxy.dev.profile import Profile, config_text
from corsproxy.dev.run import loopback_host
from corsproxy.dev.state import State
from corsproxy.dev.target import Target, TargetError, in_order, parse_route, parse_target
from corsproxy.dev.terminal import Form

__all__ = ["dev"]

DEFAULT_PORT = 8010


@dataclass(frozen=True, slots=True)
class _Production:
    """The file that serves in production, and the page there."""

    file: str | None
    origin: str | None
    host: str
    strict: bool


@click.command(context_settings=HELP_OPTIONS)
@click.argument("url", required=False)
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="/PATH=URL",
    help="A path that goes elsewhere: /auth=https://id.example.com, /ws=ws://localhost:7000. A URL with a "
    "path, be it /, has that in the place of the prefix. May be repeated.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Pages of this origin may call, too. May be repeated.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; a taken one is skipped. 0 = any free.",
)
@click.option("--strict-port", is_flag=True, help="Fail when the port is taken.")
@click.option(
    "--cookie",
    "cookies",
    multiple=True,
    metavar="NAME",
    help="This cookie goes to the API, though that has not set it. May be repeated.",
)
@click.option(
    "--ca",
    type=click.Path(dir_okay=False, exists=True),
    help="Authorities that the API's certificate may come from, a PEM file.",
)
@click.option("--insecure", is_flag=True, help="Take whatever certificate the API shows.")
@click.option("--https", is_flag=True, help="Serve https, with a certificate made by mkcert.")
@click.option(
    "--quiet", is_flag=True, help="No line for an exchange unless something is to be said about it."
)
@click.option(
    "--json", "wants_json", is_flag=True, help="One JSON object for each exchange, on standard output."
)
@click.option("--as", "as_file", metavar="FILE", help="Judge each exchange by this file of production.")
@click.option("--as-origin", metavar="ORIGIN", help="Origin of the page in production.")
@click.option(
    "--as-host", metavar="HOST", default="", help="Host that is asked there.  [default: as FILE says]"
)
@click.option(
    "--strict",
    is_flag=True,
    help="With --as: exit with 1 when anything would fail in production, or nothing was judged.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the inspector in the default browser.")
@click.option(
    "--save",
    "save_to",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the configuration there, and serve by it.",
)
@click.option("--print-config", is_flag=True, help="Print the configuration, and end.")
@click.pass_context
def dev(
    ctx: click.Context,
    url: str | None,
    routes: tuple[str, ...],
    origins: tuple[str, ...],
    port: int,
    strict_port: bool,
    cookies: tuple[str, ...],
    ca: str | None,
    insecure: bool,
    https: bool,
    quiet: bool,
    wants_json: bool,
    as_file: str | None,
    as_origin: str | None,
    as_host: str,
    strict: bool,
    open_page: bool,
    save_to: str | None,
    print_config: bool,
) -> None:
    """Make any API usable from pages on this machine: `corsproxy dev https://api.example.com`.

    Pages of localhost, on any port, may call http://localhost:8010 with cookies. Redirects and cookies of
    the API are made to work there, and each exchange is explained, here and in the inspector. Everything
    listens on loopback only; Ctrl-C ends it.
    """
    if quiet and wants_json:
        raise click.UsageError("give one of --quiet and --json")
    targets = _targets(url, routes)
    judge = _judge(ctx, _Production(as_file, as_origin, as_host, strict))
    state = State(os.environ)
    profile = Profile(
        targets,
        port,
        admin_port=port + 1 if 0 < port < 65535 else port,
        origins=[_origin(text) for text in origins],
        cookies=cookies,
        remembered=state.cookie_names(),
        ca=str(Path(ca).resolve()) if ca else "",
        verify=not insecure,
        certificate=_certificate(state) if https and not print_config else None,
        host=loopback_host(),
    )
    if print_config:
        click.echo(config_text(profile), nl=False)
        return
    if save_to is not None and Path(save_to).exists():
        raise click.ClickException(f"{save_to} exists already; `corsproxy run -c {save_to}` serves by it")
    session = Session(
        profile,
        _form(os.environ, quiet=quiet, wants_json=wants_json),
        judge,
        state,
        strict_port=strict_port,
        save_to=Path(save_to) if save_to else None,
        open_page=open_page,
    )
    session.run()
    ctx.exit(1 if strict and judge is not None and (judge.failed or not judge.judged) else 0)


# What was asked for


def _targets(url: str | None, routes: tuple[str, ...]) -> list[Target]:
    if url is None and not routes:
        raise click.UsageError("name the API: corsproxy dev https://api.example.com")
    try:
        main = [] if url is None else [parse_target(url)]
        return in_order([*(parse_route(text) for text in routes), *main])
    except TargetError as error:
        raise click.UsageError(str(error)) from error


def _origin(text: str) -> str:
    """As a browser writes it: what people copy has a slash at its end."""
    if text in _NEVER:
        raise click.UsageError(f"--origin {text} {_NEVER[text]}")
    return text.rstrip("/")


# The file would say the same of them, but with remedies that are no options here.
_NEVER = {
    "*": "is not possible with cookies: every site could act as whoever works here; name the origins",
    "null": "is not possible with cookies: any page can send it; serve the page, with "
    "python -m http.server 5173 for one",
}


def _origin_in_production(text: str) -> bytes:
    """Of one page, as a browser writes it. An entry of a file would say the same of its mistakes."""
    origin = text.rstrip("/")
    if parse_origin(raw := origin.encode("utf-8")) is not None:
        return raw
    found = [] if origin in {"*", "null"} else read_entry(Written(origin), credentials=True)[1]
    why = next((f"{each.message}: {each.remedy}" for each in found if each.severity == "error"), "")
    raise click.UsageError(f"--as-origin: {why or _ONE_PAGE}")


_ONE_PAGE = "name one origin, that of the page in production: https://app.example.com"


def _judge(ctx: click.Context, asked: _Production) -> Judge | None:
    if asked.file is None:
        if asked.strict or asked.origin or asked.host:
            raise click.UsageError("--as-origin, --as-host and --strict go with --as FILE")
        return None
    if not asked.origin:
        raise click.UsageError("--as needs --as-origin, the page in production: https://app.example.com")
    origin = _origin_in_production(asked.origin)
    return Judge(table_or_exit(ctx, asked.file), origin, asked.host.encode("ascii", "replace"))


def _certificate(state: State) -> tuple[str, str]:
    try:
        return make_certificate(state.folder)
    except LocalTlsError as error:
        raise click.ClickException(str(error)) from error


def _form(env: Mapping[str, str], *, quiet: bool, wants_json: bool) -> Form:
    if wants_json:
        return "json"
    if quiet:
        return "quiet"
    return "coloured" if sys.stderr.isatty() and not env.get("NO_COLOR") else "pretty"
