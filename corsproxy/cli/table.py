"""The table of a configuration file, for verbs that cannot go on without one.

Here:  reading and compiling; what is wrong goes to standard error, and the verb ends with 78.
Never: warnings of a file that serves (check, run).
"""

import os

import click

from corsproxy.cli.check import EX_CONFIG, summary
from corsproxy.config.compile import load_table
from corsproxy.config.search import ConfigUnreadableError, read_config
from corsproxy.config.table import Table

__all__ = ["table_or_exit"]


def table_or_exit(ctx: click.Context, option: str | None) -> Table:
    """The table of the file that the option names, or of the usual one."""
    try:
        name, text = read_config(option, os.environ)
    except ConfigUnreadableError as error:
        click.echo(f"corsproxy: {error}", err=True)
        ctx.exit(EX_CONFIG)
    table, problems = load_table(text, name, os.environ)
    if table is None:
        for problem in problems:
            click.echo(problem.as_text(), err=True)
        click.echo(summary(name, table, problems), err=True)
        ctx.exit(EX_CONFIG)
    return table
