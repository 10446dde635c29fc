"""Which origins would a regular expression admit that its author did not mean?

Here:  spelling out what an expression was written for, then filling its open places as an attacker would.
Never: a verdict without an example: what is reported was matched by `re` itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

from corsproxy.cors.origins import DEFAULT_PORTS, MAX_ORIGIN_BYTES, Origin, parse_origin
from corsproxy.cors.regex_tree import Alt, Chars, Loop, Node, Seq, UnsupportedError, walk
from corsproxy.cors.sites import site_of, suffixes_below

__all__ = ["Reach", "find_reach"]

MAX_SPELLINGS = 256
MAX_OPEN_PLACES = 64
_MOST_SUFFIXES, _MOST_TENANTS, _MOST_ROUNDS = 4, 8, 6  # that are tried

_DOT = frozenset(b".")
# What an attacker puts where an expression leaves a choice, the plainest look-alikes first. Only what the
# open place takes is tried; whatever the whole expression then matches is an origin that somebody can own.
_FILLINGS = (
    b".evil.test",
    b"evil",
    b"evil.",
    b"evil.test",
    b"evil-",
    b"-evil",
    b".evil",
    b"https://evil",
    b"https://evil.",
    b"https://evil.test",
    b"https://evil.test:",
    b"https://",
    b"http://evil",
    b"http://evil.",
    b"http://",
    b"http",
    b"https",
    b".evil.test:443",
    b"evil:8443",
    b"x",
    b"-",
    b"z",
    b"f",
    b"7",
    b"0",
    b"",
)
# Asked beside what is built from the tree, so that no hole in the construction lets "any origin" pass.
_STRANGERS = (b"https://evil.test", b"https://attacker.example.org", b"https://a.b.c.invalid:8443")


@dataclass(frozen=True, slots=True)
class Reach:
    """What an expression was seen to admit."""

    meant: tuple[Origin, ...]  # by its own spelling; () = no origin at all
    stranger: Origin | None  # one of another owner
    tenant: Origin | None  # one of another owner below a shared suffix such as vercel.app
    app: Origin | None  # one of another app or extension, whose scheme knows no names to register
    is_universal: bool  # it also matches hosts that share nothing with it


Filling = Mapping[int, bytes]  # id of an open place -> what stands there


def find_reach(compiled: re.Pattern[bytes], tree: Node) -> Reach:
    """Spell out an expression, attack it, and compare the owners. Raises UnsupportedError when too large."""
    places = [node for node in walk(tree) if _is_open(node)]
    if len(places) > MAX_OPEN_PLACES:
        raise UnsupportedError(f"more than {MAX_OPEN_PLACES} open places")
    meant = _matched(compiled, _plain_spellings(tree, places))
    wide = [node for node in walk(tree) if _is_wide(node)]
    attacked = _matched(compiled, _attacks(tree, places, wide, (*_FILLINGS, *_tenant_fillings(meant))))
    attacked.extend(_matched(compiled, iter(_STRANGERS)))
    is_universal = all(compiled.fullmatch(stranger) for stranger in _STRANGERS[:2])
    meant = meant or attacked[:1]
    return Reach(
        meant=tuple(meant),
        stranger=_first_foreign(meant, attacked, icann_only=True),
        tenant=_first_foreign(meant, attacked, icann_only=False),
        app=_first_other_app(meant, attacked),
        is_universal=is_universal,
    )


def _matched(compiled: re.Pattern[bytes], candidates: Iterator[bytes]) -> list[Origin]:
    found = dict.fromkeys(text for text in candidates if compiled.fullmatch(text))
    return [origin for origin in map(parse_origin, found) if origin]


def _first_foreign(meant: list[Origin], attacked: list[Origin], *, icann_only: bool) -> Origin | None:
    """The first origin of an owner that none of those meant has; failing that, one of another scheme."""
    sites = {site_of(origin, icann_only=icann_only) for origin in meant}
    owners = {owner for _, owner in sites}
    foreign = [(site_of(other, icann_only=icann_only), other) for other in attacked]
    foreign = [(site, other) for site, other in foreign if site not in sites]
    foreign.sort(key=lambda found: found[0][1] in owners)
    return foreign[0][1] if foreign else None


def _first_other_app(meant: list[Origin], attacked: list[Origin]) -> Origin | None:
    """The first origin that is neither a web page's nor one of those meant."""
    known = {(origin.scheme, origin.host) for origin in meant}
    return next(
        (
            other
            for other in attacked
            if other.scheme not in DEFAULT_PORTS and (other.scheme, other.host) not in known
        ),
        None,
    )


def _tenant_fillings(meant: list[Origin]) -> list[bytes]:
    """Names that strangers can have below those meant: `evil.s3` where `*.amazonaws.com` is."""
    hosts = dict.fromkeys(origin.host for origin in meant if origin.scheme in DEFAULT_PORTS)
    names = dict.fromkeys(name for host in hosts for name in _parents(host))
    lefts = [left for name in names for left in suffixes_below(name)[:_MOST_SUFFIXES]][:_MOST_TENANTS]
    return [text.encode("ascii") for left in lefts for text in (f"evil.{left}", f"evil.{left}.")]


def _parents(host: bytes) -> Iterator[bytes]:
    """The names above this one, but for the last label."""
    while b"." in (host := host.partition(b".")[2]):
        yield host


