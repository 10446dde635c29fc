"""`corsproxy healthcheck`: is the proxy of this container or host ready?

Here:  one HTTP exchange with the admin listener over a plain socket.
Never: imports of anything heavy, nor the configuration file: it runs every few seconds beside the proxy.
"""

import re
import socket

import click

__all__ = ["healthcheck"]

_DEFAULT_ADMIN = "127.0.0.1:8081"
_REQUEST = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LONGEST_ANSWER = 4096
_LONGEST_WAIT = 3600  # seconds
_HOST_PORT = re.compile(r"(?:[^\s:/\[\]]*|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII)


def _checked_address(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """An address that can be asked. The rules of the file in short: `config` is too heavy to import here."""
    if value == "off":
        raise click.BadParameter(
            "'off' means that no admin listener answers: there is nobody to ask", ctx, param
        )
    if value.startswith("unix:/") and "\0" not in value:
        return value
    match = _HOST_PORT.fullmatch(value)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is no address: write HOST:PORT, [::1]:PORT or unix:/path", ctx, param
        )
    if not 1 <= int(match[1]) <= 65535:
        raise click.BadParameter(f"'{match[1]}' is no port: write a number from 1 to 65535", ctx, param)
    return value


def _checked_seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not 0 < value <= _LONGEST_WAIT:  # also what is no number at all: nan is on neither side
        raise click.BadParameter(f"write seconds above 0, up to {_LONGEST_WAIT}", ctx, param)
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--admin",
    metavar="ADDRESS",
    callback=_checked_address,
    envvar="CORSPROXY_ADMIN",
    show_envvar=True,
    default=_DEFAULT_ADMIN,
    show_default=True,
    help="The admin listener: HOST:PORT or unix:PATH.",
)
@click.option(
    "--timeout",
    type=float,
    callback=_checked_seconds,
    default=2.0,
    show_default=True,
    help="Seconds to wait.",
)
def healthcheck(admin: str, timeout: float) -> None:
    """Exit with 0 when the proxy is ready, else with 1 and a line that says why."""
    try:
        answer = _ask(admin, timeout)
    except (OSError, ValueError) as error:
        click.echo(f"corsproxy: no answer from {admin}: {_reason(error)}", err=True)
        raise SystemExit(1) from None
    status_line = answer.partition(b"\r\n")[0].decode("latin-1")
    if not status_line.startswith("HTTP/1.1 200 "):
        click.echo(f"corsproxy: not ready: {status_line or 'empty answer'}", err=True)
        raise SystemExit(1)
    click.echo("ready")


def _ask(admin: str, timeout: float) -> bytes:
    with _connect(admin, timeout) as connection:
        connection.sendall(_REQUEST)
        answer = b""
        while len(answer) < _LONGEST_ANSWER and (data := connection.recv(_LONGEST_ANSWER)):
            answer += data
        return answer


def _connect(admin: str, timeout: float) -> socket.socket:
    if admin.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(admin.removeprefix("unix:"))
        return connection
    host, _, port = admin.rpartition(":")
    # Where it listens on every address, it is asked on this machine's own.
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104 - compared, not bound
    return socket.create_connection((name, int(port)), timeout)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
