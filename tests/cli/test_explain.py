"""`corsproxy explain` from the outside: golden files of what it prints; usage, exit codes, JSON, HAR.

Each golden file has the arguments, a line of dashes, what is printed, and the exit code.
`python -m tests.cli.test_explain` writes the outputs anew; read the difference before committing it.
"""

import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from corsproxy.cli.har import HarError, read_har
from corsproxy.cli.main import cli
from corsproxy.config.compile import load_table
from corsproxy.config.table import Address, Table
from corsproxy.cors.browser import Call
from corsproxy.proxy.explain import Question, explain
from corsproxy.proxy.explained import as_json, curl_commands

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("explain-*.txt"))
RULER = "-" * 40 + "\n"
APP = "https://app.example.com"
CONFIG = (GOLDEN / "explain.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def in_a_folder_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORSPROXY_CONFIG", raising=False)
    copy_files(tmp_path)


def copy_files(folder: Path) -> None:
    shutil.copy(GOLDEN / "explain.yaml", folder / "corsproxy.yaml")
    shutil.copy(GOLDEN / "session.har", folder / "session.har")


def run(*args: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["explain", *args], input=text, prog_name="corsproxy")


def printed(args: str) -> str:
    result = run(*shlex.split(args))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return f"{result.stdout}exit {result.exit_code}\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.removeprefix("explain-"))
def test_what_explain_prints(file: Path) -> None:
    args, _, expected = file.read_text(encoding="utf-8").partition(RULER)
    assert printed(args) == expected


def test_a_line_is_never_wider_than_a_terminal_needs_scrolling_for() -> None:
    """Not the message of a hazard, nor Firefox's and Chromium's: they are sentences."""
    for file in FILES:
        _, _, text = file.read_text(encoding="utf-8").partition(RULER)
        steps = [line for line in text.splitlines() if "(Fetch, #" in line and "unsafe" not in line]
        assert all(len(line) <= 130 for line in steps)


# JSON


