"""Could a hostile origin keep a regular expression busy?

Here:  the expression as an automaton of its characters (Glushkov's), searched for two ways to read one text.
Never: timing anything. The answer is a property of the expression, not of a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from corsproxy.cors.regex_tree import Alt, Chars, Loop, Node, Seq, walk

__all__ = ["find_backtracking"]

MAX_POSITIONS = 512  # characters of an expression after its counted repeats were written out
MAX_WRITTEN_OUT = 64  # a repeat with a fixed count up to here is written out; others count as endless
MAX_LOOP = 64  # characters inside one repeat
MAX_CHAIN = 2  # loops over the same characters, one behind the other: the work grows with this power


@dataclass(slots=True)
class _Automaton:
    """Positions are the characters of the expression; `follow[p]` may come right after p."""

    chars: list[frozenset[int]] = field(default_factory=list)
    follow: list[set[int]] = field(default_factory=list)
    hollow: bool = False  # something is repeated that can be empty: (a?)*, ((){9}){9}
    forked: bool = False  # something is repeated that can read nothing in two ways: (a|a)+ is (a(|))+ to `re`
    twice: bool = False  # two loops lead from one position to the same next one: (a+)+

    def add(self, which: frozenset[int]) -> int:
        self.chars.append(which)
        self.follow.append(set())
        return len(self.chars) - 1

    def link(self, last: frozenset[int], first: frozenset[int]) -> None:
        for position in last:
            self.twice |= not self.follow[position].isdisjoint(first)
            self.follow[position] |= first


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the automaton: where it can begin and end, and whether it can be skipped."""

    first: frozenset[int]
    last: frozenset[int]
    empty: bool
    forked: bool = False  # two of its alternatives are empty


_NOTHING = _Part(frozenset(), frozenset(), empty=True)


def find_backtracking(tree: Node, chain: int = MAX_CHAIN) -> str | None:
    """Why matching could take long, completing "it ..."; None when a power of the length bounds it.

    chain: that power. Origins are short; for what may be long, 1.
    """
    automaton = _Automaton()
    _build(automaton, tree)
    if len(automaton.chars) > MAX_POSITIONS:
        return f"stands for more than {MAX_POSITIONS} characters once its repeats are written out"
    if automaton.hollow:
        return "repeats something that may be empty, so one text can be divided in very many ways"
    if automaton.forked:
        return "repeats alternatives that overlap, so one text can be read in very many ways"
    if automaton.twice:
        return "repeats something that is itself repeated, so one text can be divided in very many ways"
    loops = _find_loops(automaton)
    if any(len(loop) > MAX_LOOP for loop in loops.values()):
        return f"repeats a group of more than {MAX_LOOP} characters"
    if any(_is_ambiguous(automaton, loop) for loop in set(loops.values())):
        return "repeats alternatives that overlap, so one text can be read in very many ways"
    if _longest_chain(automaton, loops) > chain:
        repeats = "one open repeat" if chain == 1 else f"{chain} open repeats"
        return f"has more than {repeats} of the same characters with nothing certain between them"
    return None


def _build(automaton: _Automaton, node: Node) -> _Part:
    if len(automaton.chars) > MAX_POSITIONS:
        return _NOTHING  # refused already: the rest need not be known
    match node:
        case Chars(which):
            position = frozenset({automaton.add(which)})
            return _Part(position, position, empty=False)
        case Seq(items):
            part = _NOTHING
            for item in items:
                part = _join(automaton, part, _build(automaton, item))
            return part
        case Alt(branches):
            parts = [_build(automaton, branch) for branch in branches]
            return _Part(
                frozenset[int]().union(*(part.first for part in parts)),
                frozenset[int]().union(*(part.last for part in parts)),
                empty=any(part.empty for part in parts),
                forked=sum(part.empty for part in parts) > 1 or any(part.forked for part in parts),
            )
        case Loop():
            return _build_loop(automaton, node)


