"""Whatever a client sends is read in linear time, and never with an exception (trap 46).

Here:  what reads bytes of a client or an upstream in `cors`, `http` and `proxy`, on inputs made to be slow.
Never: clocks: instructions are counted (tests.counting).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corsproxy.config.compile import load_table
from corsproxy.cors.compile import compile_policy
from corsproxy.cors.decide import Preflight, decide_actual, decide_preflight
from corsproxy.cors.fields import exposable, merge_vary, parse_names, shown
from corsproxy.cors.origins import canonical_ipv6, is_well_formed, parse_origin
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written
from corsproxy.http.fields import list_members, nominated
from corsproxy.http.paths import canonical_path, normalised_path
from corsproxy.proxy.request import read_request
from corsproxy.proxy.routing import Router, host_name
from tests.counting import count_instructions

LARGE = 10_000  # bytes; more than any field may have that is read here
# What reading that much may cost, in instructions of Python: fifty for a byte, each a field of its own.
BUDGET = 50 * LARGE


def compiled(*origins: str, regex: tuple[str, ...] = ()) -> CorsPolicy:
    spec = PolicySpec(
        "linear",
        allow_origins=tuple(map(Written, origins)),
        allow_origin_regex=tuple(map(Written, regex)),
        allow_methods=(Written("*"),),
        allow_headers=(Written("*"),),
    )
    policy, hazards = compile_policy(spec)
    assert policy, hazards
    return policy


POLICY = compiled("https://*.example.com", "@loopback", regex=(r"https://[a-z0-9-]+\.example\.org",))
APP = b"https://app.example.com"


@dataclass(frozen=True, slots=True)
class Reader:
    says: str
    read: Callable[[bytes], object]
    growing: int = 4_000  # bytes, twice of which is still read to its end


READERS = [
    Reader("an origin", parse_origin, 250),
    Reader("an origin, well formed or not", is_well_formed, 250),
    Reader("an IPv6 address", canonical_ipv6),
    Reader("an actual request", lambda raw: decide_actual(POLICY, raw), 250),
    Reader("the origin of a preflight", lambda raw: decide_preflight(POLICY, Preflight(raw, b"PUT")), 250),
    Reader("the method of a preflight", lambda raw: decide_preflight(POLICY, Preflight(APP, raw))),
    Reader("the headers of a preflight", lambda raw: decide_preflight(POLICY, Preflight(APP, b"PUT", raw))),
    Reader("a list of names", parse_names),
    Reader("Vary", lambda raw: merge_vary([raw], [b"Origin"])),
    Reader("names to expose", lambda raw: exposable(raw.split(b","))),
    Reader("a value to show", shown),
    Reader("a list of fields", list_members),
    Reader("Connection", lambda raw: nominated([raw])),
    Reader("a path", canonical_path),
    Reader("a path as an upstream reads it", normalised_path),
    Reader("a host", host_name),
    Reader("a target", lambda raw: head(target=b"/" + raw)),
    Reader("a target in absolute form", lambda raw: head(target=b"http://" + raw)),
    Reader("Host", lambda raw: head((b"Host", raw))),
    Reader(
        "the fields of a request", lambda raw: head(*((b"x-%b" % part, part) for part in raw.split(b",")))
    ),
]


def head(*fields: tuple[bytes, bytes], target: bytes = b"/") -> object:
    return read_request(b"GET", target, [(b"Host", b"a"), *fields], is_http10=False, keep_alive=True)


# Each is what some reader has to look at again and again, if it is not written with care.
FAMILIES = [
    b"a", b"0", b"-", b".", b",", b" ", b"\t", b":", b"/", b"\\", b"%", b"[", b"*", b"\x00", b"\xff",
    b"a.", b"1.", b"a-", b"a,", b" ,", b", ", b"a b", b"0:", b"::", b"./", b"../", b"a/", b"//", b";/",
    b"%2e", b"%2E/", b"%2f", b"%41", b"%%", b"/..;", b"x-a,", b"Origin,", b"https://", b"a.a-",
]  # fmt: skip
BEGINNINGS = [b"", b"https://", b"https://[", b"[", b"/"]


def hostile(beginning: bytes, family: bytes, size: int) -> bytes:
    return (beginning + family * (size // len(family) + 1))[:size]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.says)
def test_twice_the_input_is_at_most_twice_the_work(reader: Reader) -> None:
    for beginning, family in product(BEGINNINGS, FAMILIES):
        once, twice = (
            work(reader, hostile(beginning, family, size)) for size in (reader.growing, 2 * reader.growing)
        )
        assert twice <= 2.2 * once, (beginning, family)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.says)
def test_ten_kilobytes_are_read_within_the_budget(reader: Reader) -> None:
    for beginning, family in product(BEGINNINGS, FAMILIES):
        assert work(reader, hostile(beginning, family, LARGE)) <= BUDGET, (beginning, family)


def work(reader: Reader, raw: bytes) -> int:
    return count_instructions(lambda: reader.read(raw))


def test_a_host_of_thousands_of_labels_costs_no_more_than_the_longest_name() -> None:
    """Each label is one more pattern to look up, and the rest of the name to copy: a name has 127 at most."""
    table, problems = load_table("routes: [{upstream: 'http://127.0.0.1:9000', cors: off}]", "f", {})
    assert table, problems

    def look_up(host: bytes) -> int:
        router = Router(table.routes)
        return count_instructions(lambda: router.match(b"GET", host, b"/", []))

    assert look_up(hostile(b"", b"a.", LARGE)) <= 2 * look_up(hostile(b"", b"a.", 253))


parts = st.sampled_from([*FAMILIES, *BEGINNINGS]) | st.binary(max_size=12)
pieced = st.lists(st.builds(lambda part, times: part * times, parts, st.integers(1, 60)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=700) | pieced.map(b"".join))
@example(b"https://[::ffff:127.0.0.1]:65536")
@example(b"https://" + b"1" * 300)
def test_no_reader_raises(raw: bytes) -> None:
    for reader in READERS:
        reader.read(raw)
