"""Sites by the public suffix list, of which only the part under one top-level domain is read."""

from pathlib import Path

import pytest
from publicsuffixlist import PSLFILE, PublicSuffixList

from corsproxy.cors.origins import Origin
from corsproxy.cors.sites import is_public_suffix, site_of


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
            assert is_public_suffix(name.encode("ascii")) == (suffix == name), name


@pytest.mark.parametrize("name", [b"internal", b"xn--zzzzzz", b"a.xn--", b"localhost"])
def test_a_name_that_the_list_cannot_know(name: bytes) -> None:
    assert not is_public_suffix(name)
