"""Routes: from the entries of the file to those of the table, in their order.

Here:  what each entry needs put together, and the rules between entries: names, and who is reached.
Never: how a request is matched (`proxy.routing`), how policies and upstreams are compiled.
"""

from dataclasses import replace

from corsproxy.config import model
from corsproxy.config.findings import Mistake
from corsproxy.config.load import Loaded
from corsproxy.config.matching import compile_match, compile_strip_prefix
from corsproxy.config.names import check_name
from corsproxy.config.overlap import HeaderRoutes, find_needless_hosts, find_taken_hosts
from corsproxy.config.policies import Policies
from corsproxy.config.problems import Path
from corsproxy.config.reach import Earlier
from corsproxy.config.rewriting import (
    compile_forwarded_cookies,
    compile_request_edits,
    compile_rewriting,
)
from corsproxy.config.table import Limits, Match, Route, Timeouts
from corsproxy.config.upstreams import Target, Upstreams
from corsproxy.config.words import quoted
from corsproxy.cors.policy import CorsPolicy

__all__ = ["Routes"]

_OFF = "off"


class Routes:
    """The routes of one file, compiled in one pass."""

    def __init__(self, loaded: Loaded, config: model.Config, timeouts: Timeouts, limits: Limits) -> None:
        self._config = config
        self._findings = loaded.findings
        self._timeouts = timeouts
        self._limits = limits
        self._policies = Policies(config, loaded.findings, loaded.written)
        self._upstreams = Upstreams(config, loaded.findings, loaded.written)
        self._names: dict[str, int] = {}
        self._earlier = Earlier()
        self._header_routes = HeaderRoutes()
        self.all_policies: list[CorsPolicy] = []  # named ones, then inline ones, each in file order

    def compile(self) -> list[Route]:
        """The routes that are whole; what is wrong with the others is noted."""
        self.all_policies += self._policies.compile_named()
        self._upstreams.compile_named()
        if not self._config.routes:
            says = Mistake(
                "missing-key", "there are no routes", "add `routes:` with at least an upstream and a policy"
            )
            self._findings.add(("routes",), says, on_parent=("routes",) not in self._findings.places)
        compiled = [self._route(at, entry) for at, entry in enumerate(self._config.routes)]
        self._policies.note_unused()
        self._upstreams.note_unused()
        return [route for route in compiled if route is not None]

    def _route(self, index: int, entry: model.Route) -> Route | None:
        path: Path = ("routes", index)
        before = self._findings.error_count
        name = self._name(entry, index)
        match = compile_match(entry.match, (*path, "match"), self._findings)
        self._check_reach(index, match)
        strip_prefix = compile_strip_prefix(
            entry.strip_prefix, match, (*path, "strip_prefix"), self._findings
        )
        target = self._target(entry, path)
        policy = self._policy(entry, name, path)
        request_edits = compile_request_edits(
            entry.request_headers, (*path, "request_headers"), self._findings
        )
        rewriting = compile_rewriting(
            entry,
            path,
            self._findings,
            upstream=None if target is None else target.upstream,
            base_path=b"" if target is None else target.base_path,
            prefix=strip_prefix,
            owned=frozenset() if policy is None else policy.owned_fields,
        )
        forwarded_cookies = compile_forwarded_cookies(
            entry.cookies,
            (*path, "cookies"),
            self._findings,
            workers=0 if self._config.workers == "auto" else self._config.workers,
        )
        if self._findings.error_count > before or match is None or target is None:
            return None
        self._check_preflights(index, match, policy)
        return Route(
            name=name,
            index=index,
            line=self._findings.line(path),
            match=match,
            upstream=target.upstream,
            base_path=target.base_path,
            strip_prefix=strip_prefix,
            policy=policy,
            timeouts=replace(self._timeouts, **entry.timeouts.model_dump(exclude_none=True)),
            limits=replace(self._limits, **entry.limits.model_dump(exclude_none=True)),
            websocket=entry.websocket,
            request_edits=request_edits,
            rewriting=rewriting,
            forwarded_cookies=forwarded_cookies,
        )

    def _name(self, entry: model.Route, index: int) -> str:
        name = entry.name if entry.name is not None else f"route-{index + 1}"
        path: Path = ("routes", index, "name")
        mistake = check_name(name)
        if mistake is not None:
            self._findings.add(path, mistake)
        first = self._names.setdefault(name, index)
        if first != index:
            line = self._findings.line(("routes", first))
            says = f"the name {quoted(name)} belongs to routes[{first}] already (line {line})"
            self._findings.add(path, Mistake("duplicate-name", says, "give each route a name of its own"))
        return name

    def _check_reach(self, index: int, match: Match | None) -> None:
        path: Path = ("routes", index)
        if match is None or self._findings.is_broken((*path, "match")):
            return
        cover = self._earlier.find_cover(match)
        if cover is not None:
            line = self._findings.line(("routes", cover))
            says = f"can never be reached: routes[{cover}] (line {line}) takes every request that it matches"
            remedy = f"move it above routes[{cover}], or let its match differ"
            self._findings.add(path, Mistake("unreachable-route", says, remedy))
        else:
            self._check_hosts(match, (*path, "match", "hosts"))
        self._earlier.add(index, match)

    def _check_hosts(self, match: Match, path: Path) -> None:
        for at, mistake in find_needless_hosts(match.hosts):
            self._findings.add((*path, at), mistake)
        for at, taker in find_taken_hosts(match, self._earlier):
            line = self._findings.line(("routes", taker))
            says = f"this host never reaches the route: routes[{taker}] (line {line}) takes all its requests"
            self._findings.add((*path, at), Mistake("host-taken", says, "remove it here or there", "warning"))

    def _check_preflights(self, index: int, match: Match, policy: CorsPolicy | None) -> None:
        found = self._header_routes.find_taker(match, policy)
        if found is not None:
            taker, mistake = found
            line = self._findings.line(("routes", taker))
            says = f"preflights go to routes[{taker}] (line {line}): {mistake.message}"
            self._findings.add(("routes", index), replace(mistake, message=says))
        self._header_routes.add(index, match, policy)

    def _target(self, entry: model.Route, path: Path) -> Target | None:
        where: Path = (*path, "upstream")
        if entry.upstream:
            return self._upstreams.find(entry.upstream, where)
        says = Mistake("missing-key", "a route needs an upstream", "upstream: http://127.0.0.1:9000")
        self._findings.add(where, says, on_parent=where not in self._findings.places)
        return None

    def _policy(self, entry: model.Route, name: str, path: Path) -> CorsPolicy | None:
        """The policy that applies; None for `off`, and for one with errors, which are noted."""
        where: Path = (*path, "cors")
        if isinstance(entry.cors, model.Policy):
            policy = self._policies.inline(f"route {name}", entry.cors, where)
            self.all_policies += [policy] if policy is not None else []
            return policy
        if entry.cors == _OFF:
            return None
        if entry.cors:
            return self._policies.named(entry.cors, where)
        says = Mistake("missing-key", "a route needs a policy", "cors: a policy's name, a policy, or off")
        self._findings.add(where, says, on_parent=where not in self._findings.places)
        return None
