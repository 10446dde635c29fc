"""The Compose files: what an editor or a stop must not break, and what a container may not do."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, table_of

FOLDER = DEPLOY / "compose"
FILES = ("compose.yaml", "compose.sidecar.yaml")
# Of the Compose specification, what our files use; a misspelt key is not among it.
KNOWN_KEYS = {
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "image",
    "network_mode",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "volumes",
}

every_file = pytest.mark.parametrize("name", FILES)


def services_of(name: str) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / name).read_text())["services"]
    return services


def config_of(name: str) -> str:
    """The file in the directory that the proxy has mounted."""
    (volume,) = services_of(name)["proxy"]["volumes"]
    source, target, mode = volume.split(":")
    assert (target, mode) == ("/etc/corsproxy", "ro")
    assert (FOLDER / source).is_dir(), (
        "a file that is mounted by itself stays the old one when it is replaced"
    )
    return (FOLDER / source / "corsproxy.yaml").read_text()


@every_file
def test_it_has_the_api_the_proxy_and_no_unknown_key(name: str) -> None:
    services = services_of(name)
    assert set(services) == {"api", "proxy"}
    for service in services.values():
        assert set(service) <= KNOWN_KEYS


@every_file
def test_the_proxy_may_do_nothing_that_it_need_not(name: str) -> None:
    proxy = services_of(name)["proxy"]
    assert proxy["read_only"] is True
    assert proxy["cap_drop"] == ["ALL"]
    assert proxy["security_opt"] == ["no-new-privileges:true"]


@every_file
def test_the_configuration_loads_and_its_drain_fits(name: str) -> None:
    proxy = services_of(name)["proxy"]
    table = table_of(config_of(name), proxy["environment"])
    assert (table.listen.host, table.listen.port) == ("0.0.0.0", 8080)
    grace = re.fullmatch(r"(\d+)s", proxy["stop_grace_period"])
    assert grace
    assert table.drain.delay + table.drain.timeout < int(grace[1])


@every_file
def test_the_image_s_health_check_finds_the_admin_listener(name: str) -> None:
    table = table_of(config_of(name), services_of(name)["proxy"]["environment"])
    assert table.admin is not None
    assert (table.admin.address.host, table.admin.address.port) == ("127.0.0.1", 8081)


@every_file
def test_only_the_proxy_s_port_is_published(name: str) -> None:
    ports = [port for service in services_of(name).values() for port in service.get("ports", [])]
    assert ports == ["8080:8080"]


def test_as_a_service_of_its_own_it_reaches_the_api_by_name() -> None:
    proxy = services_of("compose.yaml")["proxy"]
    table = table_of(config_of("compose.yaml"), proxy["environment"])
    (endpoint,) = table.routes[0].upstream.endpoints
    assert endpoint.host in services_of("compose.yaml")
    assert proxy["depends_on"] == ["api"]


def test_as_a_sidecar_it_shares_the_api_s_loopback() -> None:
    services = services_of("compose.sidecar.yaml")
    proxy = services["proxy"]
    assert proxy["network_mode"] == "service:api"
    assert "ports" not in proxy, "ports are published where the network is: at the API"
    assert "127.0.0.1" in services["api"]["command"]
    (endpoint,) = (
        table_of(config_of("compose.sidecar.yaml"), proxy["environment"]).routes[0].upstream.endpoints
    )
    assert (endpoint.host, str(endpoint.port)) == ("127.0.0.1", services["api"]["command"][3])
