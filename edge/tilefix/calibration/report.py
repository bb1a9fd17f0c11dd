"""A calibration told: a few lines for the terminal, JSON, and one HTML page with everything inside it."""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict

import numpy as np

from tilefix.calibration.estimate import Estimate
from tilefix.calibration.findings import Finding, Findings
from tilefix.calibration.model import predicted
from tilefix.evaluation.report import versions
from tilefix.evaluation.style import CSS
from tilefix.types import Float64Array

NOTES = (
    "The map offset holds the receiver's own offset too: the two cannot be told apart. It is added to what is read off "
    "the map.",
    "The field of view is that with which the recorded height fits; a height that is 1 % off makes it 1 % off.",
    "latency_ms as given belongs into the flight's own flight.toml. Into the aircraft's configuration goes what stood "
    "there when the flight was recorded, plus the change. Positions that the receiver reports late count as latency.",
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SIDE = 420
_MOST_POINTS = 1500


def text_of(found: Findings) -> str:
    """What a person reads, with the lines to paste at the end."""
    lines = [
        f"{found.parts_found} of {found.parts} parts of {found.frames} pictures found on the map, "
        f"{found.scatter_m:.2f} m about the estimate (median)",
        "",
        f"{'':<26}{'configured':>11}{'estimate':>11}{'one sigma':>11}",
    ]
    for one in found.values:
        name = f"{one.name}, {one.unit}"
        verdict = "" if one.told else "  not told by this flight"
        lines.append(f"{name:<26}{one.configured:>11.2f}{one.value:>11.2f}{one.sigma:>11.2f}{verdict}")
    lines += ["", *(f"To fly: {line}" for line in found.advice)]
    lines += ["" if found.advice else "Paste:", *(["Paste:"] if found.advice else []), "", found.config]
    lines += [f"* {note}" for note in NOTES]
    return "\n".join(lines) + "\n"


def json_of(estimate: Estimate, found: Findings) -> str:
    """The same for programs, with the covariance over roll, pitch, yaw, log focal, time, east, north."""
    solution = estimate.solution
    fields = {
        **asdict(found),
        "parameters": asdict(solution.parameters),
        "covariance": [[float(f"{value:.6g}") for value in row] for row in estimate.covariance],
        "slow_errors": [round(float(value), 5) for value in solution.slow],
        "fast_errors": [round(float(value), 5) for value in solution.fast],
        "first_guess_z_score": round(estimate.score, 2),
        "versions": versions(),
    }
    return json.dumps(fields, indent=2) + "\n"


def html_of(title: str, estimate: Estimate, found: Findings) -> str:
    """The page as text."""
    rows = "".join(_row(one) for one in found.values)
    advice = "".join(f"<li>{html.escape(line)}</li>" for line in found.advice)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in NOTES)
    before, after, scale_m = _clouds(estimate)
    body = [
        f"<header><h1>{html.escape(title)}</h1><p>{found.parts_found} of {found.parts} parts of {found.frames} "
        f"pictures found on the map, {found.scatter_m:.2f} m about the estimate</p></header>",
        '<section><h2>What the flight tells</h2><div class="scroll"><table><tr><th></th><td>configured</td>'
        f"<td>estimate</td><td>one sigma</td><td></td></tr>{rows}</table></div></section>",
        f"<section><h2>To fly for the rest</h2><ul>{advice}</ul></section>" if advice else "",
        f"<section><h2>To paste</h2><pre>{html.escape(found.config)}</pre><ul>{notes}</ul></section>",
        '<div class="two"><section><h2>As configured: where parts lie, from where they should</h2>',
        _scatter(before, scale_m, "coast"),
        "</section><section><h2>As estimated</h2>",
        _scatter(after, scale_m, "fix"),
        "</section></div>",
        '<section><p class="note">Metres to the right of (across) and ahead of (up) the vehicle; each dot is one part '
        "of one picture. A cluster off the middle is mount, lateness or map; a cloud is attitude noise.</p></section>",
    ]
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>"
    )
    return f"{head}<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"


def svg_of(estimate: Estimate) -> str:
    """The two clouds of the page as a picture of its own: as configured on the left, as estimated on the right."""
    before, after, scale_m = _clouds(estimate)
    style = (
        "circle{fill:#1f6fd1}.coast circle{fill:#d98a00}.sigma{fill:none!important;stroke:#8592a3}.axis{stroke:#c5ccd4}"
        "text{font:14px sans-serif;fill:#5a6472}"
    )
    panels = "".join(
        f'<svg x="{x}" y="24" width="{_SIDE}" height="{_SIDE}"{_scatter(places[::3], scale_m, kind)[4:]}'
        f'<text x="{x + 8}" y="17">{name}</text>'
        for x, places, kind, name in (
            (0, before, "coast", "as configured"),
            (_SIDE + 20, after, "fix", "as estimated"),
        )
    )
    size = f"{2 * _SIDE + 20} {_SIDE + 24}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{panels}</svg>\n'
    )


def _clouds(estimate: Estimate) -> tuple[Float64Array, Float64Array, float]:
    """Where parts lie from where they should, as configured and as estimated, and the metres to show."""
    before = _ahead_and_right(estimate, estimate.configured.vector)
    after = _ahead_and_right(estimate, estimate.solution.parameters.vector)
    scale_m = max(2.0, float(np.percentile(np.abs(before), 97.0)), float(np.percentile(np.abs(after), 97.0)))
    return before, after, scale_m


def _row(one: Finding) -> str:
    verdict = "changed" if one.changed else "as configured" if one.told else "not told by this flight"
    cells = "".join(f"<td>{value:.2f}</td>" for value in (one.configured, one.value, one.sigma))
    return f'<tr><th scope="row">{html.escape(one.name)}, {one.unit}</th>{cells}<td>{verdict}</td></tr>'


def _ahead_and_right(estimate: Estimate, vector: Float64Array) -> Float64Array:
    """(k, 2) how far ahead and to the right of its expected place each part was found."""
    guess = estimate.configured.moved(vector - estimate.configured.vector)
    seen, series = estimate.seen, estimate.pictures.series
    east_m, north_m = (seen.places_m - predicted(guess, series, seen)).T
    yaw = np.radians(series.at(seen.times_s)[seen.frame, 2])
    return np.stack(
        [east_m * np.sin(yaw) + north_m * np.cos(yaw), east_m * np.cos(yaw) - north_m * np.sin(yaw)], axis=1
    )


def _scatter(places_m: Float64Array, scale_m: float, kind: str) -> str:
    half = 0.5 * _SIDE
    ring_m = 10.0 ** math.floor(math.log10(scale_m))
    ring_m *= max(n for n in (1, 2, 5) if n * ring_m <= scale_m)
    per_m = 0.92 * half / scale_m
    step = max(1, len(places_m) // _MOST_POINTS)
    dots = "".join(
        f'<circle cx="{half + per_m * right:.1f}" cy="{half - per_m * ahead:.1f}" r="2" fill-opacity=".5"/>'
        for ahead, right in places_m[::step]
        if max(abs(ahead), abs(right)) <= scale_m
    )
    return (
        f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img"><path class="axis" d="M0 {half}H{_SIDE}M{half} 0V{_SIDE}"/>'
        f'<circle class="sigma" cx="{half}" cy="{half}" r="{per_m * ring_m:.1f}"/>'
        f'<text x="{half + 4}" y="{half - per_m * ring_m - 4:.1f}">{ring_m:g} m</text>'
        f'<g class="{kind}">{dots}</g></svg>'
    )
