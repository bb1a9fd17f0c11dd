"""Pictures of what real imagery gave: availability and error by the map's age, refusals by reason, ways to register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from panels import SHADES, Panel, bar, drawing, key, text
from tilefix.evaluation.scoring import Score

REASONS = ("NO_MATCH", "AMBIGUOUS", "OFF_MAP")


@dataclass(frozen=True, slots=True)
class Aged:
    """A replay over a map: the year flown over, and the year of the map."""

    flown: int
    mapped: int
    score: Score


def ages_picture(replays: Sequence[Aged]) -> str:
    """An SVG drawing, a mark for each replay. Left: availability by the years between picture and map. Right: the
    median error (dot) up to the 95th percentile (bar)."""
    most = max(abs(one.flown - one.mapped) for one in replays) + 1.0
    most_m = max([8.0, *(one.score.p95_error_m or 0.0 for one in replays)])
    left = Panel(66, 500, 64, 320, (0.0, most), (0.0, 1.0))
    right = Panel(590, 1060, 64, 320, (0.0, most), (0.0, most_m))
    years = "years between picture and map"
    parts = left.axes("{:g}".format, "{:.0%}".format, "Availability", years)
    parts += right.axes("{:g}".format, "{:g} m".format, "Error: median (dot) to 95 % (bar)", years)
    for one in replays:
        # Beside each other where the years are the same.
        same = [other for other in replays if abs(other.flown - other.mapped) == abs(one.flown - one.mapped)]
        age = abs(one.flown - one.mapped) + 0.12 * (same.index(one) - 0.5 * (len(same) - 1))
        kind = "none" if one.score.false_fixes else "fix" if one.flown > one.mapped else "coast"
        parts.append(left.dot(age, one.score.availability, kind, 4.0))
        if one.score.median_error_m is not None and one.score.p95_error_m is not None:
            ends = [(age, one.score.median_error_m), (age, one.score.p95_error_m)]
            parts.append(right.line(ends, "stroke:var(--fix);stroke-width:2;opacity:.45"))
            parts.append(right.dot(*ends[0], kind, 4.0))
    parts += key(590, 52, ("map older than the picture", "newer", "with a false fix"), (*SHADES[:2], "var(--none)"))
    frames, wrong = sum(one.score.frames for one in replays), sum(one.score.false_fixes for one in replays)
    parts.append(text(66, 52, f"{len(replays)} flights, {frames} frames, {wrong} false fixes"))
    return drawing(1080, 380, "Availability and error by the age of the map", parts)


def refusals_picture(rows: Mapping[str, Score]) -> str:
    """An SVG drawing: a bar for each replay, as long as it has frames, in the colours of why there was no position;
    what was given a position is at its end."""
    shades = dict(zip((*REASONS, "other reasons", "position"), (*SHADES[:2], *SHADES[4:], SHADES[3]), strict=True))
    most = max(score.frames for score in rows.values())
    panel = Panel(380, 1040, 64, 64 + 26 * len(rows), (0.0, most), (0.0, 1.0))
    parts = panel.axes("{:g}".format, None, "Frames refused, and why", "frames")
    parts += key(380, 52, list(shades), list(shades.values()))
    for number, (name, score) in enumerate(rows.items()):
        top = panel.top + 26 * number + 4
        parts.append(text(370, top + 13, name, "end"))
        given = score.fixes + score.coasts
        counts = {reason: score.reasons.get(reason, 0) for reason in REASONS}
        counts["other reasons"] = score.frames - given - sum(counts.values())
        begin = 0.0
        for reason, count in (counts | {"position": given}).items():
            if count > 0:
                left, right = panel.x(begin), panel.x(begin + count)
                parts.append(bar(left, top, right - left, 18, shades[reason]))
                parts.append(text(0.5 * (left + right), top + 13, str(count), "middle", "fill:var(--card)"))
                begin += count
    return drawing(1080, panel.floor + 66, "Frames that must give no fix, by the reason of the refusal", parts)


def registration_picture(compared: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """An SVG drawing, a row of bars for each method and pair of flight and map: the share of frames that it accepts,
    and the error of these, median to 95 %; what it places wrongly with confidence stands in words."""
    parts: list[str] = []
    top = 70.0
    for pair, methods in compared.items():
        height = 30.0 * len(methods)
        errors = [float(str(one["p95_error_m"])) for one in methods if one["p95_error_m"] is not None]
        shares = Panel(330, 640, top, top + height, (0.0, 1.0), (0.0, 1.0))
        metres = Panel(720, 1020, top, top + height, (0.0, 1.05 * max([10.0, *errors])), (0.0, 1.0))
        parts += shares.axes("{:.0%}".format, None, f"{pair}: frames accepted")
        parts += metres.axes("{:g} m".format, None, "their error: median (dot) to 95 %")
        for number, one in enumerate(methods):
            y = top + 30.0 * number + 6
            parts.append(text(322, y + 13, str(one["method"]), "end"))
            share = float(str(one["availability"]))
            parts.append(bar(shares.left, y, shares.x(share) - shares.left, 18, SHADES[0]))
            parts.append(text(shares.x(share) + 5, y + 13, f"{100 * share:.0f} %" if share < 0.9 else ""))
            if one["median_error_m"] is not None and one["p95_error_m"] is not None:
                median, p95 = (metres.x(float(str(one[name]))) for name in ("median_error_m", "p95_error_m"))
                parts.append(bar(median, y + 6, p95 - median, 6, SHADES[0]))
                parts.append(f'<circle class="fix" cx="{median:.1f}" cy="{y + 9:.1f}" r="5"/>')
            if one["false_fixes"]:
                words = f"{one['false_fixes']} false"
                parts.append(text(shares.right + 8, y + 13, words, style="fill:var(--false);font-weight:600"))
        top += height + 90
    return drawing(1080, top - 40, "Ways to register a frame alone on the whole map, side by side", parts)
