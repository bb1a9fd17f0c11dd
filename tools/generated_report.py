"""The tables of the generated flights, and one picture: error against height, and stated against true error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generated_figures import Record, availability_after, coverage_curve, first_fix, velocity_score
from generated_runs import Start
from panels import Panel, drawing
from tilefix.evaluation.scoring import score

HEIGHT_BANDS_M = ((50, 150), (150, 250), (250, 350), (350, 500))
SPEED_BANDS_MPS = ((5, 10), (10, 15), (15, 20), (20, 25))
COVERAGE_SHARES = (0.6827, 0.9545, 0.9973)


def line_of(record: Record) -> str:
    """One flight in one line, for the terminal."""
    s, first = score(record.answers), first_fix(record)
    found = "never" if first is None else f"after {first.frames} frames, {first.metres:.0f} m"
    return (
        f"{record.name} {record.facts['agl_m']:.0f} m {record.facts['speed_mps']:.0f} m/s: first fix {found}; then "
        f"{_percent(availability_after([record]))}, median {_metres(s.median_error_m)}, p95 {_metres(s.p95_error_m)}, "
        f"max {_metres(s.max_error_m)}, false {s.false_fixes}, sigma {_metres(s.median_sigma_m)}, {s.reasons}"
    )


def whole_table(records: Sequence[Record]) -> str:
    """All flights together, and by height and speed."""
    lines = [
        "| flights | frames | availability after the first fix | over all | median | p95 | max | false fixes "
        "| within 68.27, 95.45, 99.73 % | velocity: median error, share of speed | its quantiles |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        _group(f"**all {len(records)}**", records),
    ]
    for key, unit, bands in (("agl_m", "m", HEIGHT_BANDS_M), ("speed_mps", "m/s", SPEED_BANDS_MPS)):
        for low, high in bands:
            inside = [record for record in records if low <= record.facts[key] < high]
            if inside:
                lines.append(_group(f"{low} to {high} {unit}: {len(inside)}", inside))
    firsts = [first for record in records if (first := first_fix(record)) is not None]
    text = "\n".join(lines) + "\n"
    if firsts:
        rows = (
            f"{np.median(values):.{digits}f} / {np.percentile(values, 95.0):.{digits}f} {unit}"
            for values, unit, digits in (
                ([first.frames for first in firsts], "frames", 0),
                ([first.seconds for first in firsts], "s", 1),
                ([first.metres for first in firsts], "m", 0),
            )
        )
        text += (
            f"\nUntil the first fix, median / p95 of the {len(firsts)} of {len(records)} flights that had one: "
            f"{', '.join(rows)}.\n"
        )
    return text


def _group(name: str, records: Sequence[Record]) -> str:
    s = score([answer for record in records for answer in record.answers])
    velocity = velocity_score(records)
    cells = [
        name,
        str(s.frames),
        _percent(availability_after(records)),
        _percent(s.availability),
        _metres(s.median_error_m),
        _metres(s.p95_error_m),
        _metres(s.max_error_m),
        str(s.false_fixes),
        _shares((s.coverage_1sigma, s.coverage_2sigma, s.coverage_3sigma)),
        "–" if velocity is None else f"{100.0 * velocity.median_share:.1f} %",
        "–" if velocity is None else _shares(velocity.coverage),
    ]
    return f"| {' | '.join(cells)} |"


def flight_table(records: Sequence[Record]) -> str:
    """Every flight."""
    lines = [
        "| flight | seasons: map, flight | height | speed | first fix after | availability after it | median | p95 "
        "| max | false fixes | within 68.27, 95.45, 99.73 % | velocity | reasons |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for record in sorted(records, key=lambda one: one.facts["agl_m"]):
        s, facts, first = score(record.answers), record.facts, first_fix(record)
        velocity = velocity_score([record])
        cells = [
            f"{record.name} {facts['airframe']}",
            f"{facts['map_season']}, {facts['season']}",
            f"{facts['agl_m']:.0f} m",
            f"{facts['speed_mps']:.1f} m/s",
            "never" if first is None else f"{first.seconds:.1f} s, {first.metres:.0f} m",
            _percent(availability_after([record])),
            _metres(s.median_error_m),
            _metres(s.p95_error_m),
            _metres(s.max_error_m),
            str(s.false_fixes),
            _shares((s.coverage_1sigma, s.coverage_2sigma, s.coverage_3sigma)),
            "–" if velocity is None else f"{100.0 * velocity.median_share:.1f} %",
            ", ".join(f"{name} {count}" for name, count in s.reasons.items()) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def convergence_table(starts: Sequence[Start]) -> str:
    """Frames, seconds and metres until the first fix, by the map's size and the height."""
    lines = [
        "| map | height | starts | found before the flight ended | frames, median / p95 | seconds | metres flown "
        "| wrong |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for map_km2 in sorted({start.map_km2 for start in starts}):
        here = [start for start in starts if start.map_km2 == map_km2]
        groups = [("**all**", here)]
        for low, high in HEIGHT_BANDS_M:
            groups.append((f"{low} to {high} m", [start for start in here if low <= start.agl_m < high]))
        for name, group in groups:
            if group:
                lines.append(f"| {map_km2:.1f} km² | {name} | {_convergence(group)} |")
    return "\n".join(lines) + "\n"


def _convergence(starts: Sequence[Start]) -> str:
    found = sum(start.found for start in starts)
    # What the flight's end cut off counts with what it had flown: leaving it out would flatter.
    spreads = [
        f"{np.median(values):.{digits}f} / {np.percentile(values, 95.0):.{digits}f}"
        for values, digits in (
            ([start.frames for start in starts], 0),
            ([start.seconds for start in starts], 1),
            ([start.metres for start in starts], 0),
        )
    ]
    return " | ".join([str(len(starts)), str(found), *spreads, str(sum(start.false_fixes > 0 for start in starts))])


def _metres(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} m"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.1f} %"


def _shares(values: Sequence[float | None]) -> str:
    known = [f"{100.0 * value:.1f}" for value in values if value is not None]
    return " / ".join(known) + " %" if len(known) == len(values) else "–"


# The picture

_WIDTH, _HEIGHT, _TOP, _FLOOR = 1080, 404, 54, 344
_ASKED_SHARE = 0.03  # of the speed, that half of the velocities may be off by


def picture(records: Sequence[Record]) -> str:
    """An SVG drawing. Left: each flight's median error (dot) up to its 95th percentile (bar), by height. Middle: its
    median error of velocity. Right: the share of positions within the stated ellipse of each size, which is right where
    it lies on the diagonal."""
    parts = [*_heights(records), *_velocities(records), *_coverage(records)]
    return drawing(_WIDTH, _HEIGHT, "Error of position and velocity against height, and coverage", parts)


def _heights(records: Sequence[Record]) -> list[str]:
    scores = [(record.facts["agl_m"], score(record.answers)) for record in records]
    found = [(h, s.median_error_m, s.p95_error_m) for h, s in scores if s.median_error_m and s.p95_error_m]
    most_m = max([8.0, *(p95_m for _, _, p95_m in found)])
    panel = Panel(62, 440, _TOP, _FLOOR, (0.0, 520.0), (0.0, most_m))
    parts = panel.axes("{:g} m".format, "{:g} m".format, "Error: median (dot) to 95 %", "height above ground")
    for height_m, median_m, p95_m in found:
        x = f"{panel.x(height_m):.1f}"
        ends = f'y1="{panel.y(median_m):.1f}" y2="{panel.y(p95_m):.1f}"'
        parts.append(f'<line x1="{x}" x2="{x}" {ends} style="stroke:var(--fix);stroke-width:2;opacity:.45"/>')
        parts.append(panel.dot(height_m, median_m, "fix", 4.0))
    return parts


def _velocities(records: Sequence[Record]) -> list[str]:
    found = [(one.facts["agl_m"], v.median_share) for one in records if (v := velocity_score([one])) is not None]
    panel = Panel(510, 750, _TOP, _FLOOR, (0.0, 520.0), (0.0, max([0.08, *(share for _, share in found)])))
    parts = panel.axes("{:g} m".format, "{:.0%}".format, "Velocity: share of speed", "height above ground")
    parts.append(panel.line([(0.0, _ASKED_SHARE), (520.0, _ASKED_SHARE)], "stroke:var(--sigma);stroke-dasharray:4 4"))
    return [*parts, *(panel.dot(height_m, share, "coast", 4.0) for height_m, share in found)]


def _coverage(records: Sequence[Record]) -> list[str]:
    panel = Panel(830, 1060, _TOP, _FLOOR, (0.0, 1.0), (0.0, 1.0))
    parts = panel.axes("{:.0%}".format, "{:.0%}".format, "Within the stated ellipse", "share promised")
    stated = [k / 100.0 for k in range(0, 100, 2)] + [0.99, 0.995, 0.999]
    parts.append(panel.line([(0.0, 0.0), (1.0, 1.0)], "stroke:var(--sigma);stroke-dasharray:4 4"))
    curve = list(zip(stated, coverage_curve(records, stated), strict=True))
    parts.append(panel.line(curve, "stroke:var(--fix);stroke-width:2.5"))
    for share, covered in zip(COVERAGE_SHARES, coverage_curve(records, COVERAGE_SHARES), strict=True):
        parts.append(panel.dot(share, covered, "fix", 4.5))
    return parts
