"""`corsproxy run`: serve by a configuration file.

Here:  which file, what the command line overrides, which exit code.
Never: serving (ops), the file's rules (config).
"""

import os
import re

import click

from corsproxy.cli.check import EX_CONFIG, summary
from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.addresses import parse_listen
from corsproxy.config.findings import Mistake
from corsproxy.config.overrides import Overrides
from corsproxy.config.search import ConfigUnreadableError, find_config
from corsproxy.config.table import Address
from corsproxy.config.words import printable, quoted
from corsproxy.ops.configuration import Loaded, Source, load_source
from corsproxy.ops.process import Onlooker, serve

__all__ = ["run"]


class _AddressType(click.ParamType[Address]):
    """HOST:PORT or unix:PATH, by the rules of the file."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        address = parse_listen(str(value))
        if isinstance(address, Mistake):
            self.fail(f"{address.message}: {address.remedy}", param, ctx)
        return address


class _AdminType(_AddressType):
    """An address, or `off`."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        return _OFF if value == "off" else super().convert(value, param, ctx)


_OFF = Address()


class _WorkersType(click.ParamType[int]):
    """A number of processes, or `auto`, which is 0."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text == "auto":
            return 0
        if not (_FEW_DIGITS.fullmatch(text) and 1 <= int(text) <= _MOST_WORKERS):
            self.fail(
                f"{quoted(text)} is no number of processes: "
                f"write a number from 1 to {_MOST_WORKERS}, or auto",
                param,
                ctx,
            )
        return int(text)


_MOST_WORKERS = 1024
_FEW_DIGITS = re.compile("[0-9]{1,9}")  # Python refuses to read very many


@click.command(context_settings={**HELP_OPTIONS, "allow_extra_args": True})
@click.option("-c", "--config", metavar="FILE", help="The configuration file; - reads standard input.")
@click.option(
    "--listen",
    type=_AddressType(),
    metavar="ADDRESS",
    envvar="CORSPROXY_LISTEN",
    show_envvar=True,
    help="Instead of `listen`: HOST:PORT or unix:PATH.",
)
@click.option(
    "--admin",
    type=_AdminType(),
    metavar="ADDRESS",
    envvar="CORSPROXY_ADMIN",
    show_envvar=True,
    help="Instead of `admin`: HOST:PORT, unix:PATH or off.",
)
@click.option(
    "--workers",
    type=_WorkersType(),
    metavar="N",
    envvar="CORSPROXY_WORKERS",
    show_envvar=True,
    help="Instead of `workers`: a number, or auto.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "pretty", "json", "combined"]),
    envvar="CORSPROXY_LOG_FORMAT",
    show_envvar=True,
    help="Instead of `log.format`.",
)
@click.pass_context
def run(
    ctx: click.Context,
    config: str | None,
    listen: Address | None,
    admin: Address | None,
    workers: int | None,
    log_format: str | None,
) -> None:
    """Serve by a configuration file, until SIGTERM or SIGINT.

    Without -c the file is $CORSPROXY_CONFIG, ./corsproxy.yaml or /etc/corsproxy/corsproxy.yaml. When it
    changes, and on SIGHUP, it is read again. A signal finishes what is in flight, then exits with 0. A file
    with errors is refused with exit code 78: `corsproxy check` names them.
    """
    if ctx.args:
        ctx.fail(
            f"unexpected argument {quoted(ctx.args[0])}"
            if config is not None
            else f"the file is an option: -c {printable(ctx.args[0])}"
        )
    overrides = Overrides(
        listen=listen,
        admin=None if admin is _OFF else admin,
        admin_off=admin is _OFF,
        workers=workers,
        log_format=log_format,
    )
    try:
        source = Source(find_config(config, os.environ), os.environ, overrides)
        loaded = load_source(source)
    except ConfigUnreadableError as error:
        click.echo(f"corsproxy: {error}", err=True)
        ctx.exit(EX_CONFIG)
    if loaded.table is None:
        for problem in loaded.problems:
            click.echo(problem.as_text(), err=True)
        click.echo(summary(source.file, None, list(loaded.problems)), err=True)
        ctx.exit(EX_CONFIG)
    ctx.exit(serve(source, loaded, _inspector(loaded, source)))


def _inspector(loaded: Loaded, source: Source) -> Onlooker | None:
    """What looks at exchanges, where the file wants it; nothing of it is imported otherwise."""
    admin = loaded.served.admin
    if admin is None or not admin.inspector:
        return None
    from corsproxy.dev.inspector.beside import BesideRun  # noqa: PLC0415 - see above

    return BesideRun(admin.token, source.env)
