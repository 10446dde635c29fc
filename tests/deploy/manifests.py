"""Kubernetes manifests as data, and what must hold for every pod that has the proxy in it."""

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table

DEPLOY = Path(__file__).parents[2] / "deploy"
KUSTOMIZATIONS = sorted(path.parent for path in (DEPLOY / "kubernetes").glob("*/kustomization.yaml"))

Manifest = dict[str, Any]  # whatever YAML holds; kubernetes-validate knows the types


def documents(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def build(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k` sends, for the few features that our folders use."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    known = {"apiVersion", "kind", "resources", "configMapGenerator", "generatorOptions"}
    assert set(kustomization) <= known, "teach build() this feature"
    assert kustomization["generatorOptions"] == {"disableNameSuffixHash": True}
    built = [
        document for name in kustomization["resources"] for document in documents((folder / name).read_text())
    ]
    for generated in kustomization["configMapGenerator"]:
        data = {name: (folder / name).read_text() for name in generated["files"]}
        metadata = {"name": generated["name"]}
        built.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return built


def build_with_kubectl(folder: Path) -> list[Manifest]:
    out = subprocess.run(
        ["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    return documents(out)


def table_of(text: str, env: dict[str, str] | None = None) -> Table:
    """The configuration as `run` takes it: no error, and no warning either, in what we hand out."""
    table, problems = load_table(text, "corsproxy.yaml", env or {})
    assert not problems, [problem.says for problem in problems]
    assert table is not None
    return table


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def deployment_of(manifests: Iterable[Manifest]) -> Manifest:
    (deployment,) = of_kind(manifests, "Deployment")
    return deployment


def pod_of(manifests: Iterable[Manifest]) -> Manifest:
    """The pod's spec."""
    spec: Manifest = deployment_of(manifests)["spec"]["template"]["spec"]
    return spec


def containers_of(pod: Manifest) -> Iterator[Manifest]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def proxy_of(pod: Manifest) -> Manifest:
    (proxy,) = [container for container in containers_of(pod) if container["name"] == "corsproxy"]
    return proxy


def check_pod(pod: Manifest) -> None:
    """What holds for each pod, however the proxy got into it."""
    proxy = proxy_of(pod)
    assert pod["enableServiceLinks"] is False, "CORSPROXY_PORT=tcp://... would stand among the options"
    assert pod["automountServiceAccountToken"] is False, "it asks the cluster nothing"
    check_locked_down(pod, proxy)
    check_probes(proxy)
    mounts = {mount["mountPath"]: mount for mount in proxy["volumeMounts"]}
    assert mounts["/etc/corsproxy"]["readOnly"] is True
    assert not any("subPath" in mount for mount in mounts.values()), "a file mounted by subPath never changes"
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in mounts.values()} <= names


def check_locked_down(pod: Manifest, container: Manifest) -> None:
    """Pod security standard `restricted`, and a read-only root."""
    security = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == 10001, "the image's user"
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def check_probes(proxy: Manifest) -> None:
    ports = {port["name"]: port["containerPort"] for port in proxy["ports"]}
    assert ports == {"http": 8080, "admin": 8081}
    asked = {}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = proxy[kind]["httpGet"]
        assert probe["port"] in ports, "names of ports are the container's own"
        asked[kind] = (probe["port"], probe["path"])
    # Only readiness may fail while it drains: a start or a life that depended on more would end in a restart.
    assert asked == {
        "startupProbe": ("admin", "/-/healthy"),
        "livenessProbe": ("admin", "/-/healthy"),
        "readinessProbe": ("admin", "/-/ready"),
    }


def check_config(pod: Manifest, text: str, env: dict[str, str] | None = None) -> None:
    """The file fits the pod: ports as declared, time enough to drain."""
    table = table_of(text, env)
    assert (table.listen.host, table.listen.port) == ("0.0.0.0", 8080)
    assert table.admin is not None
    assert (table.admin.address.host, table.admin.address.port) == ("0.0.0.0", 8081)
    assert table.drain.delay + table.drain.timeout < pod["terminationGracePeriodSeconds"]


def check_service(service: Manifest, deployment: Manifest) -> None:
    """It selects the pods, and its port is the proxy's."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    proxy = proxy_of(deployment["spec"]["template"]["spec"])
    (http,) = [port["containerPort"] for port in proxy["ports"] if port["name"] == "http"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {"http", http}, "the admin port is nobody's service"
