"""Real browsers open WebSockets through corsproxy: an allowed page may, a foreign one may not.

Here:  what a script gets to know of it: messages, subprotocol, close code.
Never: frames (tests/proxy/test_tunnel.py).
"""

import pytest

from tests.browser.browsers import Tab
from tests.browser.world import World

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TALK = """
(url) => new Promise((resolve) => {
  const told = [];
  const socket = new WebSocket(url, ["chat"]);
  socket.onopen = () => socket.send("caf\\u00e9 " + "x".repeat(100000));
  socket.onmessage = ({ data }) => {
    told.push(data.length, socket.protocol);
    socket.send("close");
  };
  socket.onclose = ({ code, reason }) => resolve([...told, code, reason]);
})
"""


@pytest.mark.parametrize(
    ("page", "told", "seen", "reached"),
    [
        ("app", [100005, "chat", 4001, "as told"], "GET allowed", ["GET /socket"]),
        # Trap 44: no browser looks at CORS fields here, so the proxy must refuse.
        ("foreign", [1006, ""], "GET origin-not-allowed", []),
    ],
)
async def test_who_may_open_one(
    tab: Tab, world: World, page: str, told: list[object], seen: str, reached: list[str]
) -> None:
    world.begin()
    await tab.visit(f"{world.origins[page]}/")
    url = world.origins["proxy"].replace("http://", "ws://") + "/listed/socket"
    assert await tab.call(TALK, url) == told
    assert await world.seen(1) == [seen]
    assert world.reached == reached
