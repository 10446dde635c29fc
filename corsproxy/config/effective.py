"""What a configuration comes to: every default filled in, every group, preset and `extends` written out.

Here:  a text as the plain document that means the same, fit to be shown: what may be secret is masked, and
       what comes from the environment stands as its reference.
Never: checking; `load_table` has found the text free of errors before anybody asks for this.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from corsproxy.config.compile import load_table
from corsproxy.config.findings import Findings
from corsproxy.config.load import load
from corsproxy.config.model import Config, HeaderEdits, Limits, Match, Policy, Route, Settings, Timeouts
from corsproxy.config.presets import expand_preset
from corsproxy.config.problems import Path
from corsproxy.config.scalars import resolve, trap_in
from corsproxy.config.shape import keys_of
from corsproxy.config.table import AdminListener, Table
from corsproxy.config.units import duration_text, parse_duration, size_text
from corsproxy.config.values import Kind
from corsproxy.config.words import is_secret_name

__all__ = ["MASK", "effective", "effective_yaml"]

MASK = "***"

Document = dict[str, Any]
"""A mapping as YAML and JSON write it. Any: values of either are open by nature."""


class _Reference(str):
    """Text as it was written, with what it takes from the environment; any other text is a value."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes what our reader takes for the same: it knows traps that PyYAML does not."""


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_safe = trap_in(text) is None and isinstance(resolve(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_safe else "'")


def _write_number(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    """Without an exponent, which our reader takes for text. There is no infinity in a configuration."""
    return dumper.represent_scalar("tag:yaml.org,2002:float", f"{Decimal(repr(number)):f}")


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(float, _write_number)


def effective_yaml(text: str, file: str, env: Mapping[str, str], serves: Table | None = None) -> str:
    """The effective configuration as YAML. The arguments are those of `effective`."""
    document = effective(text, file, env, serves)
    written: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
    return written


def effective(text: str, file: str, env: Mapping[str, str], serves: Table | None = None) -> Document:
    """The effective configuration as a document. Raises ValueError for a text that does not load at all.

    text, file, env: as for `load_table`. serves: what came of it, where the command line says something else
    or a key keeps its old value until the next start.
    """
    loaded = load(text, file, env)
    if loaded.config is None:
        raise ValueError(f"{file} holds no configuration")
    document = _Writer(loaded.config, loaded.findings).config_block()
    if serves is not None:
        _put_what_serves(document, load_table(text, file, env)[0], serves)
    return {key: _as_written(value) for key, value in document.items()}


def _as_written(value: object) -> object:
    """A value, or what holds some, as the file has to say it: `$$` stands for a dollar sign there."""
    if isinstance(value, dict):
        return {name: _as_written(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if not isinstance(value, str) or isinstance(value, _Reference):
        return str(value) if isinstance(value, str) else value
    # A dollar before anything else stands for itself: regular expressions end in one.
    return value.replace("$", "$$") if "$$" in value or "${" in value else value


def _put_what_serves(document: Document, written: Table | None, serves: Table) -> None:
    """Write what serves in place of what does not. written: the table of the text alone; None = it has none,
    as its own addresses would be a mistake.
    """
    if written is None or (written.listen, written.tls) != (serves.listen, serves.tls):
        address = str(serves.listen)
        tls = {} if serves.tls is None else {key: path for key, path in asdict(serves.tls).items() if path}
        document["listen"] = {"address": address, "tls": tls} if tls else address
    if written is None or written.admin != serves.admin:
        document["admin"] = "off" if serves.admin is None else _admin_block(serves.admin)
    if written is None or written.workers != serves.workers:
        document["workers"] = serves.workers or "auto"
    document["log"]["format"] = serves.log.format


def _admin_block(admin: AdminListener) -> Document:
    block = {**asdict(admin), "address": str(admin.address), "hosts": list(admin.hosts)}
    return {**block, "token": MASK} if admin.token else {key: block[key] for key in block if key != "token"}


@dataclass(frozen=True, slots=True)
class _Writer:
    """One document being written."""

    config: Config
    findings: Findings

    def config_block(self) -> Document:
        document = self._block(self.config, ())
        # They stand where they were used, but for those that only the environment names.
        named = self._groups_from_the_environment()
        document["origins"] = {name: group for name, group in document["origins"].items() if name in named}
        document["policies"] = {
            name: self._policy(policy, ("policies", name)) for name, policy in self.config.policies.items()
        }
        document["routes"] = [self._route(route, at) for at, route in enumerate(self.config.routes)]
        return {key: value for key, value in document.items() if value != {}}

    def _groups_from_the_environment(self) -> set[str]:
        """The groups that a policy names by a reference, which stays one."""
        policies: list[tuple[Path, Policy]] = [
            (("policies", name), policy) for name, policy in self.config.policies.items()
        ]
        for at, route in enumerate(self.config.routes):
            if isinstance(route.cors, Policy):
                policies.append((("routes", at, "cors"), route.cors))
        return {
            entry[1:]
            for path, policy in policies
            for at, entry in enumerate(policy.allow_origins)
            if entry.startswith("@") and self._reference((*path, "allow_origins", at))
        }

    def _block(self, block: Settings, path: Path) -> Document:
        """Every key that has a value. A key without one means what its absence means."""
        values = {
            key: self._value(getattr(block, key), field, (*path, key))
            for key, field in keys_of(type(block)).items()
        }
        return {key: value for key, value in values.items() if value is not None}

    def _value(self, value: object, field: FieldInfo, path: Path) -> object:
        if isinstance(value, HeaderEdits):
            return self._edits(value, path)
        if isinstance(value, Match):
            return self._match(value, path)
        if isinstance(value, Settings):
            return self._block(value, path)
        if isinstance(value, dict):
            return {name: self._value(item, field, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, field, (*path, at)) for at, item in enumerate(value)]
        return self._scalar(value, field, path)

    def _scalar(self, value: object, field: FieldInfo, path: Path) -> object:
        reference = self._reference(path)
        if reference or value is None:
            return reference or None
        if path == ("admin", "token"):
            return MASK
        if path[-2:] == ("health", "path"):
            path_alone, mark, _ = str(value).partition("?")
            return path_alone + mark + MASK if mark else value
        return _spelled(value, _kind(field))

    def _reference(self, path: Path) -> str:
        """The scalar as it was written, when it refers to the environment; "" when it does not."""
        place = self.findings.places.get(path)
        text = place.text if place else None
        return _Reference(text) if text and "${" in text else ""

    def _edits(self, edits: HeaderEdits, path: Path) -> Document:
        masked = {kind: self._pairs(getattr(edits, kind), (*path, kind)) for kind in ("set", "add")}
        return {**masked, "remove": list(edits.remove)}

    def _match(self, match: Match, path: Path) -> Document:
        written = {match.path, match.path_exact, match.path_regex} - {None}
        path_key = {} if written else {"path": "/"}
        headers = self._pairs(match.headers, (*path, "headers"))
        return {**path_key, **self._block(match, path), "headers": headers}

    def _pairs(self, pairs: Mapping[str, str], path: Path) -> dict[str, str]:
        """Header values, without those of names that carry secrets."""
        return {
            name: self._reference((*path, name)) or (MASK if is_secret_name(name) else str(value))
            for name, value in pairs.items()
        }

    # Routes and policies

    def _route(self, route: Route, at: int) -> Document:
        path: Path = ("routes", at)
        document = {"name": f"route-{at + 1}", **self._block(route, path)}
        for key, common in (("timeouts", self.config.timeouts), ("limits", self.config.limits)):
            document[key] = {**self._shared(common, getattr(route, key)), **document[key]}
        if isinstance(route.cors, Policy):
            document["cors"] = self._policy(route.cors, (*path, "cors"))
        return document

    def _shared(self, common: Timeouts | Limits, of_route: Settings) -> Document:
        """What a route takes over from the top level."""
        whole = self._block(common, ("timeouts" if isinstance(common, Timeouts) else "limits",))
        return {key: whole[key] for key in keys_of(type(of_route))}

    def _policy(self, policy: Policy, path: Path) -> Document:
        """A policy with what it copies, its groups and its presets."""
        document: Document = {}
        for key, field in keys_of(Policy).items():
            layers = self._layers(policy, path)
            layer, where = next((each for each in layers if key in each[0].model_fields_set), (policy, path))
            value = self._value(getattr(layer, key), field, (*where, key))
            if value is not None and key != "extends":
                document[key] = list(self._expanded(value, key)) if isinstance(value, list) else value
        return document

    def _layers(self, policy: Policy, path: Path) -> Iterator[tuple[Policy, Path]]:
        """The policy and those it copies, nearest first. There is no cycle: the text has been checked."""
        yield policy, path
        while policy.extends is not None:
            path = ("policies", policy.extends)
            policy = self.config.policies[policy.extends]
            yield policy, path

    def _expanded(self, entries: list[str], key: str) -> Iterator[str]:
        seen: set[str] = set()
        for entry in entries:
            name = entry[1:] if entry.startswith("@") and not isinstance(entry, _Reference) else ""
            names: object = (entry,)
            if name and key == "allow_origins":
                names = self.config.origins.get(name, (entry,))
            elif name and key in {"allow_headers", "expose_headers"}:
                names = expand_preset(name, key)
            for each in names if isinstance(names, tuple | list) else ():
                if each not in seen:
                    seen.add(each)
                    yield each


def _kind(field: FieldInfo) -> str:
    """What the reference page calls the type of a key; "" for plain types."""
    return next((item.words for item in _kinds(field)), "")


def _kinds(field: FieldInfo) -> Iterator[Kind]:
    yield from (item for item in field.metadata if isinstance(item, Kind))
    for option in get_args(field.annotation):  # `Duration | None`
        if get_origin(option) is Annotated:
            yield from (item for item in get_args(option) if isinstance(item, Kind))


def _spelled(value: object, kind: str) -> object:
    """A value as people write it, where that says exactly the same."""
    if isinstance(value, float) and kind == "duration":
        text = duration_text(value)
        return text if parse_duration(text) == value else value
    if isinstance(value, int) and not isinstance(value, bool) and kind.startswith("size"):
        text = size_text(value)
        return value if text.isdigit() else text
    return str(value) if isinstance(value, str) else value
