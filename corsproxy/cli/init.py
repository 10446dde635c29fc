"""`corsproxy init`: a short commented configuration file to start from.

Here:  the file's text, and where it goes.
Never: overwriting what is there, unless told so.
"""

import json
import os
from pathlib import Path

import click

from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.schema import json_schema
from corsproxy.config.search import STDIN
from corsproxy.dev.learned import policy_from
from corsproxy.dev.state import State, StateError

__all__ = ["STARTER", "init"]

_SCHEMA_NAME = "corsproxy.schema.json"
_SCHEMA_LINE = f"# yaml-language-server: $schema={_SCHEMA_NAME}\n"

STARTER = """\
# corsproxy puts a CORS policy in front of an API. Try it: corsproxy check && corsproxy run
# Every key is explained in docs/configuration.md.

listen: 127.0.0.1:8080          # where browsers connect; 0.0.0.0:8080 in a container
admin: 127.0.0.1:8081           # health checks; off = nowhere

policies:
  web:
    allow_origins:              # scheme, host and port as the browser shows them, without a path
      - https://app.example.com
      - http://localhost:5173   # a dev server
    allow_methods: [GET, POST, PUT, PATCH, DELETE]
    allow_headers: [content-type, authorization]
    expose_headers: [X-Total-Count]
    allow_credentials: true     # scripts may send cookies
    max_age: 10m                # how long browsers may remember a preflight

routes:                         # the first that matches serves the request
  - name: api
    match:
      path: /
    upstream: http://127.0.0.1:9000
    cors: web
"""


@click.command(context_settings=HELP_OPTIONS)
@click.argument("file", default="corsproxy.yaml", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--with-schema", is_flag=True, help=f"Also write {_SCHEMA_NAME} beside it, for editors.")
@click.option(
    "--from-dev", is_flag=True, help="Allow what the last run of `corsproxy dev` has seen, and nothing else."
)
@click.pass_context
def init(ctx: click.Context, file: str, force: bool, with_schema: bool, from_dev: bool) -> None:
    """Write a commented configuration file to start from (default: corsproxy.yaml; - for standard output)."""
    if file == STDIN and with_schema:
        raise click.UsageError("--with-schema writes beside a file: name one")
    path = Path(file)
    start = _learned(ctx) if from_dev else STARTER
    if file == STDIN:
        click.echo(start, nl=False)
        return
    texts = {path: start}
    if with_schema:
        schema = path.with_name(_SCHEMA_NAME)
        texts = {path: _SCHEMA_LINE + start, schema: json.dumps(json_schema(), indent=2) + "\n"}
    taken = [str(target) for target in texts if target.exists()]
    if taken and not force:
        click.echo(f"corsproxy: {' and '.join(taken)} exists already; --force overwrites", err=True)
        ctx.exit(1)
    for target, text in texts.items():
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            click.echo(f"corsproxy: cannot write {target}: {error.strerror}", err=True)
            ctx.exit(1)
        click.echo(f"wrote {target}", err=True)


def _learned(ctx: click.Context) -> str:
    try:
        return policy_from(State(os.environ).load_journal())
    except StateError as error:
        click.echo(f"corsproxy: {error}", err=True)
        ctx.exit(1)
