"""Upstreams: from blocks and URLs of the file to values of the table.

Here:  each named upstream checked once, each URL of a route turned into one that is shared by its address.
Never: connections, resolving names.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from corsproxy.config import model
from corsproxy.config.addresses import is_url, parse_endpoint, parse_host
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.names import check_names
from corsproxy.config.problems import Path
from corsproxy.config.table import Endpoint, HealthCheck, Upstream
from corsproxy.config.tls import compile_upstream_tls
from corsproxy.config.words import did_you_mean, quoted

__all__ = ["Target", "Upstreams"]

_REQUEST_TARGET = re.compile(r"/[!$-~]*")  # what can stand in a request line; no fragment


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route leads: an upstream, and the path of its URL (b"" = none)."""

    upstream: Upstream
    base_path: bytes


@dataclass(slots=True)
class Upstreams:
    """The upstreams of one file."""

    config: model.Config
    findings: Findings
    written: frozenset[Path]
    _named: dict[str, Target | None] = field(default_factory=dict)
    _by_address: dict[str, Upstream] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _has_unknown: bool = False  # a name that leads nowhere may be the one that seems unused

    def compile_named(self) -> None:
        """Check every named upstream, used or not."""
        check_names(self.config.upstreams, ("upstreams",), self.findings)
        for name, upstream in self.config.upstreams.items():
            self._named[name] = self._named_target(name, upstream)

    def find(self, text: str, path: Path) -> Target | None:
        """The upstream that a route gives by name or URL; None when it cannot be used."""
        if is_url(text):
            return self._url_target(text, path)
        self._used.add(text)
        if text not in self._named:
            self._has_unknown = True
            if ("upstreams", text) not in self.written:
                self.findings.add(path, self._unknown(text))
        return self._named.get(text)

    def note_unused(self) -> None:
        """Warn about upstreams that no route leads to. Call it when all routes are compiled."""
        if self._has_unknown:
            return
        for name in self._named:
            if name not in self._used:
                mistake = Mistake(
                    "unused-upstream", "no route uses this upstream", "remove it, or use it", "warning"
                )
                self.findings.add(("upstreams", name), mistake, on_key=True)

    def _named_target(self, name: str, upstream: model.Upstream) -> Target | None:
        path: Path = ("upstreams", name)
        endpoints = self._endpoints(upstream.endpoints, (*path, "endpoints"))
        host = self._host(upstream.host, (*path, "host"))
        is_https = any(endpoint.scheme == "https" for endpoint, _ in endpoints)
        tls = compile_upstream_tls(upstream.tls, (*path, "tls"), self.findings, is_used=is_https)
        health = self._health(upstream.health, (*path, "health", "path"))
        if not endpoints or host is None:
            return None
        compiled = Upstream(
            name,
            tuple(endpoint for endpoint, _ in endpoints),
            host,
            upstream.max_connections,
            upstream.retries,
            upstream.balance,
            tls,
            health,
            upstream.origin,
        )
        return Target(compiled, endpoints[0][1])

    def _endpoints(self, urls: list[str], path: Path) -> list[tuple[Endpoint, bytes]]:
        """The endpoints with their base paths, which must be the same: the request's path is joined once."""
        if not urls:
            says = Mistake(
                "missing-key", "an upstream needs an endpoint", "endpoints: [http://127.0.0.1:9000]"
            )
            self.findings.add(path, says, on_parent=path not in self.findings.places)
        endpoints: list[tuple[Endpoint, bytes]] = []
        for at, url in enumerate(urls):
            endpoint = parse_endpoint(url)
            if isinstance(endpoint, Mistake):
                self.findings.add((*path, at), endpoint)
                continue
            if endpoints and endpoint[1] != endpoints[0][1]:
                says = Mistake(
                    "base-paths-differ", "the endpoints of one upstream have one path", "write the same path"
                )
                self.findings.add((*path, at), says)
            endpoints.append(endpoint)
        return endpoints

    def _health(self, health: model.Health, path: Path) -> HealthCheck | None:
        """The active checks; None without a path, or when it cannot be asked for."""
        if health.path is None:
            return None
        if not _REQUEST_TARGET.fullmatch(health.path):
            remedy = "write one such as /healthz, percent-encoded where it is not plain ASCII"
            self.findings.add(
                path, Mistake("bad-path", f"{quoted(health.path)} is no path to ask for", remedy)
            )
            return None
        return HealthCheck(
            health.path.encode("ascii"),
            health.interval,
            health.timeout,
            health.healthy_after,
            health.unhealthy_after,
        )

    def _host(self, text: str, path: Path) -> Literal["upstream", "preserve"] | bytes | None:
        match text:
            case "upstream" | "preserve":
                return text
            case _:
                return self._literal_host(text, path)

    def _literal_host(self, text: str, path: Path) -> bytes | None:
        endpoint = parse_endpoint(f"http://{text}")
        if not isinstance(endpoint, Mistake) and endpoint[1] == b"" and not text.endswith("/"):
            return text.lower().encode("ascii")
        host = parse_host(text)
        remedy = (
            did_you_mean(text, ("upstream", "preserve"))
            or "write upstream, preserve, or a name such as api.example.com"
        )
        message = host.message if isinstance(host, Mistake) else f"{quoted(text)} is no Host"
        self.findings.add(path, Mistake("bad-host", message, remedy))
        return None

    def _url_target(self, url: str, path: Path) -> Target | None:
        parsed = parse_endpoint(url)
        if isinstance(parsed, Mistake):
            self.findings.add(path, parsed)
            return None
        endpoint, base_path = parsed
        # Named by its address, so that routes with different base paths share the connections.
        name = str(endpoint)
        upstream = self._by_address.setdefault(name, Upstream(name, (endpoint,)))
        return Target(upstream, base_path)

    def _unknown(self, text: str) -> Mistake:
        if not isinstance(parse_endpoint(f"http://{text}"), Mistake) and (
            ":" in text or "." in text or "/" in text
        ):
            return Mistake(
                "unknown-upstream", f"{quoted(text)} is neither a name nor a URL", f"write http://{text}"
            )
        remedy = did_you_mean(text, self.config.upstreams) or "define it under `upstreams`, or write a URL"
        return Mistake("unknown-upstream", f"unknown upstream {quoted(text)}", remedy)