def test_json_has_the_fields_of_the_design() -> None:
    result = run("--path", "/api", "--origin", APP, "--method", "PATCH", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (found["route"], found["policy"], found["kind"]) == ("api", "web", "preflight")
    assert (found["allowed"], found["reason"], found["detail"]) == (False, "method-not-allowed", "PATCH")
    assert (found["rule"]["file"], found["rule"]["line"]) == ("corsproxy.yaml", 7)
    assert found["response_headers"] == [
        ["Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]
    ]
    assert found["browser"]["outcome"] == "not-sent"
    assert found["browser"]["console"].startswith("Chromium: PreflightMissingAllowOriginHeader: ")
    assert found["remedy"] == "add PATCH to policies.web.allow_methods (corsproxy.yaml:7)"


def test_json_of_what_is_allowed() -> None:
    result = run("--path", "/api", "--origin", APP, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["allowed"], found["remedy"]) == (0, True, "")
    assert found["browser"] == {"outcome": "readable", "console": "", "messages": []}
    assert found["rule"] == {
        "file": "corsproxy.yaml",
        "line": 6,
        "where": "policies.web.allow_origins[0]",
        "text": APP,
    }
    assert ["Access-Control-Allow-Origin", APP] in found["response_headers"]


def test_json_has_the_same_keys_whatever_happened() -> None:
    keys = {
        tuple(json.loads(run("--path", path, "--origin", origin, "--json").stdout))
        for path in ("/api", "/nowhere", "/off", "/trial", "/public/../api")
        for origin in (APP, "null", "?")
    }
    assert len(keys) == 1


def test_the_changes_are_places_in_the_file() -> None:
    """Making them with a YAML library, and explaining once more, gives an allowed call."""
    args = [
        "--origin",
        "https://shop.example.org",
        "--path",
        "/api",
        "--method",
        "DELETE",
        "--headers",
        "x-id",
    ]
    found = json.loads(run(*args, "--json").stdout)
    document = yaml.safe_load(CONFIG)
    for change in found["changes"]:
        *path, key = change["where"].split(".")
        block = document
        for step in path:
            block = block[step]
        if "add" in change:
            block[key].append(change["add"])
        else:
            block[key] = change["set"]
    Path("corsproxy.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert [each["where"] for each in found["changes"]] == [
        "policies.web.allow_origins",
        "policies.web.allow_methods",
        "policies.web.allow_headers",
    ]
    assert run(*args).exit_code == 0


# Usage

BLOCKED = "has been blocked by CORS policy:"
NAMED = ["--path", "/api", "--origin", APP]
USAGE = [
    ("no call", [], "name the call with --path and --origin"),
    ("no origin", ["--path", "/api"], "name the call with --path and --origin"),
    ("a URL for a path", ["--origin", APP, "--path", "http://a/b"], "is no path"),
    ("a fragment", ["--origin", APP, "--path", "/a#b"], "is no path"),
    ("a path beyond ASCII", ["--origin", APP, "--path", "/é"], "not printable ASCII"),
    ("a method that is none", [*NAMED, "--method", "GET IT"], "is no method"),
    ("a host with a space", [*NAMED, "--host", "a b"], "the proxy answers 400"),
    ("a port that is none", [*NAMED, "--host", "h:99999"], "the proxy answers 400"),
    ("a user at a host", [*NAMED, "--host", "u@h"], "is no host and port"),
    ("an empty host", [*NAMED, "--host", ""], "is no host and port"),
    ("a header name that is none", [*NAMED, "--headers", "a,b c"], "is no header name"),
    ("a header without a value", [*NAMED, "-H", "x-id"], "write it like"),
    ("two forms", [*NAMED, "--json", "--curl"], "one of --json and --curl"),
    ("two sources", ["--har", "a", "--error", "b"], "one of --har and --error"),
    ("a HAR and a call", [*NAMED, "--har", "session.har"], "a HAR says what the calls are"),
    ("standard input twice", ["--har", "-", "-c", "-"], "read once"),
    ("a HAR that is not there", ["--har", "nope.har"], "nope.har cannot be read as a HAR"),
    ("a HAR that is none", ["--har", "corsproxy.yaml"], "cannot be read as a HAR: line 1"),
    ("a message that is none", ["--error", "404 Not Found"], "copy it from"),
    (
        "Firefox names no origin",
        [
            "--error",
            "remote resource at http://a/. (Reason: CORS header ‘Access-Control-Allow-Origin’ missing)",
        ],
        "add --origin",
    ),
    (
        "a URL that no browser has",
        ["--origin", APP, "--error", "remote resource at http://[/. (Reason: CORS preflight"],
        "is no URL",
    ),
    (
        "a URL with a user, whom no browser shows",
        ["--origin", APP, "--error", "remote resource at http://u@h/. (Reason: CORS preflight"],
        "is no URL",
    ),
]


@pytest.mark.parametrize(("says", "args", "why"), USAGE, ids=[row[0] for row in USAGE])
def test_usage(says: str, args: list[str], why: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr


def test_a_bad_file_exits_with_78_and_says_why() -> None:
    result = run(*NAMED, "-c", "-", text="routes: [{upstreem: x}]")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "-:1:11: routes[0]: unknown key 'upstreem'\n    did you mean 'upstream'?\n" in result.stderr


def test_a_missing_file_exits_with_78() -> None:
    result = run(*NAMED, "-c", "nope.yaml")
    assert (result.exit_code, result.stdout) == (78, "")


def test_standard_input_for_the_file_and_for_a_message() -> None:
    assert run(*NAMED, "-c", "-", text=CONFIG).exit_code == 0
    message = f"Access to fetch at 'http://127.0.0.1:8080/api' from origin '{APP}' {BLOCKED}"
    result = run(
        "--error", "-", text=f"{message} Method PATCH is not allowed by Access-Control-Allow-Methods"
    )
    assert (result.exit_code, "add PATCH to policies.web" in result.stdout) == (1, True)


def test_options_go_before_what_a_message_says() -> None:
    message = (
        f"Access to fetch at 'https://x/y' from origin 'null' {BLOCKED} No 'Access-Control-Allow-Origin'"
    )
    assert run("--error", message).exit_code == 1
    assert run("--error", message, *NAMED, "--host", "api.example.com").exit_code == 0


# Commands


def table(listen: str = "127.0.0.1:8080") -> Table:
    found, problems = load_table(CONFIG.replace("127.0.0.1:8080", listen), "corsproxy.yaml", {})
    assert found is not None, problems
    return found


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        (Address("0.0.0.0", 80), ["http://127.0.0.1:80/api", "-H", "Host: a.test"]),
        (Address("::", 80), ["http://[::1]:80/api", "-H", "Host: a.test"]),
        (Address(path="/run/x.sock"), ["--unix-socket", "/run/x.sock", "http://a.test/api"]),
    ],
    ids=["any address", "any IPv6 address", "a Unix socket"],
)
def test_commands_reach_the_listener(listen: Address, words: list[str]) -> None:
    found = explain(table(), Question(Call(APP.encode()), b"/api", b"a.test"))
    (command,) = curl_commands(found, listen)
    assert shlex.split(command) == ["curl", "-i", *words, "-H", f"Origin: {APP}"]


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (b"/api?ids[0]=1", ["-g"]),
        (b"/api/{a,b}", ["-g"]),
        (b"/x/../api", ["--path-as-is"]),
        (b"/api/.", ["--path-as-is"]),
        (b"/x/%2E./api", ["--path-as-is"]),
        (b"/./api?a={b}", ["-g", "--path-as-is"]),
        (b"/api/a.b", []),
    ],
)
def test_curl_asks_for_the_target_as_it_stands(target: bytes, options: list[str]) -> None:
    found = explain(table(), Question(Call(APP.encode()), target, b"127.0.0.1:8080"))
    (command,) = curl_commands(found, table().listen)
    url = f"http://127.0.0.1:8080{target.decode()}"
    assert shlex.split(command) == ["curl", "-i", *options, url, "-H", f"Origin: {APP}"]


