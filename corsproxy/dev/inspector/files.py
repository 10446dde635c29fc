"""Writing what serves now into the configuration file, never over something that nobody has seen.

Here:  the difference between file and text, and replacing the file whole.
Never: deciding to write: whoever asks shows the mark of the difference that a person was shown.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from corsproxy.dev.inspector.patch import difference

__all__ = ["Draft", "SaveError", "draft_of", "save"]

_MOST_BYTES = 2 * 1024 * 1024


class SaveError(Exception):
    """The file cannot be read or written; the text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What saving would do."""

    path: str
    diff: str  # "" = the file holds this text already
    mark: str  # of both texts: it changes with either

    def as_json(self) -> dict[str, object]:
        """For the page."""
        return {"path": self.path, "diff": self.diff, "mark": self.mark}


def draft_of(path: Path, text: str) -> Draft:
    """What would change in the file. Raises SaveError."""
    before = _read(path)
    digest = hashlib.sha256()
    for part in (before, text.encode("utf-8", "surrogateescape")):
        digest.update(b"%d:" % len(part) + part)
    return Draft(str(path), difference(_as_text(before), text, path.name), digest.hexdigest())


def save(path: Path, text: str, mark: str) -> None:
    """Write the text, if file and text are those of the draft with this mark. Raises SaveError."""
    if draft_of(path, text).mark != mark:
        raise SaveError("the file or the configuration changed since the difference was shown: look again")
    ends = "\r\n" if b"\r\n" in _read(path) else "\n"
    content = text.replace("\n", ends).encode("utf-8", "surrogateescape")
    try:
        _replace(path.resolve(), content)
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror or error}") from error


def _read(path: Path) -> bytes:
    """The file as it is; nothing when there is none yet."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SaveError(f"cannot read {path}: {error.strerror or error}") from error


def _as_text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: whoever reads meanwhile sees the old text or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
