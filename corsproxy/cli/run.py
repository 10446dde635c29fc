"""`corsproxy run`: serve by a configuration file.

Here:  which file, what the command line overrides, which exit code.
Never: serving (ops), the file's rules (config).
"""

import os
from dataclasses import replace

import click

from corsproxy.cli.check import EX_CONFIG, summary
from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.addresses import parse_listen
from corsproxy.config.compile import load_table
from corsproxy.config.findings import Mistake
from corsproxy.config.search import ConfigUnreadableError, read_config
from corsproxy.config.table import Address, Table
from corsproxy.ops.process import serve

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


def _only_one(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value not in {None, "1"}:
        raise click.BadParameter("this version has one process; run several copies", ctx, param)
    return value


@click.command(context_settings=HELP_OPTIONS)
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
    metavar="N",
    callback=_only_one,
    envvar="CORSPROXY_WORKERS",
    show_envvar=True,
    help="Instead of `workers`; only 1 is supported in this version.",
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
    workers: str | None,
    log_format: str | None,
) -> None:
    """Serve by a configuration file, until SIGTERM or SIGINT.

    Without -c the file is $CORSPROXY_CONFIG, ./corsproxy.yaml or /etc/corsproxy/corsproxy.yaml. A signal
    finishes what is in flight, then exits with 0. A file with errors is refused with exit code 78: `corsproxy
    check` names them.
    """
    del workers  # _only_one has refused every number but the one there is
    try:
        name, text = read_config(config, os.environ)
    except ConfigUnreadableError as error:
        click.echo(f"corsproxy: {error}", err=True)
        ctx.exit(EX_CONFIG)
    table, problems = load_table(text, name, os.environ)
    for problem in problems:
        click.echo(problem.as_text(), err=True)
    if table is None:
        click.echo(summary(name, table, problems), err=True)
        ctx.exit(EX_CONFIG)
    ctx.exit(serve(_overridden(table, listen, admin, log_format)))


def _overridden(table: Table, listen: Address | None, admin: Address | None, log_format: str | None) -> Table:
    """The table with what the command line says instead of the file."""
    if listen is not None:
        table = replace(table, listen=listen)
    if admin is not None:
        table = replace(table, admin=None if admin is _OFF else admin)
    if log_format is not None:
        table = replace(table, log=replace(table.log, format=log_format))  # type: ignore[arg-type] # click checked it
    return table
