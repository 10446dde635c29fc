"""Addresses as text: listeners, upstream URLs, host names, host patterns, networks.

Here:  pure functions from text to a value of the table, or to what is wrong with the text.
Never: resolving names, opening sockets, knowing which key the text fills.
"""

import ipaddress
import re
from typing import Literal

from corsproxy.config.findings import Mistake
from corsproxy.config.table import Address, Endpoint
from corsproxy.config.words import did_you_mean, quoted
from corsproxy.http.forwarded import PRIVATE, Network

__all__ = ["is_url", "parse_endpoint", "parse_host", "parse_host_pattern", "parse_listen", "parse_network"]

_SCHEMES = ("http", "https", "http+unix")
_DEFAULT_PORT = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://)?(.*)", re.DOTALL)
_USERINFO = re.compile(r"(?:[^:/?#]*:)?(?://)?[^/?#]*@")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]*)*")
_LONGEST_HOST = 253
_LONGEST_SOCKET_PATH = 107  # sun_path holds 108 bytes with its final zero (unix(7))


def parse_listen(text: str) -> Address | Mistake:
    """Where to listen; port 0 = any free port."""
    if text.startswith("unix:"):
        return _socket_address(text.removeprefix("unix:").removeprefix("//"))
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        return _bad_listen(text, f"write 127.0.0.1:{text}" if _PORT.fullmatch(text) else "")
    if not host:
        remedy = (
            f"write 127.0.0.1:{port} for this machine alone, 0.0.0.0:{port} or [::]:{port} for every network"
        )
        return _bad_listen(text, remedy)
    if "/" in text:
        return _bad_listen(text, "an address has no scheme and no path: write HOST:PORT")
    number = _parse_port(port, lowest=0)
    if isinstance(number, Mistake):
        return number
    name = parse_host(host)
    return name if isinstance(name, Mistake) else Address(name, number)


def _bad_listen(text: str, remedy: str) -> Mistake:
    return Mistake(
        "bad-address", f"{quoted(text)} is no address", remedy or "write HOST:PORT, [::1]:PORT or unix:/path"
    )


def _socket_address(path: str) -> Address | Mistake:
    if not path.startswith("/") or "\0" in path:
        return Mistake(
            "bad-address", f"the socket path {quoted(path)} must start with '/'", "write unix:/run/name.sock"
        )
    if len(path.encode("utf-8", "surrogatepass")) > _LONGEST_SOCKET_PATH:
        says = f"the socket path is longer than {_LONGEST_SOCKET_PATH} bytes"
        return Mistake("bad-address", says, "choose a shorter path")
    return Address(path=path)


def _parse_port(text: str, lowest: int = 1) -> int | Mistake:
    number = int(text) if _PORT.fullmatch(text) and text.isascii() else -1
    if lowest <= number <= 65535:
        return number
    return Mistake("bad-port", f"{quoted(text)} is no port", f"write a number from {lowest} to 65535")


def parse_host(text: str) -> str | Mistake:
    """A host name or IP address, lower case and without brackets."""
    if text.startswith("[") or text.endswith("]"):
        return _parse_ipv6(text)
    if ":" in text:
        return Mistake(
            "bad-host", f"{quoted(text)} is no host name", f"an IPv6 address stands in brackets: [{text}]"
        )
    if not text.isascii():
        ascii_name = _to_ascii(text)
        remedy = f"write {ascii_name}" if ascii_name else "write it in ASCII (punycode)"
        return Mistake("bad-host", f"{quoted(text)} is not ASCII", remedy)
    labels = text.split(".")
    if len(text) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        return Mistake(
            "bad-host",
            f"{quoted(text)} is no host name",
            "write a name such as api.example.com, or an address",
        )
    if labels[-1].isdigit() and not _is_ipv4(
        text
    ):  # a last label of digits makes it an IPv4 address (WHATWG URL)
        return Mistake("bad-host", f"{quoted(text)} is no IPv4 address", "write four numbers from 0 to 255")
    return text.lower()


def _parse_ipv6(text: str) -> str | Mistake:
    try:
        if text.startswith("[") and text.endswith("]") and "%" not in text:
            return ipaddress.IPv6Address(text[1:-1]).compressed
    except ValueError:
        pass  # said below, with the brackets
    return Mistake("bad-host", f"{quoted(text)} is no IPv6 address", "write one in brackets, such as [::1]")


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _to_ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def is_url(text: str) -> bool:
    """True for what is meant as a URL rather than as a name. What has an "@" may hold a password."""
    return "://" in text or "@" in text


