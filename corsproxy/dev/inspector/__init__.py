"""The inspector: a page that shows every exchange while it happens, and explains what CORS made of it.

Here:  what is kept of exchanges, judging them, changing the configuration in memory, and the page.
Never: the listener and who may reach it (ops.admin); serving exchanges (proxy); bodies and secrets.
"""

from corsproxy.dev.inspector.gate import Gate
from corsproxy.dev.inspector.inspector import Inspector
from corsproxy.dev.inspector.notes import notes_of
from corsproxy.dev.inspector.pages import Pages
from corsproxy.dev.inspector.ring import Ring
from corsproxy.ops.admin import Admin
from corsproxy.ops.plane import Plane

__all__ = ["Gate", "Inspector", "Ring", "mount", "notes_of"]


def mount(admin: Admin, inspector: Inspector, plane: Plane, gate: Gate) -> None:
    """Put the inspector on the admin listener, before that starts."""
    admin.mount(Pages(inspector, plane, gate).add_to, gate.may_enter)
