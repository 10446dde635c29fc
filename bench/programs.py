"""Programs of others: where they are, and what to do when they are not there.

Here:  one look-up.
Never: which programs there are.
"""

import os
import shutil
import sys
from pathlib import Path

__all__ = ["MissingError", "find_program"]

PEERS_VENV = Path(__file__).parent / "peers" / ".venv" / "bin"  # `make bench-peers` makes it


class MissingError(Exception):
    """A program is not installed. The text says which, and how to get it."""


def find_program(name: str, install: str) -> str:
    """The program's path. Raises MissingError."""
    places = [
        str(Path(sys.executable).parent),
        str(PEERS_VENV),
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
    ]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise MissingError(f"no program {name} ({install})")
    return found
