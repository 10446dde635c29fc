"""What a developer should know about an exchange beyond its decision: cookies that cannot work, and the like.

Here:  the hints of `dev`, as the page shows them beside one exchange.
Never: finding them (dev.hints); those about refusals, which the page explains itself.
"""

from collections.abc import Iterable

from corsproxy.dev.hints import hints_for
from corsproxy.proxy.exchange import Exchange

__all__ = ["Note", "no_notes", "notes_of"]

Note = tuple[str, str]
"""What there is to know, and what to do about it; either may be empty."""


def notes_of(exchange: Exchange) -> Iterable[Note]:
    """For a proxy on a developer's own machine."""
    found = (hint for hint in hints_for(exchange) if hint.topic != "refused")
    return [(hint.says, hint.to_do) for hint in found if hint.says or hint.to_do]


def no_notes(_: Exchange) -> Iterable[Note]:
    """For a proxy that serves others: what is odd on a laptop is usual there."""
    return ()
