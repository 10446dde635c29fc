"""What the admin listener sees of the data plane, whether one process serves or many.

Here:  the shape, and what is known of the configuration that serves.
Never: serving, loading, HTTP.
"""

from dataclasses import dataclass
from typing import Protocol

from corsproxy.config.table import Table
from corsproxy.ops.metrics import Snapshot

__all__ = ["Plane", "Reload", "State"]


@dataclass(frozen=True, slots=True)
class Reload:
    """How the last attempt to load another configuration went."""

    ok: bool  # it serves now; or it was the one that serves already
    at: float  # unix seconds
    problems: tuple[str, ...] = ()  # errors and warnings, one text each
    needs_restart: tuple[str, ...] = ()  # keys that changed but keep their old value until then


@dataclass(frozen=True, slots=True)
class State:
    """What serves now."""

    version: str  # of the configuration: 12 hexadecimal digits of the SHA-256 of its text
    loaded_at: float  # unix seconds
    draining: bool = False
    last_reload: Reload | None = None  # None = never tried


class Plane(Protocol):
    """The data plane: all of its processes as one."""

    @property
    def table(self) -> Table:
        """What serves now."""

    @property
    def text(self) -> str:
        """The configuration that serves now, as written."""

    @property
    def state(self) -> State:
        """What is known of it."""

    async def snapshot(self) -> Snapshot:
        """The counters of all processes together."""

    async def reload(self) -> Reload:
        """Read the configuration again, and serve by it if it has no errors."""

    async def apply(self, text: str) -> Reload:
        """Serve by this text instead; the file stays as it is, and takes over when it next changes."""
