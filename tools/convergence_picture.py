"""The picture of many starts without a hint: how soon a place is found, on maps of several sizes and by height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from generated_report import HEIGHT_BANDS_M
from generated_runs import Start
from panels import SHADES, Panel, drawing, key, text

MOST_FRAMES = 40.0
METRES = (0.5, 300.0)


def grouped(starts: Sequence[Start], misled: Sequence[Start] = ()) -> dict[str, list[Start]]:
    """The starts by the map's size, and those that a wrong hint misled, under the names that the picture shows."""
    groups: dict[str, list[Start]] = {}
    for some, more in ((starts, ""), (misled, ", wrong hint")):
        for size in sorted({start.map_km2 for start in some}):
            groups[f"{size:.0f} km²{more}"] = [start for start in some if start.map_km2 == size]
    return groups


def picture(groups: Mapping[str, Sequence[Start]]) -> str:
    """An SVG drawing of groups of starts. Left: the share of all that have found their place by so many frames. Right:
    metres flown until then, a dot for each start at the height it was flown at, a ring for one that the flight's end
    cut off, and a bar at the median of each band of heights."""
    left = Panel(66, 470, 70, 330, (1.0, MOST_FRAMES), (0.0, 1.0), x_log=True)
    right = Panel(560, 1060, 70, 330, (0.0, 520.0), METRES, y_log=True)
    parts = left.axes("{:g}".format, "{:.0%}".format, "Starts that have a fix", "frames since the start")
    parts += right.axes("{:g} m".format, "{:g} m".format, "Metres flown until the first fix", "height above ground")
    parts += key(560, 58, list(groups))
    for group, shade in zip(groups.values(), SHADES, strict=False):
        frames = [float(start.frames) for start in group if start.found]
        parts.append(left.grown(frames, len(group), f"stroke:{shade};stroke-width:2.5"))
        for found, radius, style in (
            (True, 2.6, f"fill:{shade};fill-opacity:.35"),
            (False, 4.5, f"fill:none;stroke:{shade};stroke-width:1.5"),
        ):
            dots = [right.dot(one.agl_m, one.metres, radius=radius) for one in group if one.found is found]
            parts.append(f'<g style="{style}">{"".join(dots)}</g>')
        for low, high in HEIGHT_BANDS_M:
            metres = [start.metres for start in group if low <= start.agl_m < high]
            if metres:
                middle = float(np.median(metres))
                parts.append(right.line([(low + 4, middle), (high - 4, middle)], f"stroke:{shade};stroke-width:3"))
    every = [start for group in groups.values() for start in group]
    wrong = sum(start.false_fixes > 0 for start in every)
    parts.append(text(66, 58, f"{len(every)} starts, {wrong} with a false fix"))
    return drawing(1080, 390, "Frames and metres from a start to the first fix", parts)
