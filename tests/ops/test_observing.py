"""What is shipped for Prometheus and Grafana: it parses, fires when it should, names metrics that exist."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from corsproxy.ops.families import FAMILIES

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "corsproxy-alerts.yaml").read_text(encoding="utf-8"))
RECORDING = yaml.safe_load((PROMETHEUS / "corsproxy-recording.yaml").read_text(encoding="utf-8"))
UNIT_TESTS = yaml.safe_load((PROMETHEUS / "corsproxy-test.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "corsproxy.json").read_text(encoding="utf-8"))

_NAME = re.compile(r"(?<![\w:$])(?:[\w:]*:)?(?:corsproxy|process)_[\w:]+")


def rules(document: Any) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


RECORDED = {rule["record"] for rule in rules(RECORDING)}
KNOWN = (
    RECORDED
    | {name for name, family in FAMILIES.items() if family.kind != "histogram"}
    | {f"{name}_bucket" for name, family in FAMILIES.items() if family.kind == "histogram"}
)


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (note["expr"] for note in DASHBOARD["annotations"]["list"])


def expressions() -> list[str]:
    of_rules = [str(rule["expr"]) for rule in (*rules(ALERTS), *rules(RECORDING))]
    return sorted({*of_rules, *dashboard_expressions()})


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", "corsproxy-recording.yaml", "corsproxy-alerts.yaml")


def test_the_scrape_configuration_is_valid() -> None:
    promtool("check", "config", "prometheus.yaml")


def test_the_rules_do_what_their_unit_tests_say() -> None:
    promtool("test", "rules", "corsproxy-test.yaml")


def test_every_alert_is_seen_both_to_fire_and_to_keep_quiet() -> None:
    fires, quiet = set(), set()
    for each in UNIT_TESTS["tests"]:
        for case in each.get("alert_rule_test", ()):
            (fires if case.get("exp_alerts") else quiet).add(case["alertname"])
    assert fires == quiet == {rule["alert"] for rule in rules(ALERTS)}


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_names_metrics_that_are_exported(expression: str) -> None:
    named = set(_NAME.findall(expression))
    assert named or expression.startswith("up{")
    assert named <= KNOWN


def test_every_label_that_is_asked_for_exists() -> None:
    for expression in expressions():
        for name, matchers in re.findall(r"\b(corsproxy_\w+)\{([^}]*)\}", expression):
            family = FAMILIES[name.removesuffix("_bucket")]
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert labels <= {*family.labels, "job", "instance"}, expression


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name.removesuffix("_bucket") for each in dashboard_expressions() for name in _NAME.findall(each)}
    assert shown | {"process_start_time_seconds"} == set(FAMILIES)


def test_the_dashboard_asks_in_valid_promql(tmp_path: Path) -> None:
    """Grafana's variables filled in, as rules that Prometheus itself reads."""
    filled = [
        expression.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$route", ".*")
        for expression in dashboard_expressions()
    ]
    named = [{"record": f"panel:{at}", "expr": expression} for at, expression in enumerate(filled)]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": named}]}), encoding="utf-8")
    promtool("check", "rules", str(path))


def test_the_dashboard_works_with_any_data_source() -> None:
    variable = {"type": "prometheus", "uid": "${datasource}"}
    assert DASHBOARD["templating"]["list"][0]["name"] == "datasource"
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    for panel in panels():
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [
            variable,
            *[variable] * len(panel["targets"]),
        ]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
