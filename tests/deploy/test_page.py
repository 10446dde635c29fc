"""docs/deploy.md says what the files say."""

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, build, pod_of, table_of
from tests.docs.pages import page, rows, section

PAGE = page("docs/deploy.md")
UNIT = (DEPLOY / "systemd" / "corsproxy.service").read_text()


def waits() -> Iterator[tuple[str, str, float]]:
    """What waits for a stop: its name on the page, the drain of its file, and how many seconds it waits."""
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]["proxy"]
    usual = (DEPLOY / "compose" / "conf" / "corsproxy.yaml").read_text()
    yield "Compose", usual, float(compose["stop_grace_period"].removesuffix("s"))
    for name, folder in {
        "native sidecar": "native-sidecar",
        "classic sidecar": "classic-sidecar",
        "Deployment, chart": "standalone",
    }.items():
        path = DEPLOY / "kubernetes" / folder
        grace = float(pod_of(build(path))["terminationGracePeriodSeconds"])
        yield name, (path / "corsproxy.yaml").read_text(), grace
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)s$", UNIT, re.MULTILINE)
    yield "systemd", usual, float(stop)


def test_the_table_of_drains_and_waits() -> None:
    listed = {row[0]: row[1:] for row in rows(section(PAGE, "What holds everywhere"))}
    shown = {}
    for name, text, grace in waits():
        drain = table_of(text, {"UPSTREAM": "http://127.0.0.1:9000"}).drain
        shown[name] = (f"{drain.delay:g} s + {drain.timeout:g} s", f"{grace:g}")
    assert set(listed) == set(shown)
    for name, (drain, waiting) in listed.items():
        seconds = re.search(r"\d+", waiting)
        assert seconds
        assert (drain, seconds[0]) == shown[name]


def test_the_chart_drains_as_the_table_says() -> None:
    values = yaml.safe_load((DEPLOY / "helm" / "corsproxy" / "values.yaml").read_text())
    assert values["config"]["drain"] == {"delay": "5s", "timeout": "25s"}
    assert values["terminationGracePeriodSeconds"] == 40


@pytest.mark.parametrize("target", ["image", "image-test", "lock", "sbom", "audit"])
def test_the_make_targets_of_the_page_exist(target: str) -> None:
    assert f"`make {target}" in PAGE
    assert re.search(rf"^{target}:", page("Makefile"), re.MULTILINE)
