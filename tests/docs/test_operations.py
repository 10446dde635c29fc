"""What the page for operators lists is what there is: verbs, log fields, keys that do not work yet."""

import json
import re

import click

from corsproxy.cli.main import cli
from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.cors.decide import decide_actual
from corsproxy.http.faults import TUNNEL_IDLE, UPSTREAM_REFUSED, UPSTREAM_STALLED
from corsproxy.ops.log import json_line
from corsproxy.proxy.exchange import Exchange
from tests.docs.pages import code, page, rows, section

PAGE = page("docs/operations.md")
FILE = code(page("README.md"), "yaml")[0]
LOG_TABLE = section(PAGE, "Log").split("```\n\n")[1]


def table_of(text: str) -> Table:
    table, problems = load_table(text, "page", {})
    assert table is not None, problems
    return table


def exchange_with_everything() -> Exchange:
    route = table_of(FILE).routes[0]
    assert route.policy is not None
    exchange = Exchange(1.0, "127.0.0.1")
    exchange.route = route
    exchange.client = "203.0.113.7"
    exchange.user_agent = b"curl/8.14.1"
    exchange.traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    exchange.retries = 1
    exchange.request_id = b"5d0c1f6ab3e200000000"
    exchange.decision = decide_actual(route.policy, b"https://evil.example")
    exchange.endpoint = "http://localhost:9000"
    exchange.address = "127.0.0.1:9000"
    exchange.responded = 1.5
    exchange.fault = UPSTREAM_REFUSED.because("http://127.0.0.1:9000")
    return exchange


def test_the_table_has_every_field_of_an_exchange_in_the_log() -> None:
    fields = json.loads(json_line(exchange_with_everything(), 2.0, 0.0))
    assert [name for name, _ in rows(LOG_TABLE)] == list(fields)


def test_the_example_line_has_the_fields_of_such_an_exchange() -> None:
    exchange = exchange_with_everything()
    exchange.fault, exchange.address, exchange.client, exchange.retries = None, "", "", 0
    (line,) = code(section(PAGE, "Log"), "json")
    assert list(json.loads(line)) == list(json.loads(json_line(exchange, 2.0, 0.0)))


def test_the_verbs() -> None:
    listed = [verb for verb, _ in rows(PAGE.partition("## Start")[0])]
    assert listed == cli.list_commands(click.Context(cli))


def test_every_option_of_run_that_replaces_a_key() -> None:
    run = cli.get_command(click.Context(cli), "run")
    assert run is not None
    options = {option.opts[0]: option.envvar for option in run.params if isinstance(option, click.Option)}
    listed = {row[0].split("`")[0]: row[1] for row in rows(section(PAGE, "Start"))}
    assert listed == {name: variable for name, variable in options.items() if variable}


def test_the_times_of_a_stream_and_the_route_that_has_others() -> None:
    text = section(PAGE, "Streams")
    (example,) = code(text, "yaml")
    (longer,), usual = table_of(example).routes, table_of(FILE)
    said = re.findall(r"`(?:timeouts|drain)\.(\w+)`\*{0,2}\s+\(([^)]+)\)", text)
    assert said == [("idle", "5 min"), ("response", "1 min"), ("timeout", "25 s")]
    assert (usual.routes[0].timeouts.idle, usual.routes[0].timeouts.response) == (300, 60)
    assert usual.drain.timeout == 25
    assert longer.timeouts.idle == 3600
    assert longer.limits.in_flight == 5000


def test_the_faults_of_a_stream_are_what_the_log_calls_them() -> None:
    text = section(PAGE, "Streams")
    for fault in (UPSTREAM_STALLED, TUNNEL_IDLE):
        assert f"`{fault.code}`" in text
