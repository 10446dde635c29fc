"""The findings of one load: problems gathered while the file is read, checked and compiled.

Here:  where each value of the document stands, what was found wrong, and which parts are broken already.
Never: rules. Whoever finds a problem says it here, in its own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from corsproxy.config.problems import Path, Problem, Severity, path_text
from corsproxy.config.words import quoted

__all__ = ["Findings", "Mark", "Mistake", "Place"]


class Mark(NamedTuple):
    """A position in the file, 1-based, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and how it was spelled there."""

    value: Mark
    key: Mark | None = None  # None in a list
    text: str | None = None  # a scalar as written; None for lists and mappings
    plain: bool = False  # written without quotes


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one value; the caller knows where it stands."""

    code: str
    message: str
    remedy: str = ""
    severity: Severity = "error"


_SHORTEST_SECRET = 4  # characters; to hide less would only garble the text
_START = Place(Mark(1, 1))


@dataclass(slots=True)
class Findings:
    """Everything known about one file, besides its content."""

    file: str
    places: dict[Path, Place] = field(default_factory=dict)
    error_count: int = 0  # so far; warnings do not count
    _problems: list[Problem] = field(default_factory=list)
    _broken: set[Path] = field(default_factory=set)
    _holds_broken: set[Path] = field(default_factory=set)  # every block around a broken value
    _seen: set[tuple[str, Path]] = field(default_factory=set)
    _hidden: dict[str, str] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where a path stands; for one that is not in the document, where its nearest parent does."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, _START)

    def line(self, path: Path) -> int:
        """The line to name for an entry: that of its key where it has one."""
        place = self.place(path)
        return (place.key or place.value).line

    def add(self, path: Path, mistake: Mistake, *, on_key: bool = False, on_parent: bool = False) -> None:
        """Note a mistake once per place and code; silent where this part of the file is broken already.

        on_key: point at the key instead of the value.
        on_parent: name the block around it, for a key that is unknown or missing.
        """
        if self.is_broken(path) or (mistake.code, path) in self._seen:
            return
        self._seen.add((mistake.code, path))
        place = self.place(path)
        mark = place.key if on_key and place.key else place.value
        self.add_at(mark, path[:-1] if on_parent else path, mistake)

    def adopt(self, other: "Findings") -> None:
        """Take over everything that another load step found."""
        self.places |= other.places
        self._problems += other._problems
        self._broken |= other._broken
        self._holds_broken |= other._holds_broken
        self.error_count += other.error_count
        self._seen |= other._seen
        self._hidden |= other._hidden

    def hide(self, secrets: Mapping[str, str]) -> None:
        """Name these values in no problem, but what is written for them. secrets: value to reference."""
        self._hidden |= secrets

    def add_at(self, mark: Mark, path: Path, mistake: Mistake) -> None:
        """Note a mistake at a position of its own, such as a syntax error."""
        self.error_count += mistake.severity == "error"
        self._problems.append(
            Problem(
                mistake.severity, mistake.code, self.file, mark.line, mark.column,
                path_text(path), mistake.message, mistake.remedy,
            )
        )  # fmt: skip

    def break_off(self, path: Path) -> None:
        """Mark a part as unusable: what depends on it is not reported a second time."""
        self._broken.add(path)
        self._holds_broken |= set(_blocks_around(path))

    def is_broken(self, path: Path) -> bool:
        """True when this value, something in it, or something around it, could not be used."""
        return path in self._holds_broken or not self._broken.isdisjoint((path, *_blocks_around(path)))

    def problems(self) -> list[Problem]:
        """Everything found, in file order."""
        found = sorted(self._problems, key=lambda problem: (problem.line, problem.column))
        if not self._hidden:
            return found
        return [
            replace(each, message=self._shown(each.message), remedy=self._shown(each.remedy))
            for each in found
        ]

    def _shown(self, text: str) -> str:
        for value, reference in self._hidden.items():
            for spelling in (value, quoted(value)[1:-1].rstrip("…")):
                if len(spelling) >= _SHORTEST_SECRET:
                    text = text.replace(spelling, reference)
        return text


def _blocks_around(path: Path) -> list[Path]:
    return [path[:length] for length in range(len(path))]
