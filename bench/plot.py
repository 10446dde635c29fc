"""Bars in SVG, to be read on a light and on a dark page.

Here:  one drawing: panels below each other, a row a proxy, one or two bars in a row.
Never: which figures; files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Panel", "Row", "draw"]

WIDTH, LABEL, VALUE, LINE, HEAD, GAP = 760, 170, 150, 20, 30, 16
STYLE = """\
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .panel { font-weight: 600 }
  .note { fill: #59636e; font-size: 12px }
  .ours { fill: #0969da }
  .theirs { fill: #8c959f }
  .pale { opacity: 0.45 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .ours { fill: #4493f8 }
    .theirs { fill: #6e7681 }
  }
</style>"""


@dataclass(frozen=True, slots=True)
class Row:
    """One proxy. values: drawn from the same zero, the longest first and pale."""

    label: str
    values: tuple[float, ...]
    text: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows that share a scale."""

    says: str
    rows: tuple[Row, ...]

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.rows) + GAP


def draw(title: str, note: str, panels: Sequence[Panel]) -> str:
    """The whole drawing."""
    height = 2 * HEAD + sum(panel.height for panel in panels)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
            STYLE,
            text_at(0, 18, title, "title"),
            text_at(0, 38, note, "note"),
            *draw_panels(panels, 2 * HEAD),
            "</svg>\n",
        ]
    )


def draw_panels(panels: Sequence[Panel], top: int) -> Iterator[str]:
    for panel in panels:
        yield text_at(0, top + 16, panel.says, "panel")
        longest = max((max(row.values, default=0.0) for row in panel.rows), default=0.0)
        for number, row in enumerate(panel.rows):
            yield from draw_row(row, top + HEAD + number * LINE, longest or 1.0)
        top += panel.height


def draw_row(row: Row, top: int, longest: float) -> Iterator[str]:
    yield text_at(LABEL - 10, top + 11, row.label, "", "end")
    kind = "ours" if row.is_ours else "theirs"
    room = WIDTH - LABEL - VALUE
    lengths = [max(value / longest * room, 1.0) for value in sorted(row.values, reverse=True)]
    for number, length in enumerate(lengths):
        shade = f"{kind} pale" if number + 1 < len(lengths) else kind
        yield f'<rect class="{shade}" x="{LABEL}" y="{top}" width="{length:.1f}" height="14" rx="2"/>'
    yield text_at(LABEL + max(lengths, default=0.0) + 6, top + 11, row.text)


def text_at(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    words = f' class="{kind}"' if kind else ""
    return f'<text{words} x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