def _is_wide(node: Node) -> bool:
    """Does it repeat several characters, so that each time may differ: `(dev-|stage-)*`?"""
    return isinstance(node, Loop) and not isinstance(node.body, Chars) and node.high not in {0, 1}


def _is_open(node: Node) -> bool:
    """Does the expression leave a choice here that its author may not have seen?"""
    match node:
        case Chars(free=free):
            return free
        case Loop(body=Chars(which, free), low=low, high=high):
            return free or (
                high != low and (high != 1 or which == _DOT)
            )  # "\.?" too: the dot that may be gone
        case _:
            return False


def _plain_spellings(tree: Node, places: list[Node]) -> Iterator[bytes]:
    """Every spelling with the open places filled as plainly as they allow: shortest, then not empty."""
    for at_least in (0, 1):
        filling = {id(place): _plain(place, at_least) for place in places}
        spellings = list(islice(_spell(tree, filling), MAX_SPELLINGS + 1))
        if len(spellings) > MAX_SPELLINGS:
            raise UnsupportedError(f"more than {MAX_SPELLINGS} alternatives")
        yield from spellings


def _plain(place: Node, at_least: int) -> bytes:
    match place:
        case Chars(which):
            return _plain_char(which, b".a0")  # a bare dot was most likely meant as one
        case Loop(body=Chars(which, free), low=low):
            if not free and which == _DOT:
                return b"." * max(low, 1)
            return _plain_char(which, b"a0") * max(low, at_least)
    return b""


def _plain_char(which: frozenset[int], preferred: bytes) -> bytes:
    chosen = next((char for char in preferred if char in which), min(which, default=None))
    return b"" if chosen is None else bytes([chosen])


def _attacks(tree: Node, places: list[Node], wide: list[Node], texts: tuple[bytes, ...]) -> Iterator[bytes]:
    """The spellings with one open place, and then with all of them, filled by an attacker."""
    grounds = list(_grounds(places))
    for place in wide:
        for filling in (*texts, *_pairs(place, grounds[0])):
            yield from islice(_spell(tree, {**grounds[0], id(place): filling}), MAX_SPELLINGS)
    for text in texts:
        for place in places:
            for filling in _fit(place, text):
                for ground in grounds:
                    yield from islice(_spell(tree, {**ground, id(place): filling}), MAX_SPELLINGS)
        everywhere = {id(place): filling for place in places for filling in _fit(place, text)}
        yield from islice(_spell(tree, {**grounds[0], **everywhere}), MAX_SPELLINGS)


def _pairs(place: Node, ground: Filling) -> Iterator[bytes]:
    """Two rounds of a repeat, each perhaps another, and three."""
    if isinstance(place, Loop):
        rounds = tuple(islice(_spell(place.body, ground), _MOST_ROUNDS))
        yield from (b"".join(pair) for pair in product(rounds, repeat=2))
        yield from (text * 3 for text in rounds[:1])


def _grounds(places: list[Node]) -> Iterator[Filling]:
    """What stands in the other open places while one is attacked."""
    plain = {id(place): _plain(place, 1) for place in places}
    yield plain
    yield {id(place): _plain(place, 0) for place in places}
    dots = [place for place in places if isinstance(place, Loop) and _is_dot(place.body) and not place.low]
    if dots:
        yield {**plain, **{id(place): b"" for place in dots}}
    for place in places[:1]:  # ".*" at the front stands for the scheme too
        yield from ({**plain, id(place): filling} for filling in _fit(place, b"https://evil"))


def _fit(place: Node, text: bytes) -> Iterator[bytes]:
    """The text as this place can hold it, stretched or cut to the length it takes; nothing when it cannot."""
    match place:
        case Chars(which):
            if len(text) == 1 and which.issuperset(text):
                yield text
            elif not text:
                yield from _members(which)
            return
        case Loop(body=Chars(which), low=low, high=top):
            high = MAX_ORIGIN_BYTES if top is None else top
        case _:
            return
    if not which.issuperset(text):
        return
    if not text:
        yield (_plain_char(which, b"a0") * (low + 2))[:high]  # "a+" can hold "aaa"
        yield from (member * max(low, 1) for member in _members(which) if high)
    if len(text) < low:
        text = text[:1] + text[-1:] * (low - len(text)) + text[1:]
    yield text[:high]


def _members(which: frozenset[int]) -> Iterator[bytes]:
    """Some characters of a class: what it was written for may be one of them alone."""
    ordered = sorted(which)
    yield from (bytes([char]) for char in dict.fromkeys(ordered[-1:] + ordered[len(ordered) // 2 :][:1]))


def _is_dot(node: Node) -> bool:
    return isinstance(node, Chars) and node.which == _DOT


def _spell(node: Node, filling: Filling) -> Iterator[bytes]:
    """What the tree stands for with the open places filled; repeats once, and not at all where allowed."""
    if id(node) in filling:
        yield filling[id(node)]
        return
    match node:
        case Chars(which):
            yield from (bytes([char]) for char in sorted(which))
        case Seq(items):
            for texts in product(
                *(tuple(islice(_spell(item, filling), MAX_SPELLINGS + 1)) for item in items)
            ):
                yield b"".join(texts)
        case Alt(branches):
            for branch in branches:
                yield from _spell(branch, filling)
        case Loop(body, low, high):
            counts = (low,) if high == low else (max(low, 1), low) if low == 0 else (low, low + 1)
            for count in counts:
                yield from (text * count for text in islice(_spell(body, filling), MAX_SPELLINGS + 1))
