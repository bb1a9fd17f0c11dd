"""The report's charts, as SVG: error and sigma over time, and where the errors lie."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tilefix.evaluation.scoring import Answer

_WIDTH, _HEIGHT = 1080, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 22, 62
_SIDE = 460


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Seconds across the drawing."""

    first_s: float
    last_s: float

    def x(self, time_s: float) -> float:
        """The horizontal place of a time."""
        span_s = max(self.last_s - self.first_s, 1e-9)
        return _LEFT + 6 + (_WIDTH - _LEFT - _RIGHT - 12) * (time_s - self.first_s) / span_s


def time_axis(answers: Sequence[Answer]) -> TimeAxis:
    """The axis that holds all answers."""
    return TimeAxis(answers[0].time_s, answers[-1].time_s) if answers else TimeAxis(0.0, 1.0)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about that many."""
    raw = max(high - low, 1e-9) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1.0, 2.0, 5.0, 10.0) if unit * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def error_chart(answers: Sequence[Answer], events: Sequence[tuple[float, str]], limits_m: Sequence[float]) -> str:
    """Error (dots, coloured by kind) and one sigma (line) in metres over time, on a logarithmic scale.

    Below it one cell per frame tells its kind. `events`: (time_s, name). `limits_m`: what a false fix exceeds.
    """
    axis = time_axis(answers)
    sigmas = [a.fix.sigma_m for a in answers if a.fix is not None]
    values = [value for value in (*sigmas, *(a.distance_m or 0.0 for a in answers), *limits_m) if value > 0.0]
    low = max(-1, math.floor(math.log10(max(min(values, default=1.0), 0.1))))
    high = min(6, max(low + 1, math.ceil(math.log10(max(values, default=10.0)))))
    floor_y = _HEIGHT - _BOTTOM

    def y(metres: float) -> float:
        at = (math.log10(max(metres, 10.0**low)) - low) / (high - low)
        return floor_y - min(at, 1.0) * (floor_y - _TOP)

    parts = [f'<svg class="timed" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Error and sigma over time">']
    for decade in range(low, high + 1):
        at = y(10.0**decade)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g} m</text>')
    for limit_m in limits_m:
        at = y(limit_m)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{at - 5:.1f}" text-anchor="end">{limit_m:g} m</text>')
    for time_s in ticks(axis.first_s, axis.last_s, 10):
        parts.append(f'<line class="axis" x1="{axis.x(time_s):.1f}" x2="{axis.x(time_s):.1f}" ')
        parts.append(f'y1="{floor_y}" y2="{floor_y + 5}"/>')
        parts.append(f'<text x="{axis.x(time_s):.1f}" y="{floor_y + 19}" text-anchor="middle">{time_s:g} s</text>')
    parts.append(_cells(answers, axis, floor_y + 32))
    parts += [f'<polyline class="sigma" points="{run}"/>' for run in _sigma_runs(answers, axis, y)]
    for answer in answers:
        if (error_m := answer.distance_m) is not None:
            x, at = axis.x(answer.time_s), y(error_m)
            parts.append(f'<circle class="{answer.kind}" cx="{x:.1f}" cy="{at:.1f}" r="3.2"/>')
            if answer.false_fix:
                parts.append(f'<circle class="wrong" cx="{x:.1f}" cy="{at:.1f}" r="7.5"/>')
    for time_s, name in events:
        x = axis.x(time_s)
        parts.append(f'<line class="event" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{floor_y}"/>')
        parts.append(f'<text class="event-name" x="{x + 6:.1f}" y="{_TOP + 2}">{html.escape(name)}</text>')
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{_TOP}" y2="{_HEIGHT - 8}"/></svg>')
    return "\n".join(parts)


def _cells(answers: Sequence[Answer], axis: TimeAxis, top: float) -> str:
    places = [axis.x(answer.time_s) for answer in answers]
    edges = [0.5 * (a + b) for a, b in itertools.pairwise(places)]
    first = [places[0] - 5.0] if places else []
    last = [places[-1] + 5.0] if places else []
    bounds = [*first, *edges, *last]
    cells = (
        f'<rect class="{answer.kind}" x="{left:.1f}" y="{top}" width="{max(right - left - 0.6, 0.6):.1f}" height="14"/>'
        for answer, left, right in zip(answers, bounds, bounds[1:], strict=False)
    )
    return "\n".join(cells)


def _sigma_runs(answers: Sequence[Answer], axis: TimeAxis, y: Callable[[float], float]) -> list[str]:
    runs: list[list[str]] = [[]]
    for answer in answers:
        if answer.fix is None:
            runs.append([])
        else:
            runs[-1].append(f"{axis.x(answer.time_s):.1f},{y(answer.fix.sigma_m):.1f}")
    return [" ".join(run) for run in runs if len(run) > 1]


def scatter_chart(answers: Sequence[Answer]) -> str:
    """Where the errors lie: east to the right, north up, drawn large enough for 95 % of them."""
    errors = [(a, *a.error_m) for a in answers if a.error_m is not None]
    distances = sorted(math.hypot(east, north) for _, east, north in errors)
    reach = distances[min(len(distances) - 1, math.ceil(0.95 * len(distances)) - 1)] if distances else 1.0
    rings = [ring for ring in ticks(0.0, max(reach, 0.1) * 1.15, 4) if ring > 0.0]
    most = max(reach * 1.15, rings[-1] if rings else 0.0)
    scale, middle = (0.5 * _SIDE - 26) / most, 0.5 * _SIDE
    parts = [f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="Error east and north">']
    for ring in rings:
        parts.append(f'<circle class="axis" cx="{middle}" cy="{middle}" r="{ring * scale:.1f}" fill="none"/>')
        parts.append(f'<text x="{middle + 4}" y="{middle - ring * scale - 4:.1f}">{ring:g} m</text>')
    parts.append(f'<path class="grid" d="M20 {middle}H{_SIDE - 20}M{middle} 20V{_SIDE - 20}"/>')
    for answer, east, north in errors:
        if math.hypot(east, north) <= most:
            x, y = middle + east * scale, middle - north * scale
            parts.append(f'<circle class="{answer.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill-opacity=".75"/>')
    parts.append(f'<text x="{_SIDE - 4}" y="{middle - 6}" text-anchor="end">east</text>')
    parts.append(f'<text x="{middle - 6}" y="14" text-anchor="end">north</text></svg>')
    if beyond := sum(distance > most for distance in distances):
        parts.append(f'<p class="note">{beyond} of {len(distances)} errors lie beyond this drawing.</p>')
    return "\n".join(parts)
