"""`corsproxy healthcheck`: is the proxy of this container or host ready?

Here:  one HTTP exchange with the admin listener over a plain socket.
Never: imports of anything heavy, nor the configuration file: it runs every few seconds beside the proxy.
"""

import socket

import click

__all__ = ["healthcheck"]

_DEFAULT_ADMIN = "127.0.0.1:8081"
_REQUEST = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LONGEST_ANSWER = 4096


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--admin",
    metavar="ADDRESS",
    envvar="CORSPROXY_ADMIN",
    default=_DEFAULT_ADMIN,
    show_default=True,
    help="The admin listener: HOST:PORT or unix:PATH.",
)
@click.option("--timeout", type=float, default=2.0, show_default=True, help="Seconds to wait.")
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
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104
    return socket.create_connection((name, int(port)), timeout)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
