"""Which file is the configuration file, and its text.

Here:  the search order of `run`, `check` and `explain`, and reading without surprises.
Never: what is in the file.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from corsproxy.config.words import printable
from corsproxy.config.yaml import MAX_BYTES

__all__ = ["DEFAULT_FILES", "STDIN", "ConfigUnreadableError", "find_config", "read_config"]

STDIN = "-"
DEFAULT_FILES = ("corsproxy.yaml", "/etc/corsproxy/corsproxy.yaml")


class ConfigUnreadableError(Exception):
    """No configuration file could be read; the text is one line that says which, and why."""


def find_config(option: str | None, env: Mapping[str, str]) -> str:
    """The name of the file: the option, $CORSPROXY_CONFIG, ./corsproxy.yaml, /etc/corsproxy/corsproxy.yaml.

    Raises ConfigUnreadableError when none was named and none of the usual places has one.
    """
    named = option or env.get("CORSPROXY_CONFIG")
    if named:
        return named
    found = next((name for name in DEFAULT_FILES if _may_be_there(name)), None)
    if found is None:
        places = " or ".join(DEFAULT_FILES)
        raise ConfigUnreadableError(
            f"no configuration file: there is no {places}; name one with -c, or run `corsproxy init`"
        )
    return found


def _may_be_there(name: str) -> bool:
    """False when it is not. Where the system does not let us see, whoever reads it says why."""
    try:
        Path(name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def read_config(option: str | None, env: Mapping[str, str]) -> tuple[str, str]:
    """The file's name as given ("-" = standard input) and its text.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), which `load_table` reports with their place.
    Nothing is read far beyond the size that `load_table` accepts. Raises ConfigUnreadableError.
    """
    name = find_config(option, env)
    try:
        if name == STDIN:
            return name, _read(_standard_input())
        with Path(name).open("rb") as file:
            return name, _read(file)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigUnreadableError(
            f"cannot read the configuration file {printable(name)}: {reason}"
        ) from error


def _standard_input() -> BinaryIO:
    # None when the process was started with its descriptor 0 closed; the stubs do not know.
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise ValueError("standard input is closed")
    return stream.buffer


def _read(file: BinaryIO) -> str:
    return file.read(MAX_BYTES + 4).decode("utf-8", "surrogateescape").replace("\r\n", "\n")
