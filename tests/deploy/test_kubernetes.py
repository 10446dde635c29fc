"""The plain manifests: valid for Kubernetes, right for the proxy."""

import shutil
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    KUSTOMIZATIONS,
    build,
    build_with_kubectl,
    check_config,
    check_locked_down,
    check_pod,
    check_service,
    containers_of,
    deployment_of,
    of_kind,
    pod_of,
    proxy_of,
)

# Native sidecars are on by default from 1.29; autoscaling/v2 and policy/v1 from 1.25.
OLDEST = {"native-sidecar": "1.29", "classic-sidecar": "1.25", "standalone": "1.25"}
NEWEST = "1.37"

every_folder = pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)


def test_every_folder_is_here() -> None:
    assert {folder.name for folder in KUSTOMIZATIONS} == set(OLDEST)


@every_folder
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_every_manifest_is_valid(folder: Path, which: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install --group deploy")
    version = NEWEST if which == "newest" else OLDEST[folder.name]
    for manifest in build(folder):
        validator.validate(manifest, version, strict=True)


def test_the_validator_sees_a_misspelt_key() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="pip install --group deploy")
    manifests = build(next(folder for folder in KUSTOMIZATIONS if folder.name == "native-sidecar"))
    proxy = proxy_of(pod_of(manifests))
    proxy["restartPolisy"] = proxy.pop("restartPolicy")
    with pytest.raises(validator.ValidationError, match="restartPolisy"):
        validator.validate(deployment_of(manifests), NEWEST, strict=True)


@every_folder
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kubectl_builds_the_same(folder: Path) -> None:
    def by_name(manifest: dict[str, object]) -> str:
        return str((manifest["kind"], manifest["metadata"]))

    assert sorted(build_with_kubectl(folder), key=by_name) == sorted(build(folder), key=by_name)


@every_folder
def test_the_pod_is_locked_down_probed_and_mounted(folder: Path) -> None:
    pod = pod_of(build(folder))
    check_pod(pod)
    for container in containers_of(pod):
        check_locked_down(pod, container)


@every_folder
def test_the_configuration_loads_and_fits_the_pod(folder: Path) -> None:
    manifests = build(folder)
    (config,) = of_kind(manifests, "ConfigMap")
    check_config(pod_of(manifests), config["data"]["corsproxy.yaml"])
    (volume,) = pod_of(manifests)["volumes"]
    assert volume["configMap"] == {"name": config["metadata"]["name"]}


@every_folder
def test_the_service_leads_to_the_proxy(folder: Path) -> None:
    manifests = build(folder)
    (service,) = of_kind(manifests, "Service")
    check_service(service, deployment_of(manifests))


def test_a_native_sidecar_starts_first_and_ends_last() -> None:
    pod = pod_of(build(next(folder for folder in KUSTOMIZATIONS if folder.name == "native-sidecar")))
    (proxy,) = pod["initContainers"]
    assert proxy["restartPolicy"] == "Always"


@pytest.mark.parametrize("name", ["native-sidecar", "classic-sidecar"])
def test_beside_a_sidecar_the_api_is_reached_through_it_alone(name: str) -> None:
    pod = pod_of(build(next(folder for folder in KUSTOMIZATIONS if folder.name == name)))
    (api,) = [container for container in containers_of(pod) if container["name"] == "api"]
    assert "127.0.0.1" in api["command"]
    assert "ports" not in api


def test_in_a_classic_pod_the_api_outlasts_the_drain() -> None:
    manifests = build(next(folder for folder in KUSTOMIZATIONS if folder.name == "classic-sidecar"))
    (api,) = [container for container in containers_of(pod_of(manifests)) if container["name"] == "api"]
    sleeps = int(api["lifecycle"]["preStop"]["exec"]["command"][1])
    (config,) = of_kind(manifests, "ConfigMap")
    assert "{delay: 5s, timeout: 20s}" in config["data"]["corsproxy.yaml"]
    assert 25 < sleeps < pod_of(manifests)["terminationGracePeriodSeconds"]


def test_the_standalone_pods_are_scaled_spread_and_fenced() -> None:
    manifests = build(next(folder for folder in KUSTOMIZATIONS if folder.name == "standalone"))
    deployment = deployment_of(manifests)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert "replicas" not in deployment["spec"], "each apply would undo what the autoscaler did"
    (scaler,) = of_kind(manifests, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    (fence,) = of_kind(manifests, "NetworkPolicy")
    for selector in (budget["spec"]["selector"], fence["spec"]["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()


def test_the_standalone_admin_port_is_for_monitoring_alone() -> None:
    manifests = build(next(folder for folder in KUSTOMIZATIONS if folder.name == "standalone"))
    (fence,) = of_kind(manifests, "NetworkPolicy")
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in fence["spec"]["ingress"]}
    assert rules[8080] is None
    assert rules[8081], "an empty list would let everybody in"
