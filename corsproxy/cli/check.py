"""`corsproxy check`: every problem of a configuration file, for people, programs and pull requests.

Here:  which file, which format, which exit code.
Never: rules (they are in `config` and `cors`).
"""

import json
import os
from collections.abc import Iterable, Sequence

import click

from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.compile import load_table
from corsproxy.config.effective import effective_yaml
from corsproxy.config.problems import Problem
from corsproxy.config.search import ConfigUnreadableError, read_config
from corsproxy.config.table import Table
from corsproxy.config.words import count

__all__ = ["EX_CONFIG", "check", "summary"]

EX_CONFIG = 78
"""Bad configuration (sysexits.h); systemd has a name for it too."""


@click.command(context_settings=HELP_OPTIONS)
@click.argument("file", required=False)
@click.option("-c", "--config", metavar="FILE", help="The file; the same as the argument.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="For people, for programs, or as annotations of a GitHub workflow.",
)
@click.option(
    "--effective",
    "wants_effective",
    is_flag=True,
    help="Print what the file comes to: defaults, groups and presets written out, secrets masked.",
)
@click.pass_context
def check(ctx: click.Context, file: str | None, config: str | None, form: str, wants_effective: bool) -> None:
    """Name every problem in a configuration file, and exit with 78 when there are errors.

    Without FILE the one that `run` would use is checked; "-" is standard input.
    """
    if file is not None and config is not None and file != config:
        raise click.UsageError("name the file once: as the argument, or with -c")
    try:
        name, text = read_config(file or config, os.environ)
    except ConfigUnreadableError as error:
        click.echo(f"corsproxy: {error}", err=True)
        ctx.exit(EX_CONFIG)
    table, problems = load_table(text, name, os.environ)
    if wants_effective and table is not None:
        click.echo(effective_yaml(text, name, os.environ), nl=False)
        click.echo(_rendered(name, table, problems, form), nl=False, err=True)
    else:
        click.echo(_rendered(name, table, problems, form), nl=False)
    ctx.exit(0 if table is not None else EX_CONFIG)


def _rendered(name: str, table: Table | None, problems: Sequence[Problem], form: str) -> str:
    if form == "json":
        return json.dumps([problem.as_json() for problem in problems], indent=2) + "\n"
    if form == "github":
        return _lines(problem.as_github() for problem in problems)
    return _lines([*(problem.as_text() for problem in problems), summary(name, table, problems)])


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def summary(name: str, table: Table | None, problems: Sequence[Problem]) -> str:
    """The last line: what is in a good file, or how much is wrong with a bad one."""
    warnings = sum(problem.severity == "warning" for problem in problems)
    if table is None:
        return f"{name}: {count(len(problems) - warnings, 'error')}, {count(warnings, 'warning')}"
    origins = {
        written.text
        for policy in table.policies
        for written in (*policy.spec.allow_origins, *policy.spec.allow_origin_regex)
    }
    counts = [
        count(len(table.routes), "route"),
        count(len(table.policies), "policy"),
        count(len(origins), "origin"),
    ]
    return f"{name}: ok: {', '.join(counts)}" + (f"; {count(warnings, 'warning')}" if warnings else "")
