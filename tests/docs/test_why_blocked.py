"""The page on blocked calls has every reason and every kind of message, in the words of the code."""

from collections.abc import Mapping

import click
import pytest

from corsproxy.cli.explain import explain
from corsproxy.cors.consoles import CHROMIUM, FIREFOX
from corsproxy.cors.decide import Reason
from corsproxy.cors.explain import CREDENTIALS_NOT_ALLOWED
from tests.docs.pages import page, rows, section

PAGE = page("docs/why-blocked.md")


def test_every_reason_stands_on_the_page_once_and_in_order() -> None:
    listed = [row[0] for row in rows(section(PAGE, "By reason"))]
    assert listed == [*(reason.value for reason in Reason), CREDENTIALS_NOT_ALLOWED]


@pytest.mark.parametrize(("title", "kinds"), [("Chromium", CHROMIUM), ("Firefox", FIREFOX)])
def test_every_message_stands_on_the_page_with_its_meaning(title: str, kinds: Mapping[str, str]) -> None:
    assert [(kind, says) for kind, says, _ in rows(section(PAGE, title))] == list(kinds.items())


@pytest.mark.parametrize("title", ["By reason", "Chromium", "Firefox"])
def test_every_row_says_what_to_do(title: str) -> None:
    assert all(row[-1] for row in rows(section(PAGE, title)))


def test_the_options_are_those_of_the_command() -> None:
    named = {name for option in explain.params if isinstance(option, click.Option) for name in option.opts}
    listed = " ".join(row[0] for row in rows(PAGE.partition("## By reason")[0]))
    assert named - {"--path", "--origin", "--method", "--header", "-c", "--config"} == {
        word for word in listed.replace("`", " ").replace(",", " ").split() if word.startswith("-")
    }
