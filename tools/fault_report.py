"""Table and picture of what faults did, from the JSON files of `evaluate_faults.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

from tilefix.simulation.faults import ASKED, Fault

LEFT, TOP, STRIP, GAP, PX_PER_S, RIGHT = 150, 40, 7, 6, 8.0, 16
COLOURS = {"fix": "#2f7d4f", "coast": "#d9a520", "none": "#d5d8dc", "false": "#c62828"}


@dataclass(frozen=True)
class Tried:
    """One fault over one world. `answers`: (seconds, kind, metres off or `None`, false) of each frame; `before`,
    `during`, `after`: fixes and frames."""

    fault: str
    seed: int
    window: tuple[float, float]
    before: tuple[int, int]
    during: tuple[int, int]
    after: tuple[int, int]
    recovery_s: float | None
    false: int
    worst_m: float
    reasons: Mapping[str, int]
    answers: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Tried:
        """From a JSON record."""
        outcome = record["outcome"]
        before, during, after = (
            (outcome[name]["fixes"], outcome[name]["frames"]) for name in ("before", "during", "after")
        )
        worst_m = max((one["error_m"] for one in outcome["false"]), default=0.0)
        return cls(
            outcome["fault"],
            outcome["seed"],
            (record["window"]["start_s"], record["window"]["end_s"]),
            before,
            during,
            after,
            outcome["recovery_s"],
            len(outcome["false"]),
            worst_m,
            outcome["during"]["reasons"],
            record["answers"],
        )


def markdown(found: Sequence[Tried]) -> str:
    """One row for each fault, over all its worlds; the picture's file stands beside it."""
    lines = [
        "| fault | worlds | frames | false fixes | before | during | after | fix again: median, longest "
        "| reasons meanwhile |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for fault, grouped in groupby(found, key=lambda one: one.fault):
        rows = list(grouped)
        reasons: Counter[str] = Counter()
        for row in rows:
            reasons.update(row.reasons)
        wrong = sum(row.false for row in rows)
        worst = f" (worst {max(row.worst_m for row in rows):.0f} m)" if wrong else ""
        shares = (_share([getattr(row, name) for row in rows]) for name in ("before", "during", "after"))
        told = ", ".join(f"{name} {count}" for name, count in reasons.most_common(3)) or "–"
        lines.append(
            f"| {_named(fault)} | {len(rows)} | {sum(len(row.answers) for row in rows)} | {wrong}{worst} "
            f"| {' | '.join(shares)} | {_recovery([row.recovery_s for row in rows])} | {told} |"
        )
    return "\n".join(lines) + "\n"


def _named(fault: str) -> str:
    words = fault.lower().replace("_", " ")
    return f"{words}: {Fault[fault].value}" if fault in Fault.__members__ else "no fault"


def _share(counts: Sequence[tuple[int, int]]) -> str:
    fixes, frames = (sum(count) for count in zip(*counts, strict=True))
    return f"{100.0 * fixes / frames:.0f} %" if frames else "–"


def _recovery(seconds: Sequence[float | None]) -> str:
    known = [value for value in seconds if value is not None]
    longest = "never" if len(known) < len(seconds) else f"{max(known):.1f} s"
    return f"{median(known):.1f} s, {longest}" if known else "never"


def picture(found: Sequence[Tried]) -> str:
    """SVG: a strip of answers over time for each fault and world; the fault lasts between the two marks."""
    longest_s = max(float(one.answers[-1][0]) for one in found)
    faults = [(fault, list(rows)) for fault, rows in groupby(found, key=lambda one: one.fault)]
    height = TOP + sum(STRIP * len(rows) + GAP for _, rows in faults) + 4
    width = LEFT + PX_PER_S * longest_s + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}"',
        ' font-family="sans-serif" font-size="10">',
        f'<rect width="{width:.0f}" height="{height}" fill="#fff"/>',
        *_legend(),
    ]
    y = float(TOP)
    for fault, rows in faults:
        middle = y + 0.5 * STRIP * len(rows) + 3.5
        parts.append(
            f'<text x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{fault.lower().replace("_", " ")}</text>'
        )
        top = y
        for row in rows:
            parts += _strip(row, y)
            y += STRIP
        if fault in Fault.__members__:
            for at_s in dict.fromkeys(rows[0].window):
                x = LEFT + PX_PER_S * at_s
                parts.append(f'<path d="M{x:.1f} {top - 2:.1f}V{y + 1:.1f}" stroke="#111" stroke-width="1.2"/>')
        y += GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> list[str]:
    parts, x = [], float(LEFT)
    for kind, meaning in (("fix", "fix"), ("coast", "coasting"), ("none", "no position"), ("false", "false")):
        parts.append(f'<rect x="{x:.0f}" y="10" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="20">{meaning}</text>')
        x += 100.0
    parts.append(f'<text x="{x:.0f}" y="20">fault between the marks; 10 s = {10 * PX_PER_S:.0f} units</text>')
    return parts


def _strip(row: Tried, y: float) -> list[str]:
    """Runs of equal answers; a frame lasts until the next."""
    parts = []
    kinds = [("false" if false else kind, float(at_s)) for at_s, kind, _, false in row.answers]
    ends = [at_s for _, at_s in kinds[1:]] + [kinds[-1][1] + 0.5]
    for kind, run in groupby(zip(kinds, ends, strict=True), key=lambda one: one[0][0]):
        cells = list(run)
        x, end = (LEFT + PX_PER_S * at_s for at_s in (cells[0][0][1], cells[-1][1]))
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{end - x:.1f}" height="{STRIP - 1}" fill="{COLOURS[kind]}"/>'
        )
    return parts


def failures(found: Sequence[Tried]) -> list[str]:
    """What is not as asked of the faults, a line each, honesty first."""
    lines = [f"{one.seed} {one.fault}: {one.false} false, up to {one.worst_m:.0f} m" for one in found if one.false]
    for one in found:
        if one.fault in Fault.__members__:
            asked = ASKED[Fault[one.fault]]
            fixes, frames = one.during
            if frames and fixes < asked.availability * frames:
                lines.append(f"{one.seed} {one.fault}: {fixes} of {frames} available, asked {asked.availability:g}")
            if one.recovery_s is None or one.recovery_s > asked.recovery_s:
                lines.append(f"{one.seed} {one.fault}: back after {one.recovery_s} s, asked {asked.recovery_s:g} s")
    return lines
