"""The colours of the page: readable for everybody, in both schemes (WCAG 2.2, contrast AA)."""

import re

import pytest

from corsproxy.dev.inspector.pages import STATIC

LEAST = 4.5  # of text that is not large
ON = {
    "ink": ["paper", "sheet", "well", "own-wash"],
    "soft": ["paper", "sheet", "well", "own-wash"],
    "own": ["paper", "sheet", "well", "own-wash"],
    "stop": ["paper", "sheet", "well", "stop-wash", "odd-wash", "own-wash"],
    "odd": ["paper", "sheet", "well", "odd-wash", "own-wash"],
    "own-ink": ["own"],
}


def palettes() -> dict[str, dict[str, str]]:
    css = (STATIC / "base.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, Definitions)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [(text, ground) for text, on in ON.items() for ground in on])
def test_text_stands_out(scheme: str, text: str, ground: str) -> None:
    palette = palettes()[scheme]
    assert contrast(palette[text], palette[ground]) >= LEAST
