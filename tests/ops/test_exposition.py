"""What a scraper reads: judged by promtool, and by Prometheus' own parsers."""

import subprocess
import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from corsproxy.http.faults import CLIENT_GONE, UPSTREAM_REFUSED
from corsproxy.ops.exposition import expose
from corsproxy.ops.families import FAMILIES
from corsproxy.ops.metrics import Meter, Readings, Snapshot, Usage
from corsproxy.ops.plane import Reload, State
from tests.ops.exchanges import APP, EVIL, exchange

STATE = State("0123456789ab", 1_800_000_000.5)
READINGS = Readings(
    processes=2,
    connections=7,
    rebalanced=6,
    in_flight={"api": 3},
    websockets={"api": 1},
    endpoints={("legacy", "http://10.0.0.1:9000"): (1, 2), ("legacy", "http://10.0.0.2:9000"): (0, 2)},
    log_lines_lost=4,
    restarts=5,
    usage=Usage(1_799_999_999.5, 1500, 50_000_000, 20, 1024),
)


def full_snapshot() -> Snapshot:
    """One in which every metric has a value."""
    meter = Meter()
    meter.record(exchange(APP, responded=100.02, stripped=1, retries=1), 100.03)
    meter.record(exchange(EVIL), 100.2)
    meter.record(exchange(status=502, fault=UPSTREAM_REFUSED), 101.0)
    meter.record(exchange(at=None, method=b"BREW", status=499, fault=CLIENT_GONE), 120.0)
    return meter.snapshot(READINGS)


def exposed(accept: str = "", state: State = STATE) -> str:
    return expose(full_snapshot(), state, accept)[0].decode()


def values(text: str) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and its labels' values in the order of their names."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_promtool_has_nothing_to_say() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_metric_is_there_with_its_labels_and_help() -> None:
    found = {}
    for family in parse_text(exposed()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    assert found == {
        name: (family.kind, set(family.labels), family.says) for name, family in FAMILIES.items()
    }


SAMPLES = [
    ("a counter", ("corsproxy_requests_total", "200", "GET", "api"), 2),
    ("an unknown method, without route", ("corsproxy_requests_total", "499", "_OTHER", ""), 1),
    ("a bucket counts all below it", ("corsproxy_request_duration_seconds_bucket", "2xx", "0.25", "api"), 2),
    ("seconds, not microseconds", ("corsproxy_request_duration_seconds_sum", "2xx", "api"), 0.23),
    ("the last bucket", ("corsproxy_request_duration_seconds_bucket", "4xx", "+Inf", ""), 1),
    ("half of the workers ask it", ("corsproxy_upstream_endpoint_up", "http://10.0.0.1:9000", "legacy"), 0.5),
    ("a gauge", ("corsproxy_client_connections",), 7),
    ("processor time in seconds", ("process_cpu_seconds_total",), 1.5),
    ("when it was loaded", ("corsproxy_config_last_reload_success_timestamp_seconds",), 1_800_000_000.5),
    ("never reloaded is no failure", ("corsproxy_config_last_reload_successful",), 1),
]


@pytest.mark.parametrize(("says", "key", "value"), SAMPLES, ids=[says for says, _, _ in SAMPLES])
def test_values(says: str, key: tuple[str, ...], value: float) -> None:
    assert values(exposed())[key] == pytest.approx(value)


def test_a_reload_that_failed() -> None:
    state = State("0123456789ab", 1.0, draining=True, last_reload=Reload(ok=False, at=2.0))
    found = values(exposed(state=state))
    assert found["corsproxy_config_last_reload_successful",] == 0
    assert found["corsproxy_draining",] == 1


def test_openmetrics_for_a_scraper_that_prefers_it() -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
    body, media_type = expose(full_snapshot(), STATE, accept)
    assert media_type.startswith("application/openmetrics-text")
    named = {family.name: family for family in parse_openmetrics(body.decode())}
    assert named["corsproxy_requests"].type == "counter"
    assert body.endswith(b"# EOF\n")


def test_hostile_names_do_not_break_the_format() -> None:
    name = 'a"b\\c\nd{x="y"} 1'
    snapshot = Snapshot(readings=Readings(in_flight={name: 1}))
    text = expose(snapshot, STATE)[0].decode()
    assert values(text)["corsproxy_inflight_requests", name] == 1


def test_nobody_who_is_not_scraped_pays_for_the_format() -> None:
    code = "import sys, corsproxy.ops.process; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
