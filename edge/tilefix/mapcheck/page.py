"""The page of a map check: the map, where fixes will be hard on it, and the mission's legs. One HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np

from tilefix.evaluation.mapview import WIDTH, View, north_arrow, picture, scale_bar
from tilefix.evaluation.style import CSS
from tilefix.geodesy import Grid
from tilefix.mapbuild.inspect import printable
from tilefix.mapcheck.legs import MissionCheck, Sample, State
from tilefix.mapcheck.survey import HARD_BELOW, Survey
from tilefix.maps.package import MapPackage
from tilefix.types import Float32Array

MOST_BEYOND, MARGIN, MIN_ASPECT = 0.5, 0.02, 1.2
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Chance below -> colour RGBA: what is well is left as the map shows it.
_STEPS = (
    (0.2, (150, 0, 60, 175)),
    (HARD_BELOW, (214, 51, 108, 150)),
    (0.8, (255, 178, 36, 120)),
    (0.95, (255, 240, 150, 60)),
)
_LEG_COLOURS = {
    State.CLEAR: "#2f8bff",
    State.OVERHANG: "#7fe0ff",
    State.INDISTINCT: "#ffb224",
    State.UNCOVERED: "#ff2f74",
    State.OUT_OF_SCALE: "#c58bff",
}
_STYLE = """
.heat { image-rendering: pixelated; }
.route { fill: none; stroke-linecap: butt; stroke-width: 4; } .route.under { stroke: #000; stroke-opacity: .6;
  stroke-width: 7; }
