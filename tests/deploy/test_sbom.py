"""The bill of materials names what the lock names, with licences, and who needs whom."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from corsproxy import __version__
from tests.deploy.scripts import IMAGE
from tests.deploy.test_lock import LOCKS, pins_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cyclonedx_py") is None,
    reason="cyclonedx-bom is not installed: pip install --group deploy",
)


@pytest.fixture(scope="module")
def bom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("sbom") / "sbom.json"
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "CYCLONEDX": str(Path(sys.executable).parent / "cyclonedx-py"),
    }
    subprocess.run([IMAGE / "sbom.sh", file], env=environment, check=True, timeout=100)
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


def test_it_is_cyclonedx_about_this_version(bom: dict[str, Any]) -> None:
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    subject = bom["metadata"]["component"]
    assert (subject["name"], subject["version"], subject["type"]) == ("corsproxy", __version__, "application")


def test_it_names_what_is_locked(bom: dict[str, Any]) -> None:
    named = {canonicalize_name(each["name"]): each["version"] for each in bom["components"]}
    locked = {
        name: str(pin.version)
        for name, pin in pins_of("requirements.txt").items()
        if pin.requirement.marker is None or pin.requirement.marker.evaluate()
    }
    assert named == locked
    assert all(each["purl"].startswith("pkg:pypi/") for each in bom["components"])


def test_every_component_has_its_licence(bom: dict[str, Any]) -> None:
    assert [each["name"] for each in bom["components"] if not each.get("licenses")] == []


def test_the_graph_starts_with_what_the_project_asks_for(bom: dict[str, Any]) -> None:
    subject = bom["metadata"]["component"]["bom-ref"]
    names = {each["bom-ref"]: canonicalize_name(each["name"]) for each in bom["components"]}
    (needs,) = [each["dependsOn"] for each in bom["dependencies"] if each["ref"] == subject]
    wanted = map(Requirement, LOCKS["requirements.txt"])
    here = [each for each in wanted if each.marker is None or each.marker.evaluate()]
    assert {names[each] for each in needs} == {canonicalize_name(each.name) for each in here}


def test_it_tells_nothing_of_the_machine(bom: dict[str, Any]) -> None:
    assert str(Path.home()) not in json.dumps(bom)
    assert "/tmp" not in json.dumps(bom)
