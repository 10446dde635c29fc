"""The chart, rendered by Helm itself: valid for Kubernetes, right for the proxy, and clear about mistakes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from corsproxy import __version__
from tests.deploy.manifests import (
    DEPLOY,
    Manifest,
    check_config,
    check_pod,
    check_service,
    deployment_of,
    documents,
    of_kind,
    pod_of,
    proxy_of,
)

CHART = DEPLOY / "helm" / "corsproxy"
RELEASES = sorted((CHART / "ci").glob("*-values.yaml"))
ENV = {"ADMIN_TOKEN": "0123456789abcdef"}  # which everything-values.yaml names
NOTES = "corsproxy/templates/NOTES.txt"

helm = pytest.importorskip("helm_python", reason="Helm is not installed: pip install --group deploy")

every_release = pytest.mark.parametrize(
    "release", RELEASES, ids=lambda path: path.stem.removesuffix("-values")
)


def values_of(release: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(release.read_text())
    return values


def render(values: dict[str, Any]) -> dict[str, str]:
    rendered: dict[str, str] = helm.Chart.load(CHART).render(values, name="shop", namespace="web")
    return rendered


def manifests_of(values: dict[str, Any]) -> list[Manifest]:
    return [
        manifest for name, text in render(values).items() if name != NOTES for manifest in documents(text)
    ]


def with_routes(**values: Any) -> dict[str, Any]:
    return {**values_of(CHART / "ci" / "routes-values.yaml"), **values}


def with_config(**keys: Any) -> dict[str, Any]:
    values = with_routes()
    return {**values, "config": {**values["config"], **keys}}


@every_release
def test_helm_lint_has_nothing_to_say(release: Path) -> None:
    report = helm.lint(CHART, values_of(release), strict=True)
    # 1 = information: that a chart may have an icon.
    assert [message for message in report["messages"] if message["severity"] > 1] == []
    assert not report["errors"]


@every_release
@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_every_manifest_is_valid(release: Path, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install --group deploy")
    manifests = manifests_of(values_of(release))
    assert len(manifests) >= 2
    for manifest in manifests:
        validator.validate(manifest, version, strict=True)


@every_release
def test_pod_service_and_file_fit_each_other(release: Path) -> None:
    manifests = manifests_of(values_of(release))
    check_pod(pod_of(manifests))
    (service,) = of_kind(manifests, "Service")
    check_service(service, deployment_of(manifests))
    for config in of_kind(manifests, "ConfigMap"):
        check_config(pod_of(manifests), config["data"]["corsproxy.yaml"], ENV)


@every_release
def test_selectors_select_the_pods(release: Path) -> None:
    manifests = manifests_of(values_of(release))
    labels = deployment_of(manifests)["spec"]["template"]["metadata"]["labels"]
    for kind in ("PodDisruptionBudget", "NetworkPolicy", "Deployment"):
        for manifest in of_kind(manifests, kind):
            spec = manifest["spec"]
            selector = spec.get("selector") or spec["podSelector"]
            assert selector["matchLabels"].items() <= labels.items()


def test_the_least_is_two_pods_scaled_budgeted_and_fenced() -> None:
    manifests = manifests_of(with_routes())
    assert sorted(manifest["kind"] for manifest in manifests) == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    ]
    assert "replicas" not in deployment_of(manifests)["spec"]
    (scaler,) = of_kind(manifests, "HorizontalPodAutoscaler")
    assert scaler["spec"]["minReplicas"] == 2
    (fence,) = of_kind(manifests, "NetworkPolicy")
    assert fence["spec"]["ingress"][1]["from"], "the admin port is for monitoring alone"
    assert {manifest["metadata"]["name"] for manifest in manifests} == {"shop-corsproxy"}


def test_everything_can_be_the_other_way_round() -> None:
    manifests = manifests_of(values_of(CHART / "ci" / "everything-values.yaml"))
    assert {manifest["kind"] for manifest in manifests} == {
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "Service",
    }
    assert deployment_of(manifests)["spec"]["replicas"] == 3
    proxy = proxy_of(pod_of(manifests))
    assert proxy["image"].startswith(f"registry.example.com/corsproxy:{__version__}@sha256:")
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in proxy["volumeMounts"]
    assert [entry["name"] for entry in proxy["env"]] == ["ADMIN_TOKEN"]


def test_an_existing_config_map_is_mounted_and_none_made() -> None:
    manifests = manifests_of(values_of(CHART / "ci" / "existing-configmap-values.yaml"))
    assert not of_kind(manifests, "ConfigMap")
    (volume,) = pod_of(manifests)["volumes"]
    assert volume["configMap"] == {"name": "shop-corsproxy"}


def annotations_of(values: dict[str, Any]) -> dict[str, str]:
    metadata = deployment_of(manifests_of(values))["spec"]["template"]["metadata"]
    annotations: dict[str, str] = metadata.get("annotations", {})
    return annotations


def test_a_changed_configuration_is_a_rollout() -> None:
    before = annotations_of(with_routes())["checksum/config"]
    values = with_routes()
    values["config"]["routes"][0]["upstream"] = "http://legacy-api:9001"
    assert annotations_of(values)["checksum/config"] != before
    assert annotations_of(with_routes(service={"port": 81}))["checksum/config"] == before


def test_or_it_is_not_where_pods_shall_reload() -> None:
    assert "checksum/config" not in annotations_of(with_routes(restartOnConfigChange=False))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no routes": ({}, "config.routes is empty: name the API"),
    "a misspelt key": (with_routes(replicaCount=2), "replicaCount"),
    "a tag as digest": (with_routes(image={"digest": "latest"}), "digest"),
    "a port as text": (with_routes(service={"port": "80"}), "port"),
    "another port": (with_config(listen="0.0.0.0:9080"), "config.listen is 0.0.0.0:9080, but the pod's port"),
    "another port, in a mapping": (
        with_config(listen={"address": "0.0.0.0:18080"}),
        "config.listen is 0.0.0.0:18080, but the pod's port",
    ),
    "another admin port": (
        with_config(admin={"address": "0.0.0.0:9081"}),
        "config.admin is 0.0.0.0:9081, but the pod's port",
    ),
    "nobody for the probes": (with_config(admin="off"), "config.admin is off, but the pod's port"),
    "routes as one mapping": ({"config": {"routes": {"upstream": "http://a:1"}}}, "routes"),
}


@pytest.mark.parametrize("says", REFUSED)
def test_helm_refuses(says: str) -> None:
    values, message = REFUSED[says]
    with pytest.raises(helm.HelmError, match=re.escape(message)):
        render(values)


def test_the_notes_name_the_way_in_and_how_to_ask_why() -> None:
    notes = render(with_routes())[NOTES]
    assert "http://shop-corsproxy.web:80" in notes
    assert "corsproxy explain --path /orders --origin" in notes


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) | {"fullnameOverride", "global"} == set(schema["properties"])
    for name, value in values.items():
        known = schema["properties"][name].get("properties")
        if isinstance(value, dict) and known is not None and name != "config":
            assert set(value) == set(known), name


def test_the_chart_is_for_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
