"""`corsproxy demo`: see CORS work, and fail, in your own browser.

Here:  the option, the three addresses on stdout, the talk on stderr.
Never: what the demo serves (dev.demo).
"""

import sys

import click

from corsproxy.dev.demo import run_demo
from corsproxy.dev.places import Places
from corsproxy.ops.loop import run_loop
from corsproxy.ops.server import StartError

__all__ = ["demo"]

DEFAULT_PORT = 8880


@click.command("demo")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    envvar="CORSPROXY_DEMO_PORT",
    help="Port of the page; proxy and legacy API take the next two. Taken ones are skipped; 0 = any free.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the default browser.")
def demo(port: int, open_page: bool) -> None:
    """Start a legacy API without CORS, the proxy before it, and a page that tries both.

    The page is on another origin and runs each experiment twice, straight at the API and through the proxy:
    see what a script may read, and why. Everything listens on loopback only; Ctrl-C ends it.
    """

    def announce(places: Places) -> None:
        click.echo(f"page        {places.page}")
        click.echo(f"proxy       {places.proxy}")
        click.echo(f"legacy API  {places.legacy}")
        click.echo("Open the page in a browser. Ctrl-C ends all three.", err=True)
        if open_page:
            click.launch(places.page)

    def farewell() -> None:
        click.echo("Ending; Ctrl-C again ends at once.", err=True)

    try:
        code = run_loop(run_demo(port, announce, farewell))
    except (OSError, StartError) as error:
        raise click.ClickException(f"the demo could not start: {error}") from error
    sys.exit(code)
