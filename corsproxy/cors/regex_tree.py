"""A regular expression as a small tree, for those who reason about what it admits.

Here:  four kinds of node, made from the parse tree of Python's own `re`, so that both mean the same.
Never: matching (that is `re` itself), judging.
"""

import re
import re._constants as sre  # type: ignore[import-not-found]  # typeshed does not describe it
import re._parser as sre_parser  # type: ignore[import-not-found]  # the parser `re` itself uses; no public one exists
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ALPHABET",
    "Alt",
    "Chars",
    "Loop",
    "Node",
    "Seq",
    "UnsupportedError",
    "members",
    "parse_tree",
    "walk",
]

# The characters that a canonical origin can hold. Others cannot occur, so they play no part.
ALPHABET = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789+-._~:/[]")
_CATEGORIES = {
    sre.CATEGORY_DIGIT: re.compile(rb"\d"),
    sre.CATEGORY_NOT_DIGIT: re.compile(rb"\D"),
    sre.CATEGORY_SPACE: re.compile(rb"\s"),
    sre.CATEGORY_NOT_SPACE: re.compile(rb"\S"),
    sre.CATEGORY_WORD: re.compile(rb"\w"),
    sre.CATEGORY_NOT_WORD: re.compile(rb"\W"),
}


class UnsupportedError(Exception):
    """A construct whose reach cannot be checked. The text completes: the expression uses ..."""


@dataclass(frozen=True, slots=True, eq=False)
class Chars:
    """One character out of some."""

    which: frozenset[int]
    free: bool  # written as a class, so whoever registers a name chooses; False = spelled out


@dataclass(frozen=True, slots=True, eq=False)
class Seq:
    """One after the other."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alt:
    """One of these."""

    branches: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Several times the same."""

    body: "Node"
    low: int
    high: int | None  # None = no bound


Node = Chars | Seq | Alt | Loop


def parse_tree(text: bytes, alphabet: frozenset[int] = ALPHABET) -> Node:
    """The tree of a regular expression that `re` compiles. Raises UnsupportedError.

    alphabet: what can occur in the text that is matched; origins unless said otherwise.
    """
    parsed = sre_parser.parse(text)
    if parsed.state.flags:
        raise UnsupportedError("flags such as (?i): origins are in lower case already")
    return _Reader(alphabet).seq(parsed)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns what `re` parsed into nodes. Any: `re` does not type its operators and their arguments."""

    alphabet: frozenset[int]

    def seq(self, parsed: Iterable[tuple[Any, Any]]) -> Node:
        """One node for a run of (operator, argument) pairs."""
        nodes = [self._node(operator, argument) for operator, argument in parsed]
        return nodes[0] if len(nodes) == 1 else Seq(tuple(nodes))

    def _node(self, operator: Any, argument: Any) -> Node:
        if operator in {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN}:
            return self._chars(operator, argument)
        if operator is sre.BRANCH:
            return Alt(tuple(self.seq(branch) for branch in argument[1]))
        if operator is sre.SUBPATTERN:
            _, flags_on, flags_off, body = argument
            if flags_on or flags_off:
                raise UnsupportedError("flags such as (?i:): origins are in lower case already")
            return self.seq(body)
        if operator is sre.ATOMIC_GROUP:
            return self.seq(argument)
        if operator in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            low, high, body = argument
            return Loop(self.seq(body), int(low), None if high is sre.MAXREPEAT else int(high))
        if operator is sre.AT:
            return Seq(())  # an anchor: the whole origin is matched anyway
        raise UnsupportedError("a look-around, a back-reference or a condition")

    def _chars(self, operator: Any, argument: Any) -> Chars:
        if operator is sre.LITERAL:
            return Chars(self.alphabet & {argument}, free=False)
        if operator is sre.NOT_LITERAL:
            return Chars(self.alphabet - {argument}, free=True)
        if operator is sre.ANY:
            return Chars(self.alphabet, free=True)
        negated = argument[0][0] is sre.NEGATE
        items = argument[1:] if negated else argument
        which = frozenset[int]().union(*(self._class_item(*item) for item in items))
        spelled_out = all(item[0] is sre.LITERAL for item in items)
        chars = self.alphabet - which if negated else which & self.alphabet
        return Chars(chars, free=negated or not spelled_out)

    def _class_item(self, operator: Any, argument: Any) -> frozenset[int]:
        if operator is sre.LITERAL:
            return frozenset({argument})
        if operator is sre.RANGE:
            return frozenset(range(argument[0], argument[1] + 1))
        return frozenset(char for char in self.alphabet if _CATEGORIES[argument].match(bytes([char])))


def walk(node: Node) -> Iterable[Node]:
    """The node and all below it, from left to right."""
    yield node
    for child in members(node):
        yield from walk(child)


def members(node: Node) -> tuple[Node, ...]:
    """The nodes right below this one."""
    match node:
        case Chars():
            return ()
        case Seq(items):
            return items
        case Alt(branches):
            return branches
        case Loop(body):
            return (body,)
