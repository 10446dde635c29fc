"""What `corsproxy dev` keeps between runs: the journal of the last one, and the names of cookies by API.

Here:  two small JSON files in the user's state folder ($XDG_STATE_HOME, else ~/.local/state).
Never: values of anything; failing the program: what cannot be kept is said, and the rest goes on.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corsproxy.dev.journal import Journal

__all__ = ["State", "StateError"]

_JOURNAL = "last-run.json"
_COOKIES = "cookies.json"
_MOST_NAMES = 64  # of one API, the newest
_MOST_BYTES = 1024 * 1024


class StateError(Exception):
    """The state cannot be read or written; the text is one line for a person."""


class State:
    """The folder, which need not exist yet."""

    def __init__(self, env: Mapping[str, str]) -> None:
        base = env.get("XDG_STATE_HOME", "")
        home = Path(env.get("HOME", "")) if env.get("HOME") else Path.home()
        # A relative path there is invalid (XDG Base Directory Specification).
        self.folder = (Path(base) if base.startswith("/") else home / ".local" / "state") / "corsproxy"

    def save_journal(self, journal: Journal) -> None:
        """Keep the journal of this run in place of the last one's. Raises StateError."""
        self._write(_JOURNAL, journal.as_json())

    def load_journal(self) -> Journal:
        """The journal of the run that ended last. Raises StateError."""
        path = self.folder / _JOURNAL
        if not path.exists():
            raise StateError(f"no run of `corsproxy dev` has been kept in {self.folder}")
        try:
            return Journal.from_json(self._read(_JOURNAL))
        except ValueError as error:
            raise StateError(f"{path} cannot be used: {error}") from error

    def cookie_names(self) -> dict[str, list[str]]:
        """Names of cookies that each API has set in earlier runs; what cannot be read is forgotten."""
        try:
            data = self._read(_COOKIES)
            return {str(api): [str(name) for name in names] for api, names in data.items()}
        except (StateError, ValueError, TypeError, AttributeError):
            return {}

    def save_cookie_names(self, names: Mapping[str, Sequence[str]]) -> None:
        """Keep the names of these APIs, beside those of others. Raises StateError."""
        known = self.cookie_names()
        for api, new in names.items():
            known[api] = list(dict.fromkeys([*known.get(api, ()), *new]))[-_MOST_NAMES:]
        self._write(_COOKIES, {api: listed for api, listed in known.items() if listed})

    def _read(self, name: str) -> Any:  # Any: JSON
        try:
            with (self.folder / name).open(encoding="utf-8") as file:
                return json.loads(file.read(_MOST_BYTES))
        except OSError as error:
            raise StateError(f"cannot read {self.folder / name}: {error.strerror}") from error

    def _write(self, name: str, data: object) -> None:
        """Whole or not at all: another run may end at the same moment."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, draft = tempfile.mkstemp(dir=self.folder, prefix=name)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(data, file, indent=1)
                Path(draft).replace(self.folder / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(draft).unlink()
                raise
        except OSError as error:
            raise StateError(f"cannot keep {self.folder / name}: {error.strerror}") from error
