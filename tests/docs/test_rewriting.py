"""What the page about rewriting shows is what happens: its file, its redirects, the names it refuses."""

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Rewriting
from corsproxy.http.redirects import Place, bring_back, bring_back_refresh
from tests.docs.pages import code, page, rows, section

PAGE = page("docs/rewriting.md")
REDIRECTS = [
    (said.removesuffix("` (`Refresh`)").split("`, `"), got.split("`")[0])
    for said, got in rows(section(PAGE, "Redirects"))
]
REFUSED = rows(section(PAGE, "Header edits"))


def rewriting() -> Rewriting:
    table, problems = load_table(code(PAGE, "yaml")[0], "corsproxy.yaml", {})
    assert table is not None, problems
    found = table.routes[0].rewriting
    assert found is not None
    return found


@pytest.mark.parametrize(("said", "got"), REDIRECTS, ids=[", ".join(said) for said, _ in REDIRECTS])
def test_redirects(said: list[str], got: str) -> None:
    mapping = rewriting().redirects
    assert mapping is not None
    place = Place(b"https", b"app.example.com", b"app.example.com")
    for url in said:
        bring = bring_back_refresh if "; url=" in url else bring_back
        expected = url if got.startswith("the same") else got
        assert bring(url.encode(), mapping, place).decode() == expected


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_names_that_are_refused(row: list[str]) -> None:
    names, _, direction = row[0].replace("`", "").partition(" of a ")
    policy = (
        "{allow_origins: [https://app.example.com], timing_allow_origin: true, "
        "cross_origin_resource_policy: same-site}"
    )
    for name in names.replace("Proxy-…", "Proxy-Authorization").replace("…", "Allow-Origin").split(", "):
        for key in [f"{direction}_headers"] if direction else ["request_headers", "response_headers"]:
            text = f"routes:\n  - {{upstream: http://a, cors: {policy}, {key}: {{remove: [{name}]}}}}\n"
            _, problems = load_table(text, "corsproxy.yaml", {})
            assert [problem.code for problem in problems] == ["owned-header"], name
