"""A flight's report: one HTML page with everything inside it, the same bytes for the same answers."""

from __future__ import annotations

import html
import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import cv2
import numpy as np

from tilefix.evaluation.charts import error_chart, scatter_chart, time_axis
from tilefix.evaluation.mapview import View, map_svg
from tilefix.evaluation.scoring import FALSE_FIX_RULES, Answer, Score
from tilefix.evaluation.style import CSS, SCRIPT
from tilefix.geodesy import Grid, LocalFrame
from tilefix.types import Reason, UInt8Array

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def versions() -> dict[str, str]:
    """What computed the answers."""
    return {
        "tilefix": version("tilefix"),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
    }


def report_html(
    title: str,
    answers: Sequence[Answer],
    result: Score,
    *,
    imagery: UInt8Array,
    grid: Grid,
    local: LocalFrame,
    subtitle: str = "",
    events: Sequence[tuple[float, str]] = (),
    facts: Mapping[str, object] | None = None,
) -> str:
    """The page as text. `imagery`: uint8 (H, W, 3) RGB on `grid`, the map's. `events`: (time_s, name) marked in the
    chart. `facts`: settings and whatever else should be stated below."""
    drawing, view = map_svg(answers, imagery, grid, local)
    limits_m = [max(near_m, 2.0 * grid.gsd_m) for near_m, _ in FALSE_FIX_RULES[1:]] + [FALSE_FIX_RULES[0][0]]
    body = [
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(subtitle)}</p></header>",
        _tiles(result),
        "<section><h2>Where it flew, and where it said it was</h2>",
        drawing,
        _MAP_LEGEND,
        f'<div class="scrub"><input type="range" min="0" max="{max(len(answers) - 1, 0)}" value="0" '
        'aria-label="Frame"><output>move over the map or the chart</output></div></section>',
        "<section><h2>Error and sigma over time</h2>",
        f'<div class="scroll">{error_chart(answers, events, limits_m)}</div>',
        _CHART_LEGEND,
        "</section>",
        '<div class="two"><section><h2>Figures</h2>',
        _table(_figures(result)),
        "</section><section><h2>Error, east and north</h2>",
        scatter_chart(answers) if result.median_error_m is not None else "<p>No position with a truth beside it.</p>",
        "</section></div>",
        "<section><h2>Why frames gave no match of their own</h2>",
        _reasons(result),
        "</section>",
        "<section><details><summary>Settings and versions</summary>",
        _table({**(facts or {}), **versions()}),
        "</details></section>",
    ]
    rows = json.dumps(_rows(answers, view, local), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>"
    )
    script = f'<script id="rows" type="application/json">{rows}</script><script>{SCRIPT}</script>'
    return f"{head}<body><main>\n" + "\n".join(body) + f"\n</main>{script}</body></html>\n"


_MAP_LEGEND = (
    '<div class="legend"><span><i class="line" style="background:#fff;outline:1px solid #777"></i>truth</span>'
    '<span><i class="bg-fix"></i>fix</span><span><i class="bg-coast"></i>coast</span>'
    '<span><i class="ring" style="border-color:#7fc0ff"></i>two sigma</span>'
    '<span><i class="line" style="background:#ff5c93"></i>error</span>'
    '<span><i class="ring" style="border-color:#ff2f74"></i>false fix</span></div>'
)
_CHART_LEGEND = (
    '<div class="legend"><span><i class="bg-fix"></i>error of a fix</span>'
    '<span><i class="bg-coast"></i>error while coasting</span>'
    '<span><i class="line" style="background:var(--sigma)"></i>one sigma, major axis</span>'
    '<span><i class="bg-none"></i>no position</span>'
    '<span><i class="line" style="background:var(--false)"></i>limits of a false fix (see below)</span></div>'
    '<p class="note">A false fix is an error beyond 25 m and 3 sigma, or beyond the lower limit and 5 sigma. The strip '
    "below the chart shows every frame.</p>"
)


def _metres(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} m" if value < 100.0 else f"{value:.0f} m"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.1f} %"


def _tiles(result: Score) -> str:
    verdict = "bad" if result.false_fixes else "good" if result.with_truth else ""
    tiles = (
        (_percent(result.availability), f"availability, {result.fixes} of {result.frames} frames", ""),
        (_metres(result.median_error_m), "median error", ""),
        (_metres(result.p95_error_m), "95 % of errors within", ""),
        (str(result.false_fixes) if result.with_truth else "–", "false fixes", verdict),
        (_percent(result.coverage_2sigma), "within 2 sigma (95.45 % expected)", ""),
    )
    cells = (f'<div class="tile {mood}"><b>{value}</b><span>{label}</span></div>' for value, label, mood in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _figures(result: Score) -> dict[str, object]:
    return {
        "Frames": result.frames,
        "… with a truth": result.with_truth,
        "Fixes": result.fixes,
        "Coasting": result.coasts,
        "No position": result.nones,
        "Availability": _percent(result.availability),
        "Median error of a fix": _metres(result.median_error_m),
        "95th percentile": _metres(result.p95_error_m),
        "Largest error of a fix": _metres(result.max_error_m),
        "Largest error while coasting": _metres(result.coast_max_error_m),
        "Median sigma of a fix": _metres(result.median_sigma_m),
        "False fixes": result.false_fixes if result.with_truth else "–",
        "Within 1 sigma (68.27 % expected)": _percent(result.coverage_1sigma),
        "Within 2 sigma (95.45 % expected)": _percent(result.coverage_2sigma),
        "Within 3 sigma (99.73 % expected)": _percent(result.coverage_3sigma),
    }


def _table(rows: Mapping[str, object]) -> str:
    lines = (
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(lines)}</table>"


def _reasons(result: Score) -> str:
    if not result.reasons:
        return "<p>Every frame matched.</p>"
    most = max(result.reasons.values())
    lines = (
        f'<span>{name}</span><div style="width:{100.0 * count / most:.1f}%"></div><span>{count}</span>'
        f"<small>{html.escape(Reason[name].value)}</small>"
        for name, count in result.reasons.items()
    )
    return f'<div class="bars">{"".join(lines)}</div>'


def _rows(answers: Sequence[Answer], view: View, local: LocalFrame) -> list[list[object]]:
    """For the page's script: [text, x and y on the map or null, x in the chart] of each frame."""
    axis = time_axis(answers)
    rows: list[list[object]] = []
    for answer in answers:
        fix, reason = answer.fix, answer.position.reason
        text = f"{answer.frame} · {answer.time_s:.2f} s · {answer.kind}"
        if fix is not None:
            text += f" · sigma {fix.sigma_m:.1f} m"
        if answer.error_m is not None:
            text += f" · error {math.hypot(*answer.error_m):.1f} m"
        if reason is not None:
            text += f" · {reason.name}"
        place = (fix.lat_deg, fix.lon_deg) if fix is not None else answer.truth
        x, y = (None, None) if place is None else view.place(*local.to_local(*place))
        at = round(axis.x(answer.time_s), 1)
        rows.append([text, None if x is None else round(x, 1), None if y is None else round(y, 1), at])
    return rows
