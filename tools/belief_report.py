"""Tables and picture of `compare_beliefs.py`, from its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from fault_report import Tried
from panels import SHADES, Panel, bar, drawing, key, text

Records = Mapping[str, Sequence[Mapping[str, Any]]]
MIB = 1024.0 * 1024.0
WIDTH, LEFT, TOP, FLOOR = 1080, 70, 60, 340
CURVES_RIGHT, BARS_LEFT, BARS_RIGHT = 470, 640, 1000
MOST_FRAMES = 12
SET_SHADES = ("var(--fix)", "var(--coast)")  # of the smaller map and the larger


def markdown(starts: Records, faults: Mapping[str, Sequence[Tried]], cost: Mapping[str, Any]) -> str:
    """The tables of what was run."""
    parts = [_start_table(starts)]
    if faults:
        parts.append(_fault_table(faults))
    parts += [_cost_table(found) for found in cost.values()]
    return "\n".join(parts)


def _start_table(starts: Records) -> str:
    lines = [
        "| belief | starts | found before the flight ended | frames, mean | median / p95 | metres flown, mean "
        "| median / p95 | wrong | frames `AMBIGUOUS` |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, records in starts.items():
        every = _starts(records)
        said: dict[str, int] = {}
        for record in records:
            for word, count in record["said"].items():
                said[word] = said.get(word, 0) + count
        cells = [str(len(every)), str(sum(start["found"] for start in every))]
        for what, digits in (("frames", 0), ("metres", 0)):
            values = [start[what] for start in every]
            middle, late = np.percentile(values, [50.0, 95.0])
            cells += [f"{np.mean(values):.1f}", f"{middle:.{digits}f} / {late:.{digits}f}"]
        cells.append(str(sum(start["false_fixes"] > 0 for start in every)))
        cells.append(f"{100.0 * said.get('AMBIGUOUS', 0) / sum(said.values()):.1f} %")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _starts(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [start for record in records for start in record["starts"]]


def _fault_table(faults: Mapping[str, Sequence[Tried]]) -> str:
    """Fixes during a fault and after it, and after how long there was one again: median and longest of the worlds."""
    names = sorted({one.fault for held in faults.values() for one in held})
    lines = [
        f"| belief | false | {' | '.join(name.lower().replace('_', ' ') for name in names)} |",
        f"| --- | ---: |{' ---: |' * len(names)}",
    ]
    for belief, held in faults.items():
        cells = [_outcome([one for one in held if one.fault == name]) for name in names]
        lines.append(f"| {belief} | {sum(one.false for one in held)} | {' | '.join(cells)} |")
    worlds = len({one.seed for held in faults.values() for one in held})
    return f"Over {worlds} worlds:\n\n" + "\n".join(lines) + "\n"


def _outcome(held: Sequence[Tried]) -> str:
    if not held:
        return "–"
    back = [one.recovery_s for one in held if one.recovery_s is not None]
    longest = f"{max(back):.1f} s" if len(back) == len(held) else "never"
    again = f"{median(back):.1f} s, {longest}" if back else "never"
    return " / ".join(_share([getattr(one, phase) for one in held]) for phase in ("during", "after")) + f"; {again}"


def _share(counts: Iterable[tuple[int, int]]) -> str:
    fixes, frames = (sum(values) for values in zip(*counts, strict=True))
    return f"{100.0 * fixes / frames:.0f} %" if frames else "–"


def _cost_table(found: Mapping[str, Any]) -> str:
    """Times as multiples of the first belief's, whose own stand beside."""
    lines = [
        f"Map of {found['map_km2']:.1f} km², {found['cells']:,} cells of {found['cell_m']:.3g} m:",
        "",
        "| belief | its time per frame, searching | tracking | held | and at most during a call |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    first = next(iter(found["beliefs"].values()))
    for name, row in found["beliefs"].items():
        cells = []
        for kind in ("searched", "tracked"):
            ratio = _ratio(row, first, kind)
            own = f" ({row[kind]:.1f} ms)" if row is first and ratio is not None else ""
            cells.append("–" if ratio is None else f"{ratio:.2f}{own}")
        sizes = (row[what] / MIB for what in ("held", "peak"))
        cells += [f"{size:.1f} MiB" if size >= 0.05 else "< 0.1 MiB" for size in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ratio(row: Mapping[str, Any], first: Mapping[str, Any], kind: str) -> float | None:
    """Of a row's figure to the first's; `memory`: held, and what a call takes beside it."""
    if kind == "memory":
        return float((row["held"] + row["peak"]) / (first["held"] + first["peak"]))
    return None if row[kind] is None or not first[kind] else row[kind] / first[kind]


def picture(starts: Records, cost: Mapping[str, Any]) -> str:
    """SVG. Left: share of the starts found within so many frames. Right: each belief's own time for a searched frame
    and the memory that it takes, as multiples of the first belief's."""
    names = list(starts)
    curves = Panel(LEFT, CURVES_RIGHT, TOP, FLOOR, (0.0, float(MOST_FRAMES)), (0.0, 1.0))
    parts = curves.axes("{:g}".format, "{:.0%}".format, "Starts without a hint that were found", "frames seen")
    for name, shade in zip(names, SHADES, strict=False):
        every = _starts(starts[name])
        found = [float(start["frames"]) for start in every if start["found"]]
        parts.append(curves.grown(found, len(every), f"stroke:{shade};stroke-width:2"))
    for rank, (name, shade) in enumerate(zip(names, SHADES, strict=False)):
        parts += key(CURVES_RIGHT - 150, FLOOR - 14 - 18 * (len(names) - 1 - rank), [name], [shade])
    parts += _bars(cost, "searched", TOP, "Time per searched frame, grid = 1")
    parts += _bars(cost, "memory", 0.5 * (TOP + FLOOR) + 20, "Memory, with what a call needs, grid = 1")
    maps = [f"{found['map_km2']:.1f} km²" for found in cost.values()]
    parts += key(BARS_LEFT, FLOOR + 44, maps, SET_SHADES)
    return drawing(WIDTH, FLOOR + 64, "Starts found over frames, and what each belief costs", parts)


def _bars(cost: Mapping[str, Any], kind: str, top: float, title: str) -> list[str]:
    parts = [text(BARS_LEFT, top - 14, title, style="font-size:15px;fill:var(--ink)")]
    rows = {
        name: [_ratio(found["beliefs"][name], next(iter(found["beliefs"].values())), kind) for found in cost.values()]
        for name in (next(iter(cost.values()))["beliefs"] if cost else ())
    }
    most = max([1.0, *(value for values in rows.values() for value in values if value is not None)])
    for rank, (name, values) in enumerate(rows.items()):
        y = top + 20 * rank
        parts.append(text(BARS_LEFT - 8, y + 12, name, "end"))
        for row, (value, shade) in enumerate(zip(values, SET_SHADES, strict=False)):
            if value is not None:
                length = (BARS_RIGHT - BARS_LEFT) * value / most
                parts.append(bar(BARS_LEFT, y + 8 * row, length, 7, shade))
                parts.append(text(BARS_LEFT + length + 5, y + 8 * row + 7, f"{value:.2g}", style="font-size:9px"))
    return parts
