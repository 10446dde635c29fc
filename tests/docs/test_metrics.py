"""The page of metrics lists those that there are, and the page of the admin listener its paths."""

import re

import yaml

from corsproxy.config.table import Address, AdminListener
from corsproxy.ops.admin import Admin
from corsproxy.ops.admin_explain import question_of
from corsproxy.ops.families import FAMILIES, METHODS
from tests.docs.pages import ROOT, code, page, rows, section
from tests.ops.planes import FakePlane

METRICS = page("docs/metrics.md")
ADMIN = page("docs/admin.md")
RUNBOOK = section(page("docs/operations.md"), "Runbook")
ALERTS = (ROOT / "deploy" / "prometheus" / "corsproxy-alerts.yaml").read_text(encoding="utf-8")


def words(cell: str) -> list[str]:
    return re.findall(r"\w+", cell.replace("`", "").replace("–", ""))


def test_every_metric_with_its_labels() -> None:
    listed = [
        (name, kind, words(labels), says)
        for name, kind, labels, says in rows(section(METRICS, "What there is"))
    ]
    assert listed == [
        (family.name, family.kind, list(family.labels), family.says) for family in FAMILIES.values()
    ]


def test_every_label() -> None:
    listed = {word for cells in rows(section(METRICS, "Labels")) for word in words(cells[0])}
    assert listed == {label for family in FAMILIES.values() for label in family.labels}


def test_the_methods() -> None:
    (cell,) = [cells[1] for cells in rows(section(METRICS, "Labels")) if cells[0] == "method"]
    assert words(cell.partition(", or")[0]) == list(METHODS.values())


def test_every_metric_that_a_query_names_exists() -> None:
    for page_text in (METRICS, RUNBOOK):
        for name in re.findall(r"(?<![\w:])(?:corsproxy|process)_\w+_\w+", page_text):
            assert name in FAMILIES, name


def test_the_rule_that_names_the_job_fits_the_pods_and_the_alerts() -> None:
    (text,) = code(section(METRICS, "Prometheus"), "yaml")
    (rule,) = yaml.safe_load(text)["relabel_configs"]
    deployment = (ROOT / "deploy" / "kubernetes" / "standalone" / "deployment.yaml").read_text(
        encoding="utf-8"
    )
    pod = yaml.safe_load(deployment)["spec"]["template"]["metadata"]
    labels = {
        "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", name): value
        for name, value in pod["labels"].items()
    }
    (source,) = rule["source_labels"]
    assert re.fullmatch(rule["regex"], labels[source])
    assert pod["annotations"]["prometheus.io/scrape"] == "true"
    assert f'up{{{rule["target_label"]}="{rule["replacement"]}"}}' in ALERTS


def test_every_page_of_the_admin_listener() -> None:
    admin = Admin(AdminListener(Address("127.0.0.1", 0)), FakePlane())
    routes = {
        (resource.canonical, route.method)
        for resource in admin._app.router.resources()
        for route in resource
        if route.method != "HEAD"
    }
    assert {(path, method) for path, method, _ in rows(ADMIN.partition("## Ready")[0])} == routes


def test_every_parameter_of_explain() -> None:
    from corsproxy.ops import admin_explain

    assert [cells[0] for cells in rows(section(ADMIN, "Explain"))] == list(admin_explain._NAMES)


def test_the_example_of_explain_is_a_question() -> None:
    (command,) = code(section(ADMIN, "Explain"), "sh")
    query = command.partition("?")[2].partition("'")[0]
    pairs = [tuple(each.split("=", 1)) for each in query.split("&")]
    question = question_of(pairs, FakePlane().table)  # type: ignore[arg-type] # pairs have two members
    assert question.call.origin == b"https://app.example.com"


def test_the_runbook_has_every_alert() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert re.findall(r"^### (Corsproxy\w+)", RUNBOOK, re.MULTILINE) == alerts
