"""Policies: from blocks of the file to what decides about requests.

Here:  `extends` and "@group" resolved, and each policy compiled and checked once, wherever it is used.
Never: CORS rules (`cors.compile` knows them), routes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.model import Config, Policy
from corsproxy.config.names import check_names
from corsproxy.config.presets import expand_preset
from corsproxy.config.problems import Path, path_text
from corsproxy.config.words import did_you_mean, quoted
from corsproxy.cors.compile import compile_policy
from corsproxy.cors.hazards import Hazard
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written

__all__ = ["Policies"]

_LISTS = ("allow_origins", "allow_origin_regex", "allow_methods", "allow_headers", "expose_headers")
_HEADER_LISTS = ("allow_headers", "expose_headers")
_LONGEST_CHAIN = 16  # of policies that copy one another: beyond that nobody sees what holds
_BUILT_IN_GROUPS = ("loopback",)  # `cors.compile` expands it


@dataclass(frozen=True, slots=True)
class _Layer:
    """A policy block and where it stands."""

    policy: Policy
    path: Path


@dataclass(slots=True)
class Policies:
    """The policies of one file, compiled as they are asked for."""

    config: Config
    findings: Findings
    written: frozenset[Path]  # names that were written count as known, even when their block was broken
    used: set[str] = field(default_factory=set)
    _used_groups: set[str] = field(default_factory=set)
    _cyclic: set[str] = field(default_factory=set)
    _has_unknown: bool = False  # a name that leads nowhere may be the one that seems unused
    _named: dict[str, CorsPolicy | None] = field(default_factory=dict)

    def compile_named(self) -> list[CorsPolicy]:
        """Every named policy, in file order; those with errors are left out, and noted."""
        check_names(self.config.origins, ("origins",), self.findings)
        check_names(self.config.policies, ("policies",), self.findings)
        self._check_groups()
        for name, policy in self.config.policies.items():
            self._named[name] = self._compile(name, _Layer(policy, ("policies", name)))
        return [policy for policy in self._named.values() if policy is not None]

    def named(self, name: str, path: Path) -> CorsPolicy | None:
        """The policy a route names; None when there is none, or it has errors."""
        self.used.add(name)
        if name not in self._named:
            self._unknown_policy(name, path, (*self.config.policies, "off"))
        return self._named.get(name)

    def inline(self, name: str, policy: Policy, path: Path) -> CorsPolicy | None:
        """A policy written in place; None when it has errors."""
        return self._compile(name, _Layer(policy, path))

    def note_unused(self) -> None:
        """Warn about policies and groups that nothing uses. Call it when all routes are compiled."""
        unused = [name for name in self.config.origins if name not in (*self._used_groups, *_BUILT_IN_GROUPS)]
        for name in unused:
            self._check_unused_group(name)
        if self._has_unknown:
            return
        for name in self.config.policies:
            if name not in self.used:
                mistake = Mistake(
                    "unused-policy", "no route uses this policy", "remove it, or use it", "warning"
                )
                self.findings.add(("policies", name), mistake, on_key=True)
        for name in unused:
            mistake = Mistake(
                "unused-origins", "no policy uses this group", f"use it as '@{name}'", "warning"
            )
            self.findings.add(("origins", name), mistake, on_key=True)

    def _check_groups(self) -> None:
        for name, entries in self.config.origins.items():
            path: Path = ("origins", name)
            if name in _BUILT_IN_GROUPS:
                says = Mistake("reserved-name", f"the group '@{name}' is built in", "choose another name")
                self.findings.add(path, says, on_key=True)
            for at, entry in enumerate(entries):
                if entry.startswith("@"):
                    says = Mistake(
                        "nested-group", "a group cannot hold another group", "list the origins here"
                    )
                    self.findings.add((*path, at), says)

    def _check_unused_group(self, name: str) -> None:
        """Compile a policy of these origins alone, for what it says about them."""
        spec = PolicySpec(name, allow_origins=tuple(self._group(name)))
        self._note_hazards(compile_policy(spec)[1], ("origins", name))

    def _compile(self, name: str, layer: _Layer) -> CorsPolicy | None:
        chain, is_whole = self._layers(layer)
        spec = PolicySpec(name, where=layer.path, line=self.findings.line(layer.path), **self._merged(chain))
        policy, hazards = compile_policy(spec)
        if not is_whole:  # what is there can be wrong; what is not may come from where the chain should lead
            policy, hazards = None, [hazard for hazard in hazards if hazard.severity == "error"]
        self._note_hazards(hazards, layer.path)
        return policy

    def _layers(self, layer: _Layer) -> tuple[list[_Layer], bool]:
        """The block and those it copies, nearest first, and whether these are all: a chain may be broken."""
        chain = [layer]
        while (parent := chain[-1].policy.extends) is not None:
            path: Path = (*chain[-1].path, "extends")
            self.used.add(parent)
            above: Path = ("policies", parent)
            if parent not in self.config.policies:
                self._unknown_policy(parent, path, self.config.policies)
                return chain, False
            if any(above == seen.path for seen in chain):
                names = " → ".join(str(seen.path[-1]) for seen in chain if seen.path[0] == "policies")
                if not self._noted_cycle(chain):
                    says = Mistake(
                        "extends-cycle",
                        f"policies copy each other: {names} → {parent}",
                        "remove one `extends`",
                    )
                    self.findings.add(path, says)
                return chain, False
            if len(chain) == _LONGEST_CHAIN:
                says = Mistake(
                    "extends-too-deep",
                    f"more than {_LONGEST_CHAIN} policies copy one another in a row",
                    "copy a policy nearer to the first",
                )
                self.findings.add(path, says)
                return chain, False
            chain.append(_Layer(self.config.policies[parent], above))
        return chain, True

    def _noted_cycle(self, chain: list[_Layer]) -> bool:
        """True when one of these policies was named in a cycle before: it is one mistake, not several."""
        names = {str(layer.path[-1]) for layer in chain}
        noted = bool(names & self._cyclic)
        self._cyclic |= names
        return noted

    def _merged(self, chain: list[_Layer]) -> dict[str, Any]:  # Any: arguments of PolicySpec
        """The keys of a chain of blocks; the nearest block that has a key gives it."""
        values: dict[str, Any] = {}
        for layer in reversed(chain):
            for key in layer.policy.model_fields_set - {"extends"}:
                values[key] = self._value(layer, key)
        return values

    def _value(self, layer: _Layer, key: str) -> object:
        value: object = getattr(layer.policy, key)
        if key == "max_age":
            return self._whole_seconds(layer, value)
        if key not in _LISTS or not isinstance(value, list):
            return value
        entries = self._entries(value, (*layer.path, key))
        if key == "allow_origins":
            entries = self._with_groups(entries)
        elif key in _HEADER_LISTS:
            entries = self._with_presets(entries, key)
        return tuple(entries)

    def _whole_seconds(self, layer: _Layer, value: object) -> int | None:
        if not isinstance(value, float):
            return None
        if value != int(value):
            says = Mistake(
                "out-of-range",
                "Access-Control-Max-Age is written in whole seconds",
                f"write {math.ceil(value)}s",
            )
            self.findings.add((*layer.path, "max_age"), says)
        return int(value)

    def _entries(self, texts: list[str], path: Path) -> list[Written]:
        """The entries of a list with their places; broken ones are left out. A lone "*" stands at the key."""
        entries = []
        for at, text in enumerate(texts):
            where: Path = (*path, at) if (*path, at) in self.findings.places else path
            if not self.findings.is_broken(where):
                entries.append(Written(text, where, self.findings.place(where).value.line))
        return entries

    def _with_groups(self, entries: list[Written]) -> list[Written]:
        """The entries with each "@group" replaced by what is in it."""
        expanded = []
        for entry in entries:
            name = entry.text.removeprefix("@")
            if name == entry.text or name in _BUILT_IN_GROUPS:
                expanded.append(entry)
            elif name in self.config.origins:
                self._used_groups.add(name)
                expanded += self._group(name)
            elif ("origins", name) not in self.written:
                self._unknown_group(name, entry.where)
        return expanded

    def _with_presets(self, entries: list[Written], key: str) -> list[Written]:
        """The entries with each "@preset" replaced by its names, but for those that are listed besides."""
        seen = {entry.text.lower() for entry in entries}
        expanded = []
        for entry in entries:
            names = expand_preset(entry.text[1:], key) if entry.text.startswith("@") else (entry.text,)
            if isinstance(names, Mistake):
                self.findings.add(entry.where, names)
                self.findings.break_off(entry.where)
            elif names == (entry.text,):
                expanded.append(entry)
            else:
                fresh = [name for name in names if name.lower() not in seen]
                seen.update(name.lower() for name in fresh)
                expanded += [Written(name, entry.where, entry.line) for name in fresh]
        return expanded

    def _group(self, name: str) -> list[Written]:
        entries = self._entries(self.config.origins[name], ("origins", name))
        return [entry for entry in entries if not entry.text.startswith("@")]

    def _note_hazards(self, hazards: list[Hazard], user: Path) -> None:
        for hazard in hazards:
            message = hazard.message
            if hazard.where[: len(user)] != user:  # it stands in a group, or in a policy that this one copies
                message += f"; used in {path_text(user)}"
            self.findings.add(hazard.where, Mistake(hazard.code, message, hazard.remedy, hazard.severity))

    def _unknown_policy(self, name: str, path: Path, known: Iterable[str]) -> None:
        self._has_unknown = True
        if ("policies", name) not in self.written:
            self.findings.add(path, _unknown("policy", name, known, "`policies`"))

    def _unknown_group(self, name: str, path: Path) -> None:
        self._has_unknown = True
        known = (*self.config.origins, *_BUILT_IN_GROUPS)
        near = did_you_mean(name, known).replace("'", "'@", 1)
        remedy = near or "define it under `origins`"
        self.findings.add(path, Mistake("unknown-group", f"unknown group {quoted('@' + name)}", remedy))
        self.findings.break_off(path)


def _unknown(noun: str, name: str, known: Iterable[str], home: str) -> Mistake:
    return Mistake(
        f"unknown-{noun}",
        f"unknown {noun} {quoted(name)}",
        did_you_mean(name, known) or f"define it under {home}",
    )
