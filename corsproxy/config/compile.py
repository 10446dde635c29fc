"""Text to table: the whole way from the configuration file to what serves requests.

Here:  `load_table`, and the order in which the parts are compiled. Every part notes all of its problems.
Never: files but the PEM files that the text names, the environment of the process, sockets.
"""

from collections.abc import Mapping

from corsproxy.config import model
from corsproxy.config.addresses import parse_listen, parse_network
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.load import Loaded, load
from corsproxy.config.loops import refuse_loops
from corsproxy.config.problems import Path, Problem
from corsproxy.config.routes import Routes
from corsproxy.config.support import refuse_unsupported
from corsproxy.config.table import Address, Drain, Limits, ListenTls, Log, Table, Timeouts
from corsproxy.config.tls import compile_listen_tls
from corsproxy.http.forwarded import Network

__all__ = ["load_table"]


def load_table(text: str, file: str, env: Mapping[str, str]) -> tuple[Table | None, list[Problem]]:
    """The table of a configuration file, and every problem in it, in file order.

    file: the name to show in problems; "-" = standard input.
    env: where `${NAME}` is looked up.
    The table is None exactly when one of the problems is an error. Whatever the text is, nothing is raised.
    """
    loaded = load(text, file, env)
    table = None if loaded.config is None else _compile(loaded.config, loaded)
    findings = loaded.findings
    return (None if findings.error_count else table), findings.problems()


def _compile(config: model.Config, loaded: Loaded) -> Table | None:
    """The table; None when it lacks a part, and then the findings say why."""
    findings = loaded.findings
    refuse_unsupported(config, findings)
    listen = _listen(config, findings)
    tls = _listen_tls(config, findings)
    admin = _admin(config, findings)
    trusted = _networks(config.trusted_proxies, findings)
    _check_apart(listen, admin, findings)
    refuse_loops(config, listen, admin, findings)
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
        log=Log(config.log.level, config.log.format, config.log.access),
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


def _admin(config: model.Config, findings: Findings) -> Address | None:
    return None if config.admin == "off" else _address(config.admin, ("admin",), findings)


def _address(text: str, path: Path, findings: Findings) -> Address | None:
    address = parse_listen(text)
    if isinstance(address, Mistake):
        findings.add(path, address)
        return None
    return address


def _check_apart(listen: Address | None, admin: Address | None, findings: Findings) -> None:
    if listen is None or listen != admin or (not listen.path and listen.port == 0):
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
