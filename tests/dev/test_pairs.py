"""Which preflight belongs to which call."""

from corsproxy.cors.decide import Decision, Preflight, decide_actual, decide_preflight
from corsproxy.dev.pairs import Pairs, Preceding
from corsproxy.proxy.exchange import Exchange
from tests.proxy.conftest import WEB

APP = b"https://app.example.com"


def asked(at: float, method: bytes = b"PUT", path: bytes = b"/a", origin: bytes = APP) -> Exchange:
    found = _exchange(at, b"OPTIONS", path, origin, decide_preflight(WEB, Preflight(origin, method)))
    found.requested_method = method
    return found


def called(at: float, method: bytes = b"PUT", path: bytes = b"/a", origin: bytes = APP) -> Exchange:
    return _exchange(at, method, path, origin, decide_actual(WEB, origin))


def _exchange(at: float, method: bytes, path: bytes, origin: bytes, decision: Decision) -> Exchange:
    found = Exchange(at, "")
    found.method, found.path, found.origin, found.decision = method, path, origin, decision
    return found


def told(*exchanges: Exchange) -> list[Preceding | None]:
    """What each is told; each takes a tenth of a second."""
    pairs = Pairs()
    return [pairs.note(at, each, each.started + 0.1) for at, each in enumerate(exchanges, 1)]


def test_a_call_follows_its_preflight() -> None:
    assert told(asked(0), called(1)) == [None, Preceding(1, cached=False)]


def test_the_next_call_relies_on_the_same_one() -> None:
    assert told(asked(0), called(1), called(2), called(599)) == [
        None,
        Preceding(1, cached=False),
        Preceding(1, cached=True),
        Preceding(1, cached=True),
    ]


def test_not_for_longer_than_it_is_good_for() -> None:
    assert told(asked(0), called(1), called(601))[2] is None


def test_a_call_long_after_relies_on_what_the_browser_kept() -> None:
    assert told(asked(0), called(60))[1] == Preceding(1, cached=True)


def test_the_newest_preflight_counts() -> None:
    assert told(asked(0), asked(1), called(2))[2] == Preceding(2, cached=False)


def test_another_path_method_or_origin_is_another_call() -> None:
    others = [called(1, path=b"/b"), called(1, method=b"DELETE"), called(1, origin=b"https://b.test")]
    assert told(asked(0), *others)[1:] == [None, None, None]


def test_a_refused_preflight_leads_nowhere() -> None:
    assert told(asked(0, b"PATCH"), called(1, b"PATCH")) == [None, None]


def test_it_forgets_the_oldest_of_many() -> None:
    many = [asked(0, path=b"/%d" % number) for number in range(600)]
    found = told(*many, called(1, path=b"/599"), called(1, path=b"/0"))
    assert found[-2:] == [Preceding(600, cached=False), None]


def test_requests_without_origin_or_decision_are_no_calls() -> None:
    bare = Exchange(0, "")
    assert told(bare) == [None]
