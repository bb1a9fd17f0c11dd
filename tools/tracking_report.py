"""Tables and picture of what a tracked frame costs beside searches of the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panels import SHADES, Panel, bar, drawing, key, text

RIGHT_M = 25.0
WANTED = 50.0  # times what a tracked frame costs


@dataclass(frozen=True, slots=True)
class Measured:
    """One flight. Times in milliseconds, errors in metres; `ready`: with the map's spectra kept, `anew`: from imagery.
    `turns`, `scales`: how many headings and heights were searched under; `larger`: how many of both larger errors ask
    for."""

    map_km2: float
    agl_m: float
    level_m: float
    fine_m: float
    tracked_ms: float
    tracked_errors_m: list[float]
    level_ready_ms: float
    one_ready_ms: float
    one_anew_ms: float
    one_errors_m: list[float]
    all_ready_ms: float
    all_errors_m: list[float]
    turns: int
    scales: int
    larger: int

    @property
    def all_anew_ms(self) -> float:
        """With spectra made once for the frame."""
        return self.one_anew_ms + self.all_ready_ms - self.one_ready_ms


def table(found: Sequence[Measured]) -> str:
    """Two tables: what was searched and how exact it was, and what a tracked frame costs of it."""
    lines = [
        "| map | height | tracked, error | whole map, level of tracking, ready | fine level, one template: ready, from "
        "imagery | right, error | headings x heights | ready, from imagery | right, error |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    shares = [
        "| map | height | of the level of tracking | of one template, ready | from imagery | of headings x heights, "
        "ready | from imagery | of ± 10 degrees, ± 15 %, ready: templates |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        head = f"| {one.map_km2:.1f} km² | {one.agl_m:.0f} m"
        fine = f"{one.one_ready_ms:.0f}, {one.one_anew_ms:.0f} ms at {one.fine_m:g} m/px"
        lines.append(
            f"{head} | {one.tracked_ms:.0f} ms, {np.median(one.tracked_errors_m):.2f} m "
            f"| {one.level_ready_ms:.0f} ms at {one.level_m:g} m/px | {fine} | {_right(one.one_errors_m)} "
            f"| {one.turns} x {one.scales} "
            f"| {one.all_ready_ms:.0f}, {one.all_anew_ms:.0f} ms | {_right(one.all_errors_m)} |"
        )
        larger_ms = one.larger * one.one_ready_ms
        costs = (one.level_ready_ms, one.one_ready_ms, one.one_anew_ms, one.all_ready_ms, one.all_anew_ms, larger_ms)
        cells = [f"1/{cost / one.tracked_ms:.0f}" for cost in costs]
        shares.append(f"{head} | {' | '.join(cells)}: {one.larger} |")
    return "\n".join([*lines, "", *shares]) + "\n"


def _right(errors_m: Sequence[float]) -> str:
    """How many are right, and the median error of these."""
    right = [error for error in errors_m if error <= RIGHT_M]
    error = f"{np.median(right):.2f} m" if right else "–"
    return f"{len(right)} of {len(errors_m)}, {error}"


def picture(found: Sequence[Measured]) -> str:
    """An SVG drawing: bars of time on a logarithmic scale, a group for each flight; the line across each group lies at
    50 times what its tracked frame costs."""
    names = ("tracked", "one template, ready", "one, from imagery", "headings x heights, ready", "from imagery")
    most_ms = max(max(one.all_anew_ms, WANTED * one.tracked_ms) for one in found)
    panel = Panel(80, 1060, 74, 330, (0.0, len(found)), (1.0, 2.0 * most_ms), y_log=True)
    parts = panel.axes(None, "{:g} ms".format, "A tracked frame beside a search of the whole map: processor time")
    parts += key(80, 62, names)
    for number, one in enumerate(found):
        values = (one.tracked_ms, one.one_ready_ms, one.one_anew_ms, one.all_ready_ms, one.all_anew_ms)
        step = (panel.x(1.0) - panel.x(0.0)) / (len(values) + 1)
        for k, value in enumerate(values):
            at = panel.x(number) + (k + 0.5) * step
            parts.append(bar(at, panel.y(value), step - 2.0, panel.floor - panel.y(value), SHADES[k]))
            parts.append(text(at + 0.5 * step - 1, panel.y(value) - 4, f"{value / one.tracked_ms:.0f}", "middle"))
        limit = WANTED * one.tracked_ms
        ends = [(number + 0.02, limit), (number + 0.98, limit)]
        parts.append(panel.line(ends, "stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3"))
        parts.append(text(panel.x(number + 0.5), 350, f"{one.map_km2:.0f} km², {one.agl_m:.0f} m", "middle"))
    parts.append(text(80, 372, "numbers: times the tracked frame; dashes: fifty times"))
    return drawing(1080, 386, "Processor time of tracked frames and of searches of the whole map", parts)
