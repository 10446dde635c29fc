"""What the image installs is pinned, hashed, and what pyproject.toml asks for."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.deploy.scripts import IMAGE

PROJECT = tomllib.loads((IMAGE.parents[1] / "pyproject.toml").read_text())
LOCKS = {
    "requirements.txt": PROJECT["project"]["dependencies"],
    "otel-requirements.txt": PROJECT["project"]["dependencies"]
    + PROJECT["project"]["optional-dependencies"]["otel"],
    "build-requirements.txt": PROJECT["build-system"]["requires"],
}

every_lock = pytest.mark.parametrize("name", LOCKS)


@dataclass(frozen=True)
class Pin:
    requirement: Requirement
    hashes: list[str]

    @property
    def version(self) -> Version:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return Version(specifier.version)


def pins_of(name: str) -> dict[str, Pin]:
    """The entries of a lock, by the name of the package. Lines that go on are joined, comments left out."""
    text = (IMAGE / name).read_text().replace("\\\n", " ")
    pins = {}
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line.strip())
            pin = Pin(Requirement(requirement), hashes)
            pins[canonicalize_name(pin.requirement.name)] = pin
    return pins


@every_lock
def test_every_entry_is_one_version_with_hashes(name: str) -> None:
    pins = pins_of(name)
    assert pins
    for pin in pins.values():
        assert pin.version
        assert pin.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in pin.hashes)


@every_lock
def test_it_satisfies_what_the_project_asks_for(name: str) -> None:
    pins = pins_of(name)
    for text in LOCKS[name]:
        wanted = Requirement(text)
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin is not None, f"{wanted.name} is missing: make lock"
        assert pin.version in wanted.specifier, f"{wanted} is not met by {pin.version}: make lock"


@every_lock
def test_it_names_no_place_that_packages_come_from(name: str) -> None:
    text = (IMAGE / name).read_text()
    assert not re.search(r"^-|^\s*--(?!hash=)|://", text, re.MULTILINE), (
        "an index is the business of whoever builds"
    )


def test_opentelemetry_changes_no_version_of_the_rest() -> None:
    plain, more = pins_of("requirements.txt"), pins_of("otel-requirements.txt")
    assert {name: pin.version for name, pin in plain.items()} == {
        name: pin.version for name, pin in more.items() if name in plain
    }
    assert more.keys() > plain.keys()


def test_nothing_is_locked_that_nobody_needs() -> None:
    """Each entry says who asked for it; those that the project asks for say so."""
    text = (IMAGE / "requirements.txt").read_text()
    direct = {
        canonicalize_name(match[1])
        for match in re.finditer(r"^(\S+?)==(?:.|\n )*?corsproxy \(pyproject\.toml\)", text, re.MULTILINE)
    }
    assert direct == {canonicalize_name(Requirement(each).name) for each in LOCKS["requirements.txt"]}


@pytest.mark.parametrize("name", ["aiohttp", "httptools", "pydantic-core", "pyyaml", "uvloop"])
def test_native_packages_have_a_hash_for_every_python_and_processor(name: str) -> None:
    # Four versions of Python, two C libraries, two processors: with fewer files, one of them is missing.
    assert len(pins_of("requirements.txt")[name].hashes) >= 16


def test_the_dockerfile_installs_by_the_lock_alone() -> None:
    dockerfile = Path(IMAGE.parents[1] / "Dockerfile").read_text().replace("\\\n", " ")
    installs = [
        line for line in re.split(r"\n|&&", dockerfile) if re.search(r"pip .*\b(install|wheel)\b", line)
    ]
    assert len(installs) == 4
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install