.map .stop { fill: #fff; stroke: #000; stroke-width: 1; }
.legs td, .legs th { padding-right: 14px; white-space: nowrap; }
.legs tr.hard td { color: var(--false); font-weight: 600; }
.legend i.square { border-radius: 2px; }
"""


def check_html(
    package: MapPackage, surveyed: Survey | None, mission: MissionCheck | None, facts: Sequence[tuple[str, str]]
) -> str:
    """The page as text. `facts`: name and value of what was looked at and with what."""
    name = printable(package.path.resolve().name)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Where fixes will be hard on {html.escape(name)}</title><style>{CSS}{_STYLE}</style></head>",
        f"<body><main><header><h1>Where fixes will be hard on {html.escape(name)}</h1></header>",
        _tiles(surveyed, mission),
    ]
    if surveyed is not None:
        footprint = f"{surveyed.agl_m:g} m above ground, footprint {surveyed.footprint_m:.0f} m"
        parts += [
            f"<section><h2>A frame matches here, the place being about known ({footprint})</h2>",
            _drawing(package, surveyed, surveyed.match, mission),
            _LEGEND,
            '<p class="note">Predicted from the map alone; another season, sun or year than the map\'s own is '
            "allowed for, but not a map out of date.</p></section>",
            "<section><h2>One frame alone tells this place from every other</h2>",
            _drawing(package, surveyed, surveyed.found, None),
            _LEGEND,
            '<p class="note">What decides how long the first fix takes, and how soon a lost place is found again: '
            "several frames together find what a single one does not.</p></section>",
        ]
    if mission is not None:
        if surveyed is None:
            parts += ["<section><h2>The mission</h2>", _drawing(package, None, None, mission), "</section>"]
        parts += ["<section><h2>Leg by leg</h2>", _legs(mission), _notes(mission), "</section>"]
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(printable(v))}</td></tr>" for k, v in facts)
    parts += [f"<section><h2>What was looked at</h2><table>{rows}</table></section></main></body></html>\n"]
    return "\n".join(parts)


def _tiles(surveyed: Survey | None, mission: MissionCheck | None) -> str:
    tiles = []
    if surveyed is not None:
        tiles += [
            (f"{100.0 * surveyed.hard_share:.1f} %", "of the area: a frame most likely does not match", ""),
            (f"{100.0 * surveyed.ambiguous_share:.1f} %", "of the area: not found by one frame alone", ""),
        ]
    if mission is not None:
        hard = sum(one.hard for one in mission.judgements)
        tiles.append((f"{hard} of {len(mission.judgements)}", "legs are hard", "bad" if hard else "good"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile {kind}"><b>{figure}</b><span>{words}</span></div>' for figure, words, kind in tiles
        )
        + "</div>"
    )


def _drawing(
    package: MapPackage, surveyed: Survey | None, chance: Float32Array | None, mission: MissionCheck | None
) -> str:
    grid = package.grid
    view = _window(grid, () if mission is None else mission.samples)
    parts = [
        f'<svg class="map" viewBox="0 0 {WIDTH} {view.height}" role="img" aria-label="Map">',
        picture(package.imagery, grid, view),
    ]
    if surveyed is not None and chance is not None:
        parts.append(_heat(surveyed, chance, view))
    if mission is not None:
        parts += _route(mission, view)
    return "\n".join([*parts, scale_bar(view), north_arrow(), "</svg>"])


def _window(grid: Grid, samples: Sequence[Sample]) -> View:
    """All of the map, and of the way beyond it as much as half the map's size."""
    spans = []
    for low_m, high_m, ways_m in (
        (grid.west_m, grid.east_m, [one.east_m for one in samples]),
        (grid.south_m, grid.north_m, [one.north_m for one in samples]),
    ):
        most_m = MOST_BEYOND * (high_m - low_m)
        least, greatest = min([low_m, *ways_m]), max([high_m, *ways_m])
        margin_m = MARGIN * (high_m - low_m)
        spans.append((max(least, low_m - most_m) - margin_m, min(greatest, high_m + most_m) + margin_m))
    (west_m, east_m), (south_m, north_m) = spans
    width_m, height_m = east_m - west_m, north_m - south_m
    wider_m = max(0.0, MIN_ASPECT * height_m - width_m)
    return View(west_m - 0.5 * wider_m, north_m, width_m + wider_m, height_m)


def _heat(surveyed: Survey, chance: Float32Array, view: View) -> str:
    rgba = np.zeros((*chance.shape, 4), np.uint8)
    for below, colour in reversed(_STEPS):
        rgba[chance < below] = colour
    done, data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    if not done:
        raise ValueError("overlay cannot be encoded")
    x, y = view.place(surveyed.west_m, surveyed.north_m)
    rows, columns = chance.shape
    unit = surveyed.step_m * view.per_m
    return (
        f'<image class="heat" x="{x:.2f}" y="{y:.2f}" width="{columns * unit:.2f}" height="{rows * unit:.2f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"/>'
    )


def _route(mission: MissionCheck, view: View) -> list[str]:
    """The samples, joined where they have one state, over a dark line; a dot where each leg begins."""
    under, over, dots = [], [], []
    before: Sample | None = None
    for one in mission.samples:
        if before is not None:
            (x1, y1), (x2, y2) = view.place(before.east_m, before.north_m), view.place(one.east_m, one.north_m)
            line = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            under.append(f'<line class="route under" {line}/>')
            over.append(f'<line class="route" stroke="{_LEG_COLOURS[one.state]}" {line}/>')
        if before is None or before.leg != one.leg:
            x, y = view.place(one.east_m, one.north_m)
            dots.append(f'<circle class="stop" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
            dots.append(f'<text x="{x + 7:.1f}" y="{y - 6:.1f}">{one.leg + 1}</text>')
        before = one
    return [*under, *over, *dots]


def _legs(mission: MissionCheck) -> str:
    states = [state for state in State if state is not State.CLEAR]
    head = "".join(
        f"<th>{html.escape(words)}</th>"
        for words in (
            "leg",
            "line",
            "to",
            "length",
            "height",
            "speed",
            *(state.value for state in states),
            "longest without",
            "verdict",
        )
    )
    rows = []
    for number, one in enumerate(mission.judgements, start=1):
        leg = one.leg
        cells = [
            str(number), str(leg.line), leg.name, f"{one.length_m:.0f} m",
            f"{leg.start.agl_m:.0f} to {leg.end.agl_m:.0f} m", f"{leg.speed_mps:g} m/s",
            *(f"{one.lengths_m[state]:.0f} m" if one.lengths_m[state] else "–" for state in states),
            f"{one.longest_m:.0f} m" if one.longest_m else "–", "hard" if one.hard else "fine",
        ]  # fmt: skip
        kind = ' class="hard"' if one.hard else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    keys = "".join(
        f'<span><i class="line" style="background:{_LEG_COLOURS[state]}"></i>{html.escape(state.value)}</span>'
        for state in State
    )
    table = f'<table class="legs"><tr>{head}</tr>{"".join(rows)}</table>'
    return f'<div class="scroll">{table}</div><p class="legend">{keys}</p>'


def _notes(mission: MissionCheck) -> str:
    lines = [
        f"hard: a stretch without matches that lasts longer than the {mission.max_coast_s:g} s that are coasted, or is "
        f"longer than {mission.max_coast_m:.0f} m: then the position is too uncertain to be sent",
        *mission.notes,
    ]
    return "".join(f'<p class="note">{html.escape(printable(line))}</p>' for line in lines)


_LEGEND = (
    '<p class="legend">'
    + "".join(
        f'<span><i class="square" style="background:rgba({r},{g},{b},{max(a, 120) / 255:.2f})"></i>{words}</span>'
        for (_, (r, g, b, a)), words in zip(
            _STEPS, ("below 20 %", "20 to 50 %: hard", "50 to 80 %", "80 to 95 %"), strict=True
        )
    )
    + "<span>no colour: 95 % and more, or no imagery</span></p>"
)
