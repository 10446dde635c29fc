"""Sites by the public suffix list, of which only the part under one top-level domain is read."""

from pathlib import Path

import pytest
from publicsuffixlist import PSLFILE, PublicSuffixList

from corsproxy.cors.origins import Origin
from corsproxy.cors.sites import shared_suffix, site_of, suffixes_below


def names() -> set[str]:
    """One under many a rule of the list, all uncommon ones among them, and its parents: in ASCII."""
    found = set()
    with Path(PSLFILE).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            rule = line.strip().removeprefix("!").replace("*", "any")
            is_common = line.strip() == rule and rule.isascii()
            if rule and not rule.startswith("//") and not (is_common and number % 50):
                name = rule.encode("idna").decode("ascii")
                found |= {name, f"a.{name}", f"b.a.{name}"}
    return found


@pytest.mark.parametrize("icann_only", [False, True])
def test_a_part_of_the_list_says_what_the_whole_says(icann_only: bool) -> None:
    whole = PublicSuffixList(only_icann=icann_only)
    every = names()
    assert len(every) > 2_000
    for name in every:
        expected = (whole.privatesuffix(name) or name).encode("ascii")
        assert site_of(Origin(b"https", name.encode("ascii"), 443), icann_only=icann_only)[1] == expected
        if not icann_only:
            suffix = whole.publicsuffix(name, accept_unknown=False)
            assert (shared_suffix(name.encode("ascii")) == name) == (suffix == name), name


@pytest.mark.parametrize("name", [b"internal", b"xn--zzzzzz", b"a.xn--", b"localhost"])
def test_a_name_that_the_list_cannot_know(name: bytes) -> None:
    assert not shared_suffix(name)
    assert not suffixes_below(name)


def test_every_name_above_one_of_the_list_is_known_to_hold_it() -> None:
    with Path(PSLFILE).open(encoding="utf-8") as lines:
        rules = [line.strip() for line in lines if line.strip() and not line.startswith(("//", "!"))]
    checked = 0
    for rule in rules[::7]:
        name = rule.replace("*", "any").encode("idna").decode("ascii")
        above = name.partition(".")[2]
        if above:
            assert shared_suffix(above.encode("ascii")), above
            assert name.partition(".")[0] in suffixes_below(above.encode("ascii"))
            checked += 1
    assert checked > 1_000


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (b"amazonaws.com", "s3.amazonaws.com"),
        (b"core.windows.net", "web.core.windows.net"),
        (b"github.io", "github.io"),
        (b"example.com", ""),
    ],
)
def test_which_shared_name_is_below(name: bytes, suffix: str) -> None:
    assert shared_suffix(name) == suffix
