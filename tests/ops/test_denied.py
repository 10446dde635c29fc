"""The list of refused origins: short, in order, and never less than what happened."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from corsproxy.ops.denied import MOST_ORIGINS, Denied, DeniedOrigins, merge_denied
from tests.ops.exchanges import APP, EVIL, exchange, route


def noted(*origins: bytes) -> tuple[Denied, ...]:
    denied = DeniedOrigins()
    for at, origin in enumerate(origins):
        denied.note(exchange(origin), 100.0 + at)
    return denied.listed(1_000.0)


def test_an_entry_says_what_happened_last() -> None:
    denied = DeniedOrigins()
    denied.note(exchange(EVIL), 100.0)
    denied.note(exchange(EVIL, route("old", "report_only")), 101.5)
    assert denied.listed(1_000.0) == (
        Denied(EVIL.decode(), 2, 0, 1101.5, "report-only", "report-only", "origin-not-allowed", "old"),
    )


def test_what_no_route_took_or_no_page_asked_is_nobodys_refusal() -> None:
    denied = DeniedOrigins()
    denied.note(exchange(EVIL, at=None), 1.0)
    denied.note(exchange(None), 1.0)
    assert denied.listed(0.0) == ()


def test_most_first() -> None:
    assert [each.origin for each in noted(b"a", b"b", b"b", b"c", b"c", b"c")] == ["c", "b", "a"]


def test_a_long_origin_is_cut() -> None:
    listed = noted(b"https://" + b"a" * 500, b"https://" + b"a" * 600)
    assert [(len(each.origin), each.count) for each in listed] == [(128, 2)]


def test_control_characters_are_not_shown() -> None:
    assert noted(b"https://\x1b[31m\r\n")[0].origin == "https://?[31m??"


def test_a_newcomer_takes_the_place_of_the_rarest() -> None:
    often = [b"https://%d.example" % at for at in range(MOST_ORIGINS - 1)] * 3
    listed = noted(*often, b"https://once.example", b"https://new.example")
    assert len(listed) == MOST_ORIGINS
    assert (listed[-1].origin, listed[-1].count, listed[-1].uncertain) == ("https://new.example", 2, 1)
    assert "https://once.example" not in {each.origin for each in listed}


def test_one_that_is_refused_all_the_time_survives_a_flood_of_others() -> None:
    flood = [origin for at in range(5_000) for origin in (EVIL, b"https://%d.example" % at)]
    top = noted(*flood)[0]
    assert (top.origin, top.count, top.uncertain) == (EVIL.decode(), 5_000, 0)


@given(st.lists(st.integers(0, 90), max_size=400))
def test_counts_are_bounds(numbers: list[int]) -> None:
    """Space-saving never says too little, and says by how much it may say too much."""
    origins = [b"https://%d.example" % number for number in numbers]
    truth = Counter(origin.decode() for origin in origins)
    listed = noted(*origins)
    assert len(listed) == min(len(truth), MOST_ORIGINS)
    assert sum(each.count for each in listed) == len(origins)
    for each in listed:
        assert each.count - each.uncertain <= truth[each.origin] <= each.count


def test_lists_of_several_processes() -> None:
    one, other = noted(EVIL, APP), noted(b"x", b"y", EVIL)
    merged = merge_denied([one, other])
    assert (merged[0].origin, merged[0].count, merged[0].last_seen) == (EVIL.decode(), 2, 1102.0)
    assert {each.origin for each in merged[1:]} == {APP.decode(), "x", "y"}
