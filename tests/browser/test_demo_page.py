"""The page of the demo, run to its end in real browsers: its own verdict on every experiment."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from corsproxy.dev.demo import demo
from corsproxy.dev.places import Places
from tests.browser.browsers import Tab

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The page says when it is through, so nobody has to look again and again.
RUN_ALL = """async () => {
  const button = document.getElementById("run-all");
  const summary = document.getElementById("summary");
  const settled = (condition) => new Promise((resolve) => {
    const look = () => condition() && resolve();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    look();
  });
  await settled(() => !button.disabled);
  button.click();
  await settled(() => button.ariaDisabled === "false" && !summary.textContent.startsWith("Running"));
  const sides = document.querySelectorAll(".side");
  return {
    summary: summary.textContent,
    states: Array.from(sides, (side) => [side.closest("article").id, side.dataset.side, side.dataset.state]),
    steps: document.querySelectorAll(".side[data-side=direct] .steps > li").length,
  };
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def places() -> AsyncIterator[Places]:
    async with demo(0) as places:
        yield places


async def test_everything_turns_out_as_the_page_expects(tab: Tab, places: Places) -> None:
    await tab.visit(places.page)
    report = await tab.call(RUN_ALL)
    states = report["states"]
    assert {state for _, side, state in states if side == "direct"} == {"blocked"}
    proxied = {article: state for article, side, state in states if side == "proxied"}
    assert proxied.pop("refused") == "refused"
    assert set(proxied.values()) == {"read"}
    # All but the one from the sandboxed frame, whose origin the policy refuses.
    found = re.match(
        r"Answers a script could read: 0 of (\d+) straight, (\d+) of (\d+) through corsproxy\."
        r" One comes from an origin that the policy refuses\.$",
        report["summary"],
    )
    assert found, report["summary"]
    asked = report["steps"]
    assert [int(number) for number in found.groups()] == [asked, asked - 1, asked]
