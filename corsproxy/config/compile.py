"""Text to table: the whole way from the configuration file to what serves requests.

Here:  `load_table`, and the order in which the parts are compiled. Every part notes all of its problems.
Never: files but the PEM files that the text names, the environment of the process, sockets.
"""

import re
from collections.abc import Mapping

from corsproxy.config import model
from corsproxy.config.addresses import parse_listen, parse_network
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.load import Loaded, load
from corsproxy.config.loops import refuse_loops
from corsproxy.config.overrides import NO_OVERRIDES, Overrides
from corsproxy.config.problems import Path, Problem
from corsproxy.config.routes import Routes
from corsproxy.config.table import (
    Address,
    AdminListener,
    Drain,
    Limits,
    ListenTls,
    Log,
    Table,
    Timeouts,
)
from corsproxy.config.tls import compile_listen_tls
from corsproxy.http.forwarded import Network

__all__ = ["load_table"]


def load_table(
    text: str, file: str, env: Mapping[str, str], overrides: Overrides = NO_OVERRIDES
) -> tuple[Table | None, list[Problem]]:
    """The table of a configuration file, and every problem in it, in file order.

    file: the name to show in problems; "-" = standard input.
    env: where `${NAME}` is looked up.
    overrides: what serves instead of the file's, and is checked instead of it.
    The table is None exactly when one of the problems is an error. Whatever the text is, nothing is raised.
    """
    loaded = load(text, file, env)
    table = None if loaded.config is None else _compile(loaded.config, loaded, overrides)
    findings = loaded.findings
    return (None if findings.error_count else table), findings.problems()


def _compile(config: model.Config, loaded: Loaded, overrides: Overrides) -> Table | None:
    """The table; None when it lacks a part, and then the findings say why."""
    findings = loaded.findings
    in_file = _listen(config, findings)
    listen = overrides.listen or in_file
    tls = _listen_tls(config, findings)
    admin = overrides.admin_for(_admin(config, findings))
    trusted = _networks(config.trusted_proxies, findings)
    _check_apart(listen, admin, findings)
    refuse_loops(config, listen, None if admin is None else admin.address, findings)
    timeouts = Timeouts(**config.timeouts.model_dump())
    limits = Limits(**config.limits.model_dump())
    routes = Routes(loaded, config, timeouts, limits)
    compiled = routes.compile()
    if listen is None:
        return None
    return Table(
        routes=tuple(compiled),
        policies=tuple(routes.all_policies),
        listen=listen,
        tls=tls,
        admin=admin,
        workers=overrides.workers_for(0 if config.workers == "auto" else config.workers),
        log=overrides.log_for(Log(**config.log.model_dump())),
        drain=Drain(config.drain.delay, config.drain.timeout),
        timeouts=timeouts,
        limits=limits,
        trusted_proxies=trusted,
        file=findings.file,
    )


def _listen(config: model.Config, findings: Findings) -> Address | None:
    if isinstance(config.listen, str):
        return _address(config.listen, ("listen",), findings)
    return _address(config.listen.address, ("listen", "address"), findings)


def _listen_tls(config: model.Config, findings: Findings) -> ListenTls | None:
    if isinstance(config.listen, str) or config.listen.tls is None:
        return None
    return compile_listen_tls(config.listen.tls, ("listen", "tls"), findings)


def _admin(config: model.Config, findings: Findings) -> AdminListener | None:
    if config.admin == "off":
        return None
    if isinstance(config.admin, str):
        address = _address(config.admin, ("admin",), findings)
        return None if address is None else AdminListener(address)
    return _admin_block(config.admin, config.workers, findings)


def _admin_block(block: model.Admin, workers: int | str, findings: Findings) -> AdminListener | None:
    address = _address(block.address, ("admin", "address"), findings)
    token = block.token or ""
    if block.token is not None and not _TOKEN.fullmatch(token):
        findings.add(("admin", "token"), _BAD_TOKEN)
    if block.inspector and not token:
        findings.add(("admin", "inspector"), _NO_TOKEN, on_key=True)
    if block.inspector and workers != 1:
        findings.add(("admin", "inspector"), _MANY_WORKERS, on_key=True)
    if address is None:
        return None
    hosts = tuple(host.lower() for host in block.hosts)
    return AdminListener(address, token, block.inspector, block.ready_needs_upstream, hosts)


# What may stand in an Authorization field (RFC 6750 §2.1), and is worth guessing at no rate.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*", re.ASCII)
_BAD_TOKEN = Mistake(
    "bad-token",
    "this is no token that can be sent as `Authorization: Bearer`, or it is too short",
    "16 or more of A-Z a-z 0-9 . _ ~ + / -: openssl rand -hex 16 makes one",
)
_NO_TOKEN = Mistake(
    "inspector-without-token",
    "the inspector shows every exchange, so whoever opens it must show a token",
    "write token: ${ADMIN_TOKEN} beside it, with 16 characters or more in that variable",
)


_MANY_WORKERS = Mistake(
    "inspector-with-workers",
    "the inspector looks at one process, and `workers` asks for more",
    "write workers: 1, or inspector: false",
)


def _address(text: str, path: Path, findings: Findings) -> Address | None:
    address = parse_listen(text)
    if isinstance(address, Mistake):
        findings.add(path, address)
        return None
    return address


def _check_apart(listen: Address | None, admin: AdminListener | None, findings: Findings) -> None:
    if listen is None or admin is None or listen != admin.address or (not listen.path and listen.port == 0):
        return
    path: Path = ("admin",) if ("admin",) in findings.places else ("listen",)
    says = Mistake(
        "address-taken", f"`listen` and `admin` are both {listen}", "give one of them another port"
    )
    findings.add(path, says)


def _networks(texts: list[str], findings: Findings) -> tuple[Network, ...]:
    networks: list[Network] = []
    for at, text in enumerate(texts):
        found = parse_network(text)
        if isinstance(found, Mistake):
            findings.add(("trusted_proxies", at), found)
        else:
            networks.extend(found)
    return tuple(networks)
