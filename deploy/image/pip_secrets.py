# ruff: noqa: INP001 - a script
"""Write pip's configuration on this machine, and the certificates it trusts, as secrets for a build.

Here:  `pip config list` to one file `pip`, and the bundle that it names to a file `ca`, in the folder given.
Never: anything into the image: the Dockerfile mounts both while pip runs.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# What says where packages come from, and how to get there. The rest is taste, and stays at home.
_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "timeout",
    "retries",
)
_LISTS = ("extra-index-url", "find-links", "trusted-host")
_SECTIONS = ("global", "install", ":env:")  # a later one has the last word
_LINE = re.compile(r"(global|install|:env:)\.([a-z-]+)=('.*'|\".*\")")
_CA_IN_BUILD = "/run/secrets/ca"  # where a secret with the id `ca` is mounted


def main(folder: Path) -> None:
    """Write the files that this machine has something for."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    settings = read_settings(listed.splitlines())
    ca = settings.get("cert") or os.environ.get("SSL_CERT_FILE", "")
    if ca:
        shutil.copyfile(ca, _private(folder / "ca"))
    config, left_out = to_config(settings, has_ca=bool(ca))
    if config:
        _private(folder / "pip").write_text(config)
    for place in left_out:
        sys.stderr.write(f"not in the build: {place} is a place on this machine\n")


def read_settings(lines: Iterable[str]) -> dict[str, str]:
    """Name and value of each setting, of lines as `pip config list` prints them."""
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    found.sort(key=lambda match: _SECTIONS.index(match[1]))
    return {match[2]: ast.literal_eval(match[3]) for match in found}


def to_config(settings: Mapping[str, str], *, has_ca: bool) -> tuple[str, list[str]]:
    """The text of a pip.conf, "" when there is nothing to say; and the values that a build cannot follow."""
    lines, left_out = [], []
    for key in (key for key in _KEYS if key in settings):
        values = settings[key].split() if key in _LISTS else [settings[key]]
        here = [value for value in values if value.startswith(("/", "./", "~", "file:"))]
        left_out += [f"{key} {value}" for value in here]
        if kept := [value for value in values if value not in here]:
            lines.append(f"{key} = {' '.join(kept)}\n")
    if has_ca:
        lines.append(f"cert = {_CA_IN_BUILD}\n")
    return ("[global]\n" + "".join(lines) if lines else ""), left_out


def _private(path: Path) -> Path:
    """The file, empty, for nobody else to read: an index's address may hold a password."""
    path.touch(mode=0o600)
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
