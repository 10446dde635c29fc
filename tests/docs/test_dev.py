"""The page about the laptop names options and sentences that there are."""

import re

import pytest

from corsproxy.cli.dev import dev
from corsproxy.cli.init import init
from corsproxy.dev.cookie_notes import Visit, why_lost
from tests.docs.pages import page, rows, section

PAGE = page("docs/dev.md")
OPTIONS = {option for command in (dev, init) for param in command.params for option in param.opts}
NOTES = [row[0] for row in rows(section(PAGE, "Cookies"))]

SENTENCES = [
    why_lost(line, Visit(b"http", b"localhost:8010", origin))
    for line, origin in (
        (b"a=1", b"http://127.0.0.1:5173"),
        (b"a=1", b"https://localhost:5173"),
        (b"a=1", b"https://shop.example"),
        (b"a=1; Secure", b"http://localhost:5173"),
        (b"__Host-a=1", b"http://localhost:5173"),
        (b"a=1; SameSite=None", b"http://localhost:5173"),
    )
]


def test_every_option_on_the_page_is_one() -> None:
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE))
    assert named
    assert named <= OPTIONS


def test_every_option_of_dev_is_on_the_page() -> None:
    told = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE))
    hidden = {"--port", "--open", "--help"}  # they say it all by their names
    assert {
        option for param in dev.params for option in param.opts if option.startswith("--")
    } - hidden <= told


@pytest.mark.parametrize(("note", "sentence"), list(zip(NOTES, SENTENCES, strict=True)))
def test_what_is_said_of_a_cookie(note: str, sentence: str) -> None:
    for part in filter(None, (part.strip() for part in note.split("…"))):
        assert part in sentence