def parse_endpoint(url: str) -> tuple[Endpoint, bytes] | Mistake:
    """An upstream URL as the endpoint and the base path to prepend (b"" = none)."""
    if _USERINFO.match(url):
        # The value is not shown again: it may hold a password.
        remedy = "write it without; the upstream gets the client's own Authorization"
        return Mistake("bad-upstream-url", "an upstream URL has no user name and password", remedy)
    match = _URL.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if match is None or "://" not in url or scheme not in _SCHEMES:
        return _bad_scheme(url, match[1] if match and "://" in url else "")
    rest = match[2]
    if any(c.isspace() or not c.isprintable() for c in rest):
        return Mistake("bad-upstream-url", "an upstream URL has no white space", "remove it")
    for mark, part in (("?", "query"), ("#", "fragment")):
        if mark in rest:
            return Mistake(
                "bad-upstream-url", f"an upstream URL has no {part}", f"write {url.partition(mark)[0]}"
            )
    if scheme == "http+unix":
        return _socket_endpoint(rest)
    return _tcp_endpoint("https" if scheme == "https" else "http", rest)


def _bad_scheme(url: str, scheme: str) -> Mistake:
    known = "write http://, https:// or http+unix:///path"
    if not scheme:
        return Mistake("bad-upstream-url", f"{quoted(url)} is no URL", f"write http://{url}")
    return Mistake(
        "bad-upstream-url", f"unknown scheme {quoted(scheme)}", did_you_mean(scheme, _SCHEMES) or known
    )


def _tcp_endpoint(scheme: Literal["http", "https"], rest: str) -> tuple[Endpoint, bytes] | Mistake:
    authority, slash, path = rest.partition("/")
    name, port = _split_port(authority)
    number = _parse_port(port) if port is not None else _DEFAULT_PORT[scheme]
    if isinstance(number, Mistake):
        return number
    host = parse_host(name)
    if isinstance(host, Mistake):
        return host
    base = _base_path(slash + path)
    return base if isinstance(base, Mistake) else (Endpoint(scheme, host, number), base)


def _split_port(authority: str) -> tuple[str, str | None]:
    """Host and port; None when there is no colon after the host, or its bracket is never closed."""
    if authority.startswith("[") and "]" not in authority:
        return authority, None
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and "]" not in port else (authority, None)


def _base_path(path: str) -> bytes | Mistake:
    """The path of an upstream URL without its final slash: the request's path starts with one."""
    if not _BASE_PATH.fullmatch(path) or re.search(r"%(?![0-9A-Fa-f]{2})", path):
        return Mistake(
            "bad-upstream-url", f"{quoted(path)} is no URL path", "percent-encode what is not plain ASCII"
        )
    if "//" in path or any(segment in {".", ".."} for segment in path.split("/")):
        return Mistake(
            "bad-upstream-url", f"{quoted(path)} has empty or dot segments", "write the path they lead to"
        )
    return path.removesuffix("/").encode("ascii")


def _socket_endpoint(rest: str) -> tuple[Endpoint, bytes] | Mistake:
    address = _socket_address(rest)
    if isinstance(address, Mistake):
        remedy = "write http+unix:///run/api.sock, with three slashes"
        return Mistake("bad-upstream-url", address.message, remedy)
    return Endpoint("http", "", 0, address.path), b""


def parse_host_pattern(text: str) -> bytes | Mistake:
    """What a route asks of `Host`: a name, or "*." and a name; lower case, without port."""
    name = text.removeprefix("*.")
    if is_url(text) or "/" in text:
        return Mistake(
            "bad-host", f"{quoted(text)} is a URL, not a host", "write the name alone: api.example.com"
        )
    if "*" in name:
        remedy = "write *.example.com for every name under example.com"
        return Mistake("bad-host", f"{quoted(text)}: a star stands for whole labels at the front", remedy)
    bare, port = _split_port(name)
    if port is not None and bare.count(":") == 0:
        return Mistake(
            "bad-host", f"{quoted(text)} has a port", f"write {text.rpartition(':')[0]}; any port matches"
        )
    host = parse_host(name)
    if isinstance(host, Mistake):
        return host
    if ":" in host:
        host = f"[{host}]"
    return f"*.{host}".encode("ascii") if text.startswith("*.") else host.encode("ascii")


def parse_network(text: str) -> tuple[Network, ...] | Mistake:
    """A network in CIDR form, or those that the word `private` stands for."""
    if text == "private":
        return PRIVATE
    try:
        return (ipaddress.ip_network(text),)
    except ValueError:
        pass
    try:
        remedy = f"write {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        remedy = "write one such as 10.0.0.0/8 or fd00::/8, or private"
    return Mistake("bad-network", f"{quoted(text)} is no network", remedy)
