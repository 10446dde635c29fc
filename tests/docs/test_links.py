"""Links between the pages lead somewhere, and the files they speak of exist."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
FILE = re.compile(
    r"(?<![\w/.*-])((?:corsproxy|cli|config|cors|dev|docs|http|ops|proxy|tests|upstream)/[\w/.-]+\.(?:py|md))"
)


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links(file: Path) -> None:
    for path, anchor in LINK.findall(file.read_text(encoding="utf-8")):
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), f"{path} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor} does not exist"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_are_named_exist(file: Path) -> None:
    for name in FILE.findall(file.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or (ROOT / "corsproxy" / name).exists(), name
