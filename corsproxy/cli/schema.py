"""`corsproxy schema`: the JSON Schema of the configuration file.

Here:  printing it.
Never: making it (`config.schema` does).
"""

import json

import click

from corsproxy.cli.main import HELP_OPTIONS
from corsproxy.config.schema import json_schema

__all__ = ["schema"]


@click.command(context_settings=HELP_OPTIONS)
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the configuration file, for editors.

    Save it beside the file and name it in the file's first line:

    \b
      corsproxy schema > corsproxy.schema.json
      # yaml-language-server: $schema=corsproxy.schema.json
    """  # noqa: D301 - \b keeps click from joining the lines
    click.echo(json.dumps(json_schema(), indent=2))