def test_curl_sends_a_header_without_a_value() -> None:
    (command,) = run(*NAMED, "-H", "Accept:", "--curl").stdout.splitlines()
    assert shlex.split(command)[-2:] == ["-H", "Accept;"]


def test_a_head_is_asked_for_as_curl_wants_it() -> None:
    found = explain(table(), Question(Call(APP.encode(), b"HEAD"), b"/api", b"127.0.0.1:8080"))
    assert curl_commands(found, table().listen) == [
        f"curl -i --head http://127.0.0.1:8080/api -H 'Origin: {APP}'"
    ]


# HAR


def har(*requests: dict[str, object]) -> str:
    return json.dumps({"log": {"entries": [{"request": request} for request in requests]}})


def request(method: str, url: str, **fields: str) -> dict[str, object]:
    listed = [{"name": name.replace("_", "-"), "value": value} for name, value in fields.items()]
    return {"method": method, "url": url, "headers": listed}


def test_which_entries_are_calls_to_another_origin() -> None:
    text = har(
        request("GET", "https://a.test/"),
        request("POST", "https://a.test:443/", origin="https://a.test"),
        request("POST", "https://a.test/", origin="null"),
        request("GET", "data:text/plain,x", origin="https://a.test"),
        request("GET", "http://[::1]:8080/x", origin="https://a.test"),
        request("GET", "http://[", origin="https://a.test"),
    )
    found = read_har(text, credentials=False, host=None)
    assert [(entry.number, entry.question.host) for entry in found] == [(3, b"a.test"), (5, b"[::1]:8080")]


def test_headers_are_what_the_preflight_asked_for() -> None:
    asks = {"access_control_request_method": "PUT", "access_control_request_headers": "x-id"}
    text = har(
        request("OPTIONS", "https://b.test/", origin="https://a.test", **asks),
        request("PUT", "https://b.test/", origin="https://a.test", x_id="1", x_by_an_extension="1"),
        request("PUT", "https://c.test/", origin="https://a.test", x_id="1", user_agent="x", sec_a="1"),
    )
    first, second = read_har(text, credentials=False, host=None)
    assert first.question.call == Call(b"https://a.test", b"PUT", ((b"x-id", b"1"),), asks_first=True)
    assert second.question.call == Call(b"https://a.test", b"PUT", ((b"x-id", b"1"),))


def test_a_preflight_alone_stands_for_its_call() -> None:
    asks = {"access_control_request_method": "PUT", "access_control_request_headers": "x-id"}
    text = har(request("OPTIONS", "https://b.test/", origin="https://a.test", **asks))
    (entry,) = read_har(text, credentials=True, host="c.test")
    assert entry.question.host == b"c.test"
    assert entry.question.call == Call(
        b"https://a.test", b"PUT", ((b"x-id", None),), credentials=True, asks_first=True
    )


def test_a_cookie_proves_credentials() -> None:
    text = har(request("GET", "https://b.test/", origin="https://a.test", cookie="a=1"))
    (entry,) = read_har(text, credentials=False, host=None)
    assert entry.question.call.credentials


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        '{"log": 1}',
        '{"log": {"entries": [1]}}',
        '{"log": {"entries": [{}]}}',
        "[" * 100_000,
        f'{{"log": {"1" * 5000}}}',
    ],
    ids=["nothing", "a list", "a number", "no log", "no entry", "no request", "deep", "many digits"],
)
def test_what_is_no_har_is_said_in_one_line(text: str) -> None:
    with pytest.raises(HarError) as error:
        read_har(text, credentials=False, host=None)
    assert "\n" not in str(error.value)


def test_a_header_name_that_is_none_is_left_out() -> None:
    text = har(request("PUT", "https://b.test/", origin="https://a.test", x_id="1", naïve="1", 名="1"))
    (entry,) = read_har(text, credentials=False, host=None)
    assert entry.question.call.headers == ((b"x-id", b"1"),)


@pytest.mark.parametrize("name", ["-", "bom.har"])
def test_a_byte_order_mark_is_no_part_of_a_har(name: str) -> None:
    text = "\ufeff" + har(request("GET", "https://a.test/"))
    Path("bom.har").write_text(text, encoding="utf-8")
    assert run("--har", name, text=text).exit_code == 0


def test_a_har_as_json_is_a_list() -> None:
    result = run("--har", "session.har", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, [entry["entry"] for entry in found]) == (1, [4, 5, 6])
    assert found[0].keys() == {"entry", "url", *as_json_keys()}


def as_json_keys() -> set[str]:
    return set(as_json(explain(table(), Question(Call(APP.encode()), b"/api", b"127.0.0.1"))))


def test_a_har_without_cross_origin_calls_is_fine() -> None:
    result = run("--har", "-", text=har(request("GET", "https://a.test/")))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "0 cross-origin calls: 0 allowed, 0 not\n"


if __name__ == "__main__":
    os.environ.pop("CORSPROXY_CONFIG", None)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        copy_files(Path(name))
        for each in FILES:
            source, _, _ = each.read_text(encoding="utf-8").partition(RULER)
            each.write_text(source + RULER + printed(source), encoding="utf-8")
