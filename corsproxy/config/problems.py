"""A problem in the configuration file: what is wrong, where, and what to write instead.

Here:  the value that `check`, `run` and a reload all show, and its spellings: text, JSON, GitHub annotation.
Never: finding problems, printing.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from corsproxy.config.words import printable, quoted

__all__ = ["Path", "Problem", "Severity", "has_errors", "path_text"]

Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]
"""A place in the document: ("routes", 3, "cors", "allow_origins", 0)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. The fields, in this order, are the JSON form that `check --format json` prints."""

    severity: Severity
    code: str  # a stable word, never re-used for something else
    file: str  # as the user named it; "-" = standard input
    line: int  # 1-based, as editors count
    column: int  # 1-based, in characters
    where: str  # path in the document: routes[3].cors.allow_origins[0]; "" = the file as a whole
    message: str
    remedy: str = ""  # what to write instead; "" when the message leaves no doubt

    def as_text(self) -> str:
        """One or two lines: file:line:column, then the remedy, indented."""
        warning = "warning: " if self.severity == "warning" else ""
        where = f"{self.where}: " if self.where else ""
        first = printable(f"{self.file}:{self.line}:{self.column}: {warning}{where}{self.message}")
        return f"{first}\n    {printable(self.remedy)}" if self.remedy else first

    def as_json(self) -> dict[str, str | int]:
        """The object that `check --format json` prints."""
        return asdict(self)

    def as_github(self) -> str:
        """A workflow command, which GitHub shows beside the line in a pull request."""
        where = f"{self.where}: " if self.where else ""
        remedy = f"\n{self.remedy}" if self.remedy else ""
        place = f"file={_github_property(self.file)},line={self.line},col={self.column}"
        title = f"title={_github_property(self.code)}"
        return f"::{self.severity} {place},{title}::{_github_data(f'{where}{self.message}{remedy}')}"


def has_errors(problems: Iterable[Problem]) -> bool:
    """True when the file must not be served."""
    return any(problem.severity == "error" for problem in problems)


def path_text(path: Path) -> str:
    """A path as people write it: routes[0].cors; keys that are not plain words stand in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step and all(c.isalnum() or c in "_-" for c in step):
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def _github_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_property(text: str) -> str:
    return _github_data(text).replace(":", "%3A").replace(",", "%2C")
