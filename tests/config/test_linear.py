"""A configuration file is read in linear time, whatever stands in it (trap 46), and never with an exception.

Here:  files that are long in one way each. That any text and any bytes are answered is in test_traps.
Never: clocks: instructions are counted (tests.counting).
"""

from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from tests.counting import count_instructions

LARGE = 10_000  # bytes
# What loading that much may cost, in instructions of Python: two thousand for a byte, if names are misspelt.
BUDGET = 2_000 * LARGE


@dataclass(frozen=True, slots=True)
class Family:
    """The same piece of YAML many times over."""

    says: str
    piece: str  # NNNNNN stands for its number, MMMMMM for the next one
    before: str = ""
    after: str = ""

    def file(self, size: int) -> str:
        """A file of about that many bytes."""
        pieces = (
            self.piece.replace("NNNNNN", f"{number:06}").replace("MMMMMM", f"{number + 1:06}")
            for number in range(size // len(self.piece))
        )
        return self.before + "".join(pieces) + self.after


UPSTREAM = "upstream: http://127.0.0.1:9000"
ROUTE = f"routes:\n  - {UPSTREAM}\n    cors: "
LIST = f"{ROUTE}\n      allow_origins:\n"
GROUPS = "origins:\n  apps: [https://a.example]\n"
A = "allow_origins: [https://a.example]"

FAMILIES = [
    Family("routes", f"  - {{{UPSTREAM}, match: {{path: /pNNNNNN}}, cors: off}}\n", "routes:\n"),
    Family(
        "routes that share a path",
        f"  - {{{UPSTREAM}, match: {{hosts: [hNNNNNN.test]}}, cors: off}}\n",
        "routes:\n",
    ),
    Family(
        "routes with policies of their own",
        f"  - {{{UPSTREAM}, match: {{path: /pNNNNNN}}, cors: {{{A}}}}}\n",
        "routes:\n",
    ),
    Family(
        "routes far down", f"  - {{{UPSTREAM}, match: {{path: /a/a/a/aNNNNNN}}, cors: off}}\n", "routes:\n"
    ),
    Family("policies", f"  pNNNNNN: {{{A}}}\n", f"{ROUTE}p000000\npolicies:\n"),
    Family(
        "policies that extend one another",
        "  pMMMMMM: {extends: pNNNNNN}\n",
        f"{ROUTE}p000000\npolicies:\n  p000000: {{{A}}}\n",
    ),
    Family("origins", "        - https://appNNNNNN.example.com\n", LIST),
    Family("patterns", "        - https://*.appNNNNNN.example.com\n", LIST),
    Family("origins that are wrong", "        - https://appNNNNNN.example.com/\n", LIST),
    Family("the same origin", "        - https://app.example.com\n", LIST),
    Family("a long origin", "a.", f"{LIST}        - https://", "com\n"),
    Family("groups", "  gNNNNNN: [https://aNNNNNN.example]\n", f"{ROUTE}off\norigins:\n"),
    Family("a group again and again", "        - '@apps'\n", GROUPS + LIST),
    Family("unknown groups", "        - '@appNNNNNN'\n", GROUPS + LIST),
    Family("header names", "x-NNNNNN, ", f"{ROUTE}{{allow_origins: '*', allow_headers: [", "a]}\n"),
    Family("methods that are none", "MNNNNNN, ", f"{ROUTE}{{allow_origins: '*', allow_methods: [", "GET]}\n"),
    Family("unknown keys", "keyNNNNNN: 1\n"),
    Family("one key again and again", "listen: 127.0.0.1:8080\n"),
    Family("unknown upstreams", "  - {upstream: uNNNNNN, match: {path: /pNNNNNN}, cors: off}\n", "routes:\n"),
    Family("variables", "${A}", "listen: '", "'\n"),
    Family("variables that are not set", "${B}", "listen: '", "'\n"),
    Family("braces that never close", "${", "listen: '", "'\n"),
    Family("a long word", "a", "listen: "),
    Family("a long comment", "#"),
    Family("open brackets", "["),
    Family("open braces", "{a: "),
    Family("dashes", "- "),
    Family("question marks", "? "),
    Family("colons", "a: "),
    Family("anchors", "aNNNNNN: &aNNNNNN 1\n"),
    Family("aliases", "*a, ", "x: &a 1\ny: [", "1]\n"),
    Family("quotes", "'"),
    Family("blank lines", "\n"),
    Family("tabs", "\t"),
    Family("zero bytes", "\0"),
    Family("broken bytes", "\udcff"),
]


def work(text: str) -> int:
    return count_instructions(lambda: load_table(text, "f", {"A": "x"}))


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is read once for the whole process, such as the list of public suffixes, belongs to no file."""
    for family in FAMILIES:
        load_table(family.file(200), "f", {"A": "x"})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.says)
def test_twice_the_file_is_at_most_twice_the_work(family: Family) -> None:
    once, twice = (work(family.file(size)) for size in (LARGE // 2, LARGE))
    assert twice <= 2.2 * once
    assert twice <= BUDGET
