"""`corsproxy run`: serve by a configuration file."""

import dataclasses
import os
import sys
from typing import Literal, cast

import click

from corsproxy.cli.output import EX_CONFIG, say_problems
from corsproxy.config.compile import load_table
from corsproxy.config.search import ConfigUnreadableError, read_config
from corsproxy.config.table import Address, Table
from corsproxy.config.values import parse_address
from corsproxy.ops.process import serve

__all__ = ["command"]

LogFormat = Literal["auto", "pretty", "json", "combined"]


@click.command("run")
@click.option("-c", "--config", metavar="FILE", help="The configuration file; - reads standard input.")
@click.option("--listen", metavar="ADDRESS", help="Overrides `listen`: HOST:PORT or unix:PATH.")
@click.option("--admin", metavar="ADDRESS", help="Overrides `admin`: HOST:PORT, unix:PATH or off.")
@click.option("--workers", metavar="N", help="Overrides `workers`.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "pretty", "json", "combined"]),
    help="Overrides `log.format`.",
)
def command(
    config: str | None,
    listen: str | None,
    admin: str | None,
    workers: str | None,
    log_format: LogFormat | None,
) -> None:
    """Serve by a configuration file.

    Without -c it is $CORSPROXY_CONFIG, ./corsproxy.yaml or /etc/corsproxy/corsproxy.yaml. SIGTERM and SIGINT finish
    what is in flight and end with exit code 0; a file with errors is refused with exit code 78.
    """
    try:
        name, text = read_config(config, os.environ)
    except ConfigUnreadableError as error:
        click.echo(f"corsproxy: {error}", err=True)
        sys.exit(EX_CONFIG)
    table, problems = load_table(text, name, os.environ)
    say_problems(problems)
    if table is None:
        sys.exit(EX_CONFIG)
    sys.exit(serve(_overridden(table, listen, admin, workers, log_format)))
