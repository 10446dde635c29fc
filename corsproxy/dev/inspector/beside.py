"""The inspector beside `corsproxy run`: to look, not to change.

Here:  its ring as an observer, and the page on the admin listener of the process.
Never: buttons that change what serves: there the file is the truth.
"""

from collections.abc import Mapping

from corsproxy.dev.inspector import Gate, Inspector, Ring, mount
from corsproxy.ops.admin import Admin
from corsproxy.ops.process import Running

__all__ = ["BesideRun"]


class BesideRun:
    """What `ops.process` knows as an onlooker."""

    def __init__(self, token: str, env: Mapping[str, str]) -> None:
        """token: of the admin listener. env: for `${NAME}` where a changed configuration is tried out."""
        self._gate = Gate(token)
        self._env = env
        self.ring = Ring()  # without the notes of `dev`, which speak of a laptop and its options
        self.record = self.ring.record

    def attach(self, plane: Running, admin: Admin) -> None:
        """Put the page on the admin listener, before that starts."""
        inspector = Inspector(plane, self.ring, self._env, listener=lambda: plane.addresses[0])
        mount(admin, inspector, plane, self._gate)
