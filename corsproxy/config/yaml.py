"""YAML text to plain data, with the place of every value.

Here:  a reader over PyYAML's parse events that knows where each key and value stands, and names the traps of
       YAML. It stops at the first fault of syntax, but repairs the most common one: an unquoted `*` or `@`.
Never: tags, anchors, aliases and merge keys (they are refused); environment variables; knowledge of keys.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

import yaml

from corsproxy.config.findings import Findings, Mark, Mistake, Place
from corsproxy.config.problems import Path
from corsproxy.config.scalars import resolve, trap_in
from corsproxy.config.syntax import MAX_DEPTH, TOO_DEEP, explain, place_of, unquoted_at
from corsproxy.config.words import quoted

__all__ = ["MAX_BYTES", "Value", "read_yaml"]

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

MAX_BYTES = 1024 * 1024
_MAX_REPAIRS = 20

# libyaml reads ten times as fast; the pure reader gives the same events.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.1 §4.1, c-printable, without the byte order mark in mid-text.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# What PyYAML raises; the pure reader also lets ValueError and OverflowError of absurd escapes through.
_UNREADABLE = (yaml.YAMLError, ValueError, OverflowError)


class _GiveUp(Exception):  # noqa: N818 - not an error: the problem is noted already
    """The rest of the document cannot be read."""


def read_yaml(text: str, findings: Findings) -> dict[str, Value] | None:
    """The document as plain data; None when it cannot be read, and then the findings say why."""
    text = text.removeprefix("\ufeff") if _byte_order_mark(text, findings) else text
    stands_for: dict[str, str] = {}
    if not _is_text(text, findings):
        return None
    for _ in range(_MAX_REPAIRS + 1):
        attempt = Findings(findings.file)
        try:
            data = _Reader(text, attempt, stands_for).document()
        except _GiveUp:
            data = None
        except _UNREADABLE as error:
            at = unquoted_at(text, error)
            if at is not None and len(stands_for) < _MAX_REPAIRS:
                text = _repair(text, at, stands_for)
                continue
            attempt.add_at(place_of(error), (), explain(text, error))
            data = None
        break
    findings.adopt(attempt)
    return data


def _repair(text: str, at: int, stands_for: dict[str, str]) -> str:
    """The text with one character that cannot start a value replaced by one that can; positions stay."""
    stand_in = next(c for c in map(chr, range(0xE000, 0xF8FF)) if c not in text and c not in stands_for)
    stands_for[stand_in] = text[at]
    return text[:at] + stand_in + text[at + 1 :]


def _byte_order_mark(text: str, findings: Findings) -> bool:
    if not text.startswith("\ufeff"):
        return False
    mistake = Mistake(
        "yaml-byte-order-mark",
        "the file starts with a byte order mark",
        "save it as UTF-8 without one; other tools may refuse it",
        "warning",
    )
    findings.add_at(Mark(1, 1), (), mistake)
    return True


def _is_text(text: str, findings: Findings) -> bool:
    """True when the characters are ones that YAML knows. Undecodable bytes arrive as surrogates (PEP 383)."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        mistake = Mistake("file-too-big", "the file is longer than 1 MiB", "is it the right file?")
        findings.add_at(Mark(1, 1), (), mistake)
        return False
    bad = _UNPRINTABLE.search(text)
    if bad is None:
        return True
    before = text[: bad.start()]
    mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
    code = ord(bad[0])
    if 0xDC80 <= code <= 0xDCFF:
        says = Mistake(
            "yaml-not-utf-8", f"byte 0x{code - 0xDC00:02x} is not UTF-8 text", "save the file as UTF-8"
        )
    else:
        says = Mistake("yaml-control-character", f"character U+{code:04X} cannot stand in YAML", "remove it")
    findings.add_at(mark, (), says)
    return False


