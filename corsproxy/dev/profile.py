"""What `corsproxy dev` serves by: a configuration file like any other, written for a laptop.

Here:  the text, made of what the command line asked for. It is loaded by the same functions as a file, so
       `explain`, the inspector and `run` understand it.
Never: serving; the defaults of production (`cli.init` has those).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from corsproxy.cors.origins import is_loopback_host, parse_origin
from corsproxy.dev.target import Target

__all__ = ["Profile", "config_text", "named_routes"]

_HEAD = """\
# What `corsproxy dev` serves by. For a laptop: any program on it may use this proxy.
# `corsproxy init --from-dev` writes a policy for production from what a run has seen.
listen: {listen}
admin: {admin}
# the command itself says what happens
log: {{access: false, level: warning}}
drain: {{timeout: 1s}}
# somebody may sit in a debugger, and a socket may be silent
timeouts: {{response: 30m, idle: 2h}}
policies:
  dev:
    # pages of this machine, on any port
    allow_origins: {origins}
    allow_methods: "*"
    allow_headers: ["*", Authorization]
    expose_headers: "*"
    # cookies work
    allow_credentials: true
    # pages of other origins cannot use the session of whoever works here
    on_denied: block
    # a refused preflight names the step that failed
    diagnostics: true
"""
_INSECURE = """\
    # http:// origins were asked for
    dangerously_allow_insecure_origins: true
"""
_UPSTREAM = """\
  {name}:
    endpoints: [{url}]
    # the API sees pages as its own, so it does not refuse them
    origin: upstream
"""
_ROUTE = """\
  - name: {name}
    match:
      path: {path}
      # by no other name: a page could point one here (DNS rebinding)
      hosts: [localhost, "*.localhost", 127.0.0.1, "[::1]"]
    upstream: {upstream}
{strip}    cors: dev
    # the API is to think that it is asked directly
    request_headers: {{remove: [Forwarded, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto]}}
    cookies:
      # cookies are for localhost now
      domain: ""
      secure: {secure}
      # the API gets its own cookies and those named here, none of other programs on localhost
      forward: own
      forward_names: {names}
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """What was asked for."""

    targets: Sequence[Target]  # longest prefix first
    port: int
    admin_port: int = 0  # 0 = no admin listener
    origins: Sequence[str] = ()  # beside those of this machine
    cookies: Sequence[str] = ()  # names that go to every API
    remembered: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by authority, of earlier runs
    ca: str = ""  # authorities of the APIs, a PEM file; "" = the system's
    verify: bool = True
    certificate: tuple[str, str] | None = None  # of the proxy, with its key; None = plain HTTP
    host: str = "localhost"  # to listen on

    @property
    def scheme(self) -> str:
        """Of the proxy."""
        return "http" if self.certificate is None else "https"

    @property
    def url(self) -> str:
        """The proxy, as scripts are to call it."""
        return f"{self.scheme}://localhost:{self.port}"


def config_text(profile: Profile) -> str:
    """The configuration file."""
    upstreams = _named_upstreams(profile.targets)
    return "".join(
        [
            _HEAD.format(
                listen=_listen(profile),
                admin=_admin(profile),
                origins=_list(["@loopback", *profile.origins]),
            ),
            _INSECURE if any(_is_insecure(origin) for origin in profile.origins) else "",
            "upstreams:\n",
            *_explained_once(_upstream(name, target, profile) for name, target in upstreams.values()),
            "routes:\n",
            *_explained_once(
                _route(name, target, upstreams[target.url][0], profile)
                for name, target in named_routes(profile.targets)
            ),
        ]
    )


def _explained_once(blocks: Iterable[str]) -> Iterator[str]:
    """The blocks, of which only the first keeps the comments that all have."""
    told: set[str] = set()
    for block in blocks:
        lines = [line for line in block.splitlines(keepends=True) if line not in told]
        told |= {line for line in lines if line.lstrip().startswith("#")}
        yield "".join(lines)


def _named_upstreams(targets: Iterable[Target]) -> dict[str, tuple[str, Target]]:
    """Each URL once, under the name of the first route to it; two routes may be named alike."""
    named: dict[str, tuple[str, Target]] = {}
    for name, target in named_routes(targets):
        named.setdefault(target.url, (name, target))
    return named


def named_routes(targets: Iterable[Target]) -> Iterator[tuple[str, Target]]:
    """The targets with the names of their routes, each of its own."""
    taken: set[str] = set()
    for target in targets:
        name, number = target.name, 2
        while name in taken:
            name, number = f"{target.name}-{number}", number + 1
        taken.add(name)
        yield name, target


def _listen(profile: Profile) -> str:
    address = _quoted(f"{profile.host}:{profile.port}")
    if profile.certificate is None:
        return address
    cert, key = map(_quoted, profile.certificate)
    return f"{{address: {address}, tls: {{cert: {cert}, key: {key}}}}}"


def _admin(profile: Profile) -> str:
    if not profile.admin_port:
        return "off"
    # Without the inspector: that is the command's own, with a token for each run. So `run` serves by it, too.
    return _quoted(f"{profile.host}:{profile.admin_port}")


def _upstream(name: str, target: Target, profile: Profile) -> str:
    text = _UPSTREAM.format(name=name, url=_quoted(target.url))
    if not target.url.startswith("https://"):
        return text
    if not profile.verify:
        text += "    # whoever sits between can pretend to be the API\n    tls: {verify: false}\n"
    elif profile.ca:
        text += f"    tls: {{ca: {_quoted(profile.ca)}}}\n"
    return text


def _route(name: str, target: Target, upstream: str, profile: Profile) -> str:
    names = dict.fromkeys([*profile.cookies, *profile.remembered.get(target.authority, ())])
    return _ROUTE.format(
        name=name,
        path=_quoted(target.prefix),
        upstream=upstream,
        strip=f"    strip_prefix: {_quoted(target.prefix)}\n" if target.strips else "",
        # Browsers but Safari keep Secure cookies of http://localhost; without Secure all of them do.
        secure="drop" if profile.certificate is None else "keep",
        names=_list(names),
    )


def _is_insecure(text: str) -> bool:
    origin = parse_origin(text.replace("://*.", "://", 1).removesuffix(":*").encode("ascii", "replace"))
    return origin is not None and origin.scheme == b"http" and not is_loopback_host(origin.host)


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, items))}]"


def _quoted(text: str) -> str:
    """A scalar in double quotes, as YAML and JSON write it alike; a dollar sign is no reference."""
    return json.dumps(text).replace("$", "$$")
