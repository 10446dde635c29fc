"""Fields before and after the proxy, line by line.

Here:  which lines stayed, changed, went and came, in the order in which they stood.
Never: what the fields mean.
"""

from corsproxy.dev.inspector.redact import Pairs

__all__ = ["Line", "compare"]

Line = list[str]
"""What became of it (same, changed, removed, added), its name, its value before, its value after."""


def compare(before: Pairs | None, after: Pairs | None) -> list[Line]:
    """What became of each line; those that came stand last. None = that side never was.

    Several lines of one name are told apart by their values first, then by their order.
    """
    if before is None:
        return [["added", name, "", value] for name, value in after or ()]
    if after is None:
        return [["same", name, value, value] for name, value in before]
    came = [(name, value) for name, value in after]
    stayed = [_take(came, name, value) for name, value in before]
    lines = [
        ["same", name, value, value] if stays else _became(came, name, value)
        for (name, value), stays in zip(before, stayed, strict=True)
    ]
    return lines + [["added", name, "", value] for name, value in came]


def _became(came: list[tuple[str, str]], name: str, value: str) -> Line:
    other = next((each[1] for each in came if each[0].lower() == name.lower()), None)
    if other is None:
        return ["removed", name, value, ""]
    _take(came, name, other)
    return ["changed", name, value, other]


def _take(came: list[tuple[str, str]], name: str, value: str) -> bool:
    """Take a line out of those that came; False when it is not among them."""
    for at, (other, found) in enumerate(came):
        if found == value and other.lower() == name.lower():
            del came[at]
            return True
    return False
