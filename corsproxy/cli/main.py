"""`corsproxy`: one command with verbs.

Here:  which verb lives where. Only the chosen verb's module is imported: `healthcheck` runs every few seconds
       in a container, and must not pay for a server.
Never: what a verb does.
"""

import difflib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from corsproxy import __version__

__all__ = ["HELP_OPTIONS", "cli", "main"]

# What only output meets here: each verb catches what goes wrong with the files that it opens itself.
_CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

_VERBS = {
    "run": ("corsproxy.cli.run:run", "Serve."),
    "dev": ("corsproxy.cli.dev:dev", "Make an API usable from pages on this machine; a URL means this."),
    "demo": (
        "corsproxy.cli.demo:demo",
        "Show it working on this machine.",
    ),
    "check": ("corsproxy.cli.check:check", "Name every problem in a configuration file."),
    "explain": ("corsproxy.cli.explain:explain", "Say what becomes of a call of a script, and why."),
    "init": ("corsproxy.cli.init:init", "Write a commented configuration file to start from."),
    "schema": ("corsproxy.cli.schema:schema", "Print the JSON Schema of the configuration file."),
    "version": ("corsproxy.cli.version:version", "Print what runs: corsproxy, Python and the parts below."),
    "healthcheck": (
        "corsproxy.cli.healthcheck:healthcheck",
        "Ask a running proxy whether it is ready; exit 0 or 1.",
    ),
}


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without what takes a good part of a start and serves nobody here."""
    # aiohttp reads the system's authorities as it is imported, twice, for a client that nobody here uses over
    # TLS: 20 to 40 ms. OpenSSL looks for them where these two say. Those that upstreams need are read later.
    elsewhere = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(elsewhere, os.devnull))
    gc.disable()  # nothing that is imported is garbage
    try:
        yield
    finally:
        gc.enable()
        for name, value in elsewhere.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Verbs(click.Group):
    """A group that knows its verbs by name, and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in _VERBS:
            return None
        module, _, name = _VERBS[cmd_name][0].partition(":")
        with _quick_imports():
            command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """The list of verbs, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, says) for verb, (_, says) in _VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if ":" in verb:  # corsproxy https://api.example.com, corsproxy localhost:5000, corsproxy :5000
            args = ["dev", *args]
        elif verb not in _VERBS and not verb.startswith("-"):
            near = difflib.get_close_matches(verb.lower(), _VERBS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"verbs: {', '.join(_VERBS)}"
            ctx.fail(f"no such verb '{verb}'; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    context_settings=HELP_OPTIONS,
    invoke_without_command=True,
    subcommand_metavar="VERB [ARGS]...",
    epilog="`corsproxy VERB --help` says more about one of them.",
)
@click.version_option(__version__, prog_name="corsproxy", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A reverse proxy that puts a correct, explainable CORS policy in front of an API."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)


def _open_standard_descriptors() -> None:
    """Put nothing where input, output or errors were closed at the start: what is opened next would get their
    numbers, a socket of the event loop for example, and then have errors written to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    # Python has None for those that were closed. Standard input stays so: `-c -` says that it is closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main(**extra: Any) -> None:  # Any: click's own options, for tests
    """The entry point of the command.

    Every verb may print without looking whether it can: output that nothing takes is one line and exit code
    1. A pipe whose reader has gone is click's business, and has no line.
    """
    _open_standard_descriptors()
    try:
        cli.main(prog_name="corsproxy", **extra)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        # The interpreter flushes once more at its end, and would complain in its own words.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        click.echo(f"corsproxy: cannot write the output: {error.strerror}", err=True)
        raise SystemExit(1) from None