class _Reader:
    """One pass over the events of one document."""

    def __init__(self, text: str, findings: Findings, stands_for: dict[str, str]) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._findings = findings
        self._stands_for = stands_for

    def document(self) -> dict[str, Value]:
        """The only document of the stream; it must be a mapping."""
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise self._stop(Mark(1, 1), (), _EMPTY)
        root = next(self._events)
        data = self._node(root, ())
        next(self._events)  # the end of the document
        after = next(self._events)
        if data is None:
            raise self._stop(Mark(1, 1), (), _EMPTY)
        if not isinstance(data, dict):
            raise self._stop(_mark(root), (), _NOT_A_MAPPING)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._stop(_mark(after), (), _SEVERAL_DOCUMENTS)
        return data

    def _stop(self, mark: Mark, path: Path, mistake: Mistake) -> _GiveUp:
        self._findings.add_at(mark, path, mistake)
        return _GiveUp()

    def _node(self, event: yaml.Event, path: Path, key: Mark | None = None) -> Value:
        """The value that starts with this event. Depth is bounded, so recursion is."""
        mark = _mark(event)
        if len(path) > MAX_DEPTH:
            raise self._stop(mark, path[:8], TOO_DEEP)
        self._findings.places[path] = Place(mark, key)
        self._refuse_extras(event, path)
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event, path, key)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case _:  # an alias, noted already
                self._findings.break_off(path)
                return None

    def _refuse_extras(self, event: yaml.Event, path: Path) -> None:
        """Anchors, aliases and tags: each is a way for the file to mean something other than it shows."""
        anchor = getattr(event, "anchor", None)
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            remedy = (
                f"quote it if the star is meant: '*{anchor}'; to share keys use `extends` or an origin group"
            )
            mistake = Mistake("yaml-alias", f"*{anchor} is an alias, which is not used here", remedy)
            self._findings.add(path, mistake)
        elif anchor is not None:
            remedy = f"quote it if it is text: '&{anchor}'; to share keys use `extends` or an origin group"
            self._findings.add(
                path, Mistake("yaml-anchor", f"&{anchor} is an anchor, which is not used here", remedy)
            )
        if tag is not None:
            name = str(tag).replace("tag:yaml.org,2002:", "!!")
            says = Mistake("yaml-tag", f"{quoted(name)} is a tag, which is not used here", "remove it")
            self._findings.add(path, says)
            self._findings.break_off(path)

    def _scalar(self, event: yaml.ScalarEvent, path: Path, key: Mark | None) -> Value:
        text = self._written(event, path)
        plain = not event.style and text == event.value
        self._findings.places[path] = Place(_mark(event), key, text, plain)
        if not plain:
            return text
        trap = trap_in(text)
        if trap is None:
            return resolve(text)
        self._findings.add(path, trap)
        self._findings.break_off(path)
        return text

    def _written(self, event: yaml.ScalarEvent, path: Path) -> str:
        """The text of a scalar, with repaired characters back in place."""
        text = str(event.value)
        for stand_in, character in self._stands_for.items():
            if stand_in in text:
                text = text.replace(stand_in, character)
                remedy = f"quote it: '{text}'" if "'" not in text else f'quote it: "{text}"'
                mistake = Mistake("yaml-unquoted", f"{character} has a meaning of its own in YAML", remedy)
                self._findings.add_at(_mark(event), path, mistake)
        return text

    def _sequence(self, path: Path) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Value]:
        entries: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            mark = _mark(event)
            if key == "<<":
                self._findings.add_at(mark, path, _MERGE_KEY)
                self._skip()
            elif key in entries:
                first = self._findings.line((*path, key))
                message = f"key {quoted(key)} is written twice (first at line {first})"
                says = Mistake("yaml-duplicate-key", message, "keep one of them")
                self._findings.add_at(mark, path, says)
                self._skip()
            else:
                entries[key] = self._node(next(self._events), (*path, key), mark)
        return entries

    def _key(self, event: yaml.Event, path: Path) -> str:
        """A key as written: `on` and `1` are names here, whatever YAML makes of them."""
        if not isinstance(event, yaml.ScalarEvent):
            raise self._stop(_mark(event), path, _KEY_IS_NO_TEXT)
        if event.anchor is not None or event.tag is not None:
            raise self._stop(_mark(event), path, _KEY_IS_NO_TEXT)
        return self._written(event, path)

    def _skip(self) -> None:
        """Read past a value that has no place in the document."""
        depth = 0
        while True:
            event = next(self._events)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(1, 1) if start is None else Mark(start.line + 1, start.column + 1)


_EMPTY = Mistake("yaml-empty", "the file is empty", "`corsproxy init` writes one to start from")
_NOT_A_MAPPING = Mistake(
    "yaml-not-a-mapping",
    "the file must be a mapping of keys to values",
    "start it with `listen:` and `routes:`",
)
_SEVERAL_DOCUMENTS = Mistake(
    "yaml-several-documents", "a second document starts here", "keep one document; remove the `---` line"
)
_MERGE_KEY = Mistake("yaml-merge-key", "the merge key '<<' is not used here", "to share keys use `extends`")
_KEY_IS_NO_TEXT = Mistake("yaml-key", "a key must be plain text", "write `name: value`")
