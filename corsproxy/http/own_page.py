"""A request as if its page were the upstream's own: for upstreams that refuse what comes from elsewhere.

Here:  the three fields by which servers tell (Origin, RFC 6454 §7; Referer, RFC 9110 §10.1.3; Sec-Fetch-Site,
       Fetch Metadata §2.3), rewritten together, so that they agree.
Never: whether it may be done. A policy must have allowed the page first: else this would switch off the
       upstream's own defence.
"""

from collections.abc import Sequence

__all__ = ["as_own_page"]


def as_own_page(lines: Sequence[bytes], origin: bytes) -> list[bytes]:
    """The lines of a head ("Name: value") with the upstream's origin as that of the page.

    None is added. Of the Referer the path goes: it is one of another site.
    """
    values = {b"origin": origin, b"referer": origin + b"/", b"sec-fetch-site": b"same-origin"}
    return [_with(line, values) for line in lines]


def _with(line: bytes, values: dict[bytes, bytes]) -> bytes:
    name = line.partition(b":")[0]
    value = values.get(name.lower())
    return line if value is None else name + b": " + value
