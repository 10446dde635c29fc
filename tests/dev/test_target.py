"""URLs as people type them, and what becomes of them."""

import pytest

from corsproxy.dev.target import TargetError, in_order, parse_route, parse_target

TARGETS = {
    "https://api.example.com": "https://api.example.com",
    "https://api.example.com/": "https://api.example.com",
    "https://api.example.com/v1/": "https://api.example.com/v1",
    "http://localhost:5000": "http://localhost:5000",
    "localhost:5000": "http://localhost:5000",
    "app.localhost/x": "http://app.localhost/x",
    "127.0.0.1:80": "http://127.0.0.1:80",
    "[::1]:9000": "http://[::1]:9000",
    ":5000": "http://localhost:5000",
    "5000": "http://localhost:5000",
    ":5000/v1": "http://localhost:5000/v1",
    "ws://localhost:7000": "http://localhost:7000",
    "wss://chat.example.com": "https://chat.example.com",
}


@pytest.mark.parametrize("typed", TARGETS)
def test_where_it_leads(typed: str) -> None:
    found = parse_target(typed)
    assert (found.prefix, found.url, found.strips) == ("/", TARGETS[typed], False)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("api.example.com", "write https://api.example.com"),
        ("localhost.example.com", "write https://localhost.example.com"),
        ("ftp://api.example.com", "write http://, https://, ws:// or wss://"),
        ("https://", "no host name"),
        ("https://me:secret@api.example.com", "no user name and password"),
        ("https://api.example.com/?q=1", "no query"),
        ("localhost:99999", "port"),
    ],
)
def test_what_leads_nowhere(typed: str, says: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(typed)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "prefix", "url", "strips"),
    [
        ("/auth=https://id.example.com", "/auth", "https://id.example.com", False),
        ("/auth=https://id.example.com/", "/auth", "https://id.example.com", True),
        ("/auth/=https://id.example.com/oauth", "/auth", "https://id.example.com/oauth", True),
        ("/ws=ws://localhost:7000", "/ws", "http://localhost:7000", False),
        ("/a/b=:5000", "/a/b", "http://localhost:5000", False),
    ],
)
def test_routes(typed: str, prefix: str, url: str, strips: bool) -> None:
    found = parse_route(typed)
    assert (found.prefix, found.url, found.strips) == (prefix, url, strips)


@pytest.mark.parametrize(
    "typed", ["https://id.example.com", "auth=https://x.test", "/=https://x.test", "/auth=", "/a b=:1"]
)
def test_what_is_no_route(typed: str) -> None:
    with pytest.raises(TargetError):
        parse_route(typed)


def test_longer_paths_come_first() -> None:
    targets = [parse_target(":1"), parse_route("/a=:2"), parse_route("/a/b=:3")]
    assert [target.prefix for target in in_order(targets)] == ["/a/b", "/a", "/"]


def test_a_path_leads_to_one_place() -> None:
    with pytest.raises(
        TargetError, match=r"/a leads to two places: http://localhost:1 and http://localhost:2"
    ):
        in_order([parse_route("/a=:1"), parse_route("/a/=:2")])


@pytest.mark.parametrize(
    ("prefix", "name"), [("/", "api"), ("/auth", "auth"), ("/a/b.c", "a-b-c"), ("/~", "api")]
)
def test_names_of_routes(prefix: str, name: str) -> None:
    assert parse_target(":1", prefix).name == name
