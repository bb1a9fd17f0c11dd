"""The page of a SITL flight: its tracks on the map, its errors over time, its figures."""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np

from sitl_score import Scored, Track, errors_of
from tilefix.evaluation.charts import ticks
from tilefix.evaluation.mapview import View, north_arrow, picture, scale_bar, view_of
from tilefix.geodesy import Grid
from tilefix.types import UInt8Array

_TRUTH, _EKF, _FIX = "#ffffff", "#ffb000", "#38d0ff"
_WIDTH, _HEIGHT, _LEFT, _BASE = 1080, 260, 50, 230
_MOST_POINTS = 3000
_FEW = 200  # dots: these are drawn on the lines, and larger
_LABEL_STEP, _LABEL_LINES = 70.0, 2  # a mark's name takes so much; those that would overlap stand on the next line
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#1b1f24}
svg{width:100%;height:auto;background:#10151b;border-radius:6px}table{border-collapse:collapse}
td{padding:.2em 1em .2em 0;vertical-align:top}.no{color:#b00020;font-weight:600}pre{white-space:pre-wrap}
text{font:12px system-ui,sans-serif;fill:#fff;paint-order:stroke;stroke:rgba(0,0,0,.65);stroke-width:3px}
.tick{fill:#9aa7b4}.mark{fill:#d0a0a0}"""


def page(title: str, scored: Scored, imagery: UInt8Array, grid: Grid, events: list[tuple[int, str]]) -> str:
    """The HTML page, complete in itself. `events`: (monotonic ns, what happened)."""
    verdicts = scored.summary.get("verdicts", {})
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="{"" if held else "no"}">{"yes" if held else "no"}</td></tr>'
        for name, held in verdicts.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>White: the truth. Orange: the autopilot's estimate. Blue: what tilefix sent.</p>"
        f"{_map(scored, imagery, grid)}<h2>Errors without GNSS and around it</h2>{_errors(scored)}"
        f"<h2>Verdicts</h2><table>{rows}</table><h2>What happened</h2><pre>{_events(events)}</pre>"
        f"<h2>Figures</h2><pre>{html.escape(json.dumps(scored.summary, indent=1))}</pre></html>"
    )


def _events(events: list[tuple[int, str]]) -> str:
    if not events:
        return ""
    first = events[0][0]
    return html.escape("\n".join(f"{(at - first) / 1e9:8.1f} s  {text}" for at, text in sorted(events)))


def _thin(track: Track) -> list[tuple[float, float]]:
    step = max(1, len(track.at_ns) // _MOST_POINTS)
    return list(zip(track.east_m[::step].tolist(), track.north_m[::step].tolist(), strict=True))


def _map(scored: Scored, imagery: UInt8Array, grid: Grid) -> str:
    # Before it is armed the autopilot may state a position that it does not have.
    begin_ns, end_ns = scored.marks_ns.get("armed", 0), np.iinfo(np.int64).max
    truth, ekf, fixes = (_thin(one.within(begin_ns, end_ns)) for one in (scored.truth, scored.ekf, scored.fixes))
    view = view_of(truth, grid)
    lines = [_line(truth, view, _TRUTH, 3.0), _line(ekf, view, _EKF, 1.5)]
    few = len(fixes) < _FEW
    radius = 4.0 if few else 3.0
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{_FIX}"/>'
        for x, y in (view.place(*one) for one in fixes)
    )
    # So many that they make a line of their own lie below the others, or they would hide them.
    tracks = "".join([*lines, dots] if few else [dots, *lines])
    return (
        f'<svg viewBox="0 0 {_WIDTH} {view.height}" xmlns="http://www.w3.org/2000/svg">'
        f"{picture(imagery, grid, view)}{tracks}{scale_bar(view)}{north_arrow()}</svg>"
    )


def _line(points: list[tuple[float, float]], view: View, colour: str, width: float) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (view.place(*one) for one in points))
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _errors(scored: Scored) -> str:
    """Both errors over seconds since the loss; cut off at the height of twice the 98th percentile."""
    series = [(errors_of(one, scored.truth), colour) for one, colour in ((scored.ekf, _EKF), (scored.fixes, _FIX))]
    marks = scored.marks_ns
    zero = marks.get("denied", marks.get("spoofed", 0))
    curves: list[tuple[Any, Any, str]] = []
    for (at, east, north), colour in series:
        seconds, length = (at - zero) / 1e9, np.hypot(east, north)
        shown = seconds > -40.0
        curves.append((seconds[shown], length[shown], colour))
    lengths = np.concatenate([one for _, one, _ in curves])
    if not len(lengths):
        return "<p>Nothing to show.</p>"
    top = max(4.0, min(float(lengths.max()), 2.0 * float(np.percentile(lengths, 98.0))))
    begin, last = -40.0, max(float(one[-1]) for one, _, _ in curves if len(one))

    def x(second: float) -> float:
        return _LEFT + (second - begin) / (last - begin) * (_WIDTH - _LEFT - 10)

    def y(metres: float) -> float:
        return _BASE - min(metres, top) / top * (_BASE - 15)

    parts = [
        f'<text x="4" y="{y(one) + 4:.1f}" class="tick">{one:g} m</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(one):.1f}" y2="{y(one):.1f}" stroke="#2a333d"/>'
        for one in ticks(0.0, top, 5)
    ]
    parts += [
        f'<text x="{x(one):.1f}" y="{_HEIGHT - 8}" class="tick">{one:g} s</text>' for one in ticks(begin, last, 8)
    ]
    taken = [-_LABEL_STEP] * _LABEL_LINES  # where the last name on each line begins
    for name, mark_ns in sorted(marks.items(), key=lambda one: one[1]):
        second = (mark_ns - zero) / 1e9
        if begin <= second <= last:
            line = next((k for k in range(_LABEL_LINES) if x(second) - taken[k] >= _LABEL_STEP), _LABEL_LINES - 1)
            taken[line] = x(second)
            label = html.escape(name.replace("_", " "))
            parts.append(f'<line x1="{x(second):.1f}" x2="{x(second):.1f}" y1="15" y2="{_BASE}" stroke="#d05060"/>')
            parts.append(f'<text x="{x(second) + 3:.1f}" y="{12 + 14 * line}" class="mark">{label}</text>')
    for seconds, lengths_m, colour in curves:
        step = max(1, len(seconds) // _MOST_POINTS)
        corners = zip(seconds[::step].tolist(), lengths_m[::step].tolist(), strict=True)
        points = " ".join(f"{x(s):.1f},{y(m):.1f}" for s, m in corners)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