def _build_loop(automaton: _Automaton, loop: Loop) -> _Part:
    if loop.high == 0:
        return _NOTHING
    if loop.high == 1:
        part = _build(automaton, loop.body)
        return replace(part, empty=part.empty or loop.low == 0)
    if loop.low == loop.high and loop.low <= MAX_WRITTEN_OUT and _holds_characters(loop.body):
        part = _build(automaton, Seq((loop.body,) * loop.low))
        automaton.hollow |= part.empty
        automaton.forked |= part.forked
        return part
    part = _build(automaton, loop.body)
    automaton.hollow |= part.empty
    automaton.forked |= part.forked
    automaton.link(part.last, part.first)
    return replace(part, empty=part.empty or loop.low == 0)


def _holds_characters(node: Node) -> bool:
    return any(isinstance(below, Chars) for below in walk(node))


def _join(automaton: _Automaton, left: _Part, right: _Part) -> _Part:
    automaton.link(left.last, right.first)
    return _Part(
        left.first | right.first if left.empty else left.first,
        left.last | right.last if right.empty else right.last,
        empty=left.empty and right.empty,
        forked=left.forked or right.forked,
    )


def _find_loops(automaton: _Automaton) -> dict[int, frozenset[int]]:
    """For each position that can come again: the positions that share its loop."""
    reach = [_reachable(automaton, position) for position in range(len(automaton.chars))]
    return {
        position: frozenset(other for other in ahead if position in reach[other])
        for position, ahead in enumerate(reach)
        if position in ahead
    }


def _reachable(automaton: _Automaton, start: int) -> set[int]:
    seen: set[int] = set()
    waiting = list(automaton.follow[start])
    while waiting:
        position = waiting.pop()
        if position not in seen:
            seen.add(position)
            waiting.extend(automaton.follow[position])
    return seen


def _is_ambiguous(automaton: _Automaton, loop: frozenset[int]) -> bool:
    """Do two readings of one text part inside this loop and meet again? Each round would double them."""
    forward: dict[tuple[int, int], list[tuple[int, int]]] = {}
    waiting = [(position, position) for position in loop]
    while waiting:
        pair = waiting.pop()
        if pair not in forward:
            forward[pair] = list(_steps(automaton, loop, *pair))
            waiting.extend(forward[pair])
    meeting = {pair for pair in forward if pair[0] == pair[1]}
    grown = True
    while grown:  # the pairs from which the two readings can meet again
        more = {
            pair for pair, after in forward.items() if pair not in meeting and not meeting.isdisjoint(after)
        }
        meeting |= more
        grown = bool(more)
    return any(left != right for left, right in meeting)


def _steps(automaton: _Automaton, loop: frozenset[int], left: int, right: int) -> Iterator[tuple[int, int]]:
    for after_left in automaton.follow[left] & loop:
        for after_right in automaton.follow[right] & loop:
            if automaton.chars[after_left] & automaton.chars[after_right]:
                yield after_left, after_right


def _longest_chain(automaton: _Automaton, loops: dict[int, frozenset[int]]) -> int:
    """How many loops lie behind each other so that a run of one character can be shared out among them."""
    links = {loop: _next_loops(automaton, loops, loop) for loop in set(loops.values())}
    lengths: dict[frozenset[int], int] = {}

    def length(loop: frozenset[int]) -> int:
        if loop not in lengths:
            lengths[loop] = 1 + max((length(after) for after in links[loop]), default=0)
        return lengths[loop]

    return max(map(length, links), default=0)


def _next_loops(
    automaton: _Automaton, loops: dict[int, frozenset[int]], loop: frozenset[int]
) -> set[frozenset[int]]:
    """The other loops reached from this one over characters that this one also takes."""
    own = frozenset[int]().union(*(automaton.chars[position] for position in loop))
    seen: set[int] = set()
    found: set[frozenset[int]] = set()
    waiting = [after for position in loop for after in automaton.follow[position]]
    while waiting:
        position = waiting.pop()
        if position in seen or position in loop or not automaton.chars[position] & own:
            continue
        seen.add(position)
        if position in loops:
            found.add(loops[position])
        waiting.extend(automaton.follow[position])
    return found
