"""`corsproxy version`: what runs.

Here:  the versions that a bug report needs.
Never: importing the parts it names; their metadata says enough.
"""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from corsproxy import __version__
from corsproxy.cli.main import HELP_OPTIONS

__all__ = ["version"]

_PARTS = ("aiohttp", "httptools", "uvloop", "pydantic", "PyYAML", "publicsuffixlist")


@click.command(context_settings=HELP_OPTIONS)
def version() -> None:
    """Print what runs: corsproxy, Python and the parts below."""
    click.echo(f"corsproxy {__version__}")
    click.echo(
        f"{platform.python_implementation()} {platform.python_version()} on {platform.platform(terse=True)}"
    )
    for part in _PARTS:
        click.echo(f"{part} {_installed(part)}")


def _installed(part: str) -> str:
    try:
        return version_of(part)
    except PackageNotFoundError:
        return "not installed"
