"""Durations and sizes as people write them: `250ms`, `10m`, `64KiB`.

Here:  text to seconds or bytes, and back for messages and the reference page.
Never: limits on what a key accepts.
"""

import re

__all__ = ["DURATION_PATTERN", "SIZE_PATTERN", "duration_text", "parse_duration", "parse_size", "size_text"]

DURATION_PATTERN = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)"
SIZE_PATTERN = r"([0-9]{1,15})(B|KiB|MiB|GiB|kB|KB|MB|GB)"

_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(SIZE_PATTERN)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


def parse_duration(text: str) -> float | None:
    """Seconds; None when the text is no duration."""
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _SECONDS[match[2]] if match else None


def parse_size(text: str) -> int | None:
    """Bytes; None when the text is no size."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _BYTES[match[2]] if match else None


def duration_text(seconds: float) -> str:
    """The shortest spelling that says the same: 60.0 is "1m", 0.25 is "250ms"."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms" if seconds >= 0.001 else f"{seconds:f}s"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    return f"{int(seconds)}s"


def size_text(size: int) -> str:
    """The shortest spelling that says the same: 32768 is "32KiB"."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
