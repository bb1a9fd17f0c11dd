"""Charts of the evaluation's pictures: a frame with axes, what is drawn into it, and the SVG file around them."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tilefix.evaluation.charts import ticks
from tilefix.evaluation.style import CSS

Name = Callable[[float], str]
SHADES = ("var(--fix)", "var(--coast)", "var(--good)", "var(--false)", "var(--sigma)", "#8a5cc2")


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart's frame: which values lie between which edges of the drawing; `*_log`: on a logarithmic scale."""

    left: float
    right: float
    top: float
    floor: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_log: bool = False
    y_log: bool = False

    def x(self, value: float) -> float:
        """Across, kept within the frame."""
        return self.left + (self.right - self.left) * _share(value, self.x_range, self.x_log)

    def y(self, value: float) -> float:
        """Down, kept within the frame."""
        return self.floor - (self.floor - self.top) * _share(value, self.y_range, self.y_log)

    def axes(
        self, x_name: Name | None, y_name: Name | None, title: str, below: str = "", lift: float = 34.0
    ) -> list[str]:
        """Grid lines with their numbers, the title `lift` above, what the numbers mean below; `None`: no numbers."""
        parts = [text(self.left, self.top - lift, title, style=TITLE)]
        for value in _ticks(self.y_range, self.y_log) if y_name is not None else ():
            at = self.y(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            if y_name is not None:
                parts.append(text(self.left - 8, at + 4, y_name(value), "end"))
        for value in _ticks(self.x_range, self.x_log) if x_name is not None else ():
            at = self.x(value)
            parts.append(
                f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{self.floor:g}" y2="{self.floor + 5:g}"/>'
            )
            if x_name is not None:
                parts.append(text(at, self.floor + 20, x_name(value), "middle"))
        if below:
            parts.append(text(0.5 * (self.left + self.right), self.floor + 44, below, "middle"))
        return parts

    def line(self, values: Iterable[tuple[float, float]], style: str) -> str:
        """A polyline through (x, y) values."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in values)
        return f'<polyline points="{points}" style="fill:none;{style}"/>'

    def dot(self, x: float, y: float, kind: str = "", radius: float = 3.2) -> str:
        """A dot in the colour of a kind: fix, coast, none, or `wrong`, a ring; else in that of what is around it."""
        named = f' class="{kind}"' if kind else ""
        return f'<circle{named} cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:g}"/>'

    def grown(self, values: Sequence[float], total: int, style: str) -> str:
        """The share of `total` that is reached by each value: a curve in steps, up to the frame's right edge."""
        inside = sorted(value for value in values if value <= self.x_range[1])
        points, before = [(self.x_range[0], 0.0)], 0
        for rank, value in enumerate(inside, start=1):
            if rank == len(inside) or self.x(inside[rank]) - self.x(points[-1][0]) >= 0.5:  # what can be told apart
                points += [(value, before / total), (value, rank / total)]
                before = rank
        return self.line([*points, (self.x_range[1], points[-1][1])], style)


TITLE = "font-size:15px;fill:var(--ink)"


def text(x: float, y: float, words: str, anchor: str = "start", style: str = "") -> str:
    """Words at a place; `anchor`: start, middle or end of them lies there."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    styled = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{at}{styled}>{html.escape(words)}</text>'


def bar(left: float, top: float, width: float, height: float, shade: str) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(width, 0.0):.1f}" height="{height:.1f}" style="fill:{shade}"/>'
    )


def key(left: float, y: float, names: Sequence[str], shades: Sequence[str] = SHADES, step: float = 0.0) -> list[str]:
    """What colours mean, one beside the other; `step`: units apart, by default as wide as the words ask."""
    parts = []
    for name, shade in zip(names, shades, strict=False):
        parts += [bar(left, y - 9, 12, 10, shade), text(left + 17, y, name)]
        left += step or 36 + 7.2 * len(name)
    return parts


def drawing(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """The SVG file. `label`: what is seen, for who does not see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{html.escape(label)}">',
            f"<style>{CSS.split('body {', 1)[0]}{''.join(_svg_rules())}</style>",
            f'<rect width="{width:g}" height="{height:g}" style="fill:var(--card)"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _svg_rules() -> list[str]:
    """The report's rules that a drawing alone has use for."""
    wanted = ("svg text {", ".grid {", ".sigma {", ".fix {", ".wrong {", ".event {")
    return [f"{line}\n" for line in CSS.splitlines() if line.startswith(wanted)]


def _share(value: float, limits: tuple[float, float], log: bool) -> float:
    low, high = limits
    if log:
        value, low, high = math.log(max(value, 1e-12)), math.log(low), math.log(high)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _ticks(limits: tuple[float, float], log: bool) -> list[float]:
    """Round numbers within limits."""
    if not log:
        return ticks(*limits, 5)
    first, last = math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1]))
    steps = (1.0, 3.0) if last - first < 5 else (1.0,)
    every = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
    return [value for value in every if limits[0] * 0.999 <= value <= limits[1] * 1.001]
