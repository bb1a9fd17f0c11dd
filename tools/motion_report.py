"""Tables and picture of what passing shadows, traffic and water do to the camera's motion."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generated_figures import Record, availability_after, velocity_score
from motion_trials import BANDS_M, CASES, PLAIN
from tilefix.evaluation.charts import ticks
from tilefix.evaluation.scoring import score
from tilefix.evaluation.style import CSS
from tilefix.types import Float64Array

NAMES = (PLAIN.name, *(case.name for case in CASES))


@dataclass(frozen=True, slots=True)
class Added:
    """What passing things add to measured motion: against the plain flight's at the same frame, m/s. `pull`: along the
    way that they move, negative where the camera is thought to move the other way; `frames`: with a motion in the plain
    flight, `measured`: of these, with one here."""

    frames: int
    measured: int
    error_mps: Float64Array
    pull_mps: Float64Array

    @classmethod
    def of(cls, records: Sequence[Record], plain: Sequence[Record], key: str) -> Added:
        """Over flights; `key`: `steps` as in flight, `whole` of whole patches alone."""
        by_trial = {record.facts["trial"]: record for record in plain}
        frames = measured = 0
        errors: list[float] = []
        pulls: list[float] = []
        for record in records:
            beside = by_trial[record.facts["trial"]]
            times = [answer.time_s for answer in record.answers]
            rows = zip(record.facts[key], beside.facts[key], record.facts["passes_mps"], strict=True)
            for k, (step, own, passes) in enumerate(rows):
                if k == 0 or own is None:
                    continue
                frames += 1
                if step is None:
                    continue
                measured += 1
                added = (np.array(step) - np.array(own)) / (times[k] - times[k - 1])
                errors.append(float(np.hypot(*added)))
                if passes is not None and np.hypot(*passes) > 0.0:
                    pulls.append(float(added @ np.array(passes)) / float(np.hypot(*passes)))
        return cls(frames, measured, np.array(errors), np.array(pulls))

    def spread(self) -> str:
        """Median and 95th percentile."""
        if not len(self.error_mps):
            return "–"
        return " / ".join(f"{np.percentile(self.error_mps, q):.2f}" for q in (50.0, 95.0))


def line_of(record: Record) -> str:
    """One flight in one line."""
    facts, velocity, s = record.facts, velocity_score([record]), score(record.answers)
    steps = sum(step is not None for step in facts["steps"])
    line = (
        f"{facts['trial']} {facts['agl_m']:.0f} m, {facts['case']} ({100.0 * facts['share']:.1f} %): {steps} motions "
        f"of {len(facts['steps']) - 1}"
    )
    if not facts.get("positions", True):
        return line
    said = "no velocity" if velocity is None else f"velocity off by {velocity.median_mps:.2f} m/s"
    return f"{line}, {said}, available {100.0 * s.availability:.0f} %, false {s.false_fixes}, {s.reasons}"


def _bands(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """The low flights and the high ones."""
    found = []
    for low_m, high_m in BANDS_M:
        inside = [record for record in records if low_m <= record.facts["agl_m"] < high_m]
        if inside:
            found.append((f"{low_m:.0f} to {high_m:.0f} m", inside))
    return found


def _cases(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    grouped = [(name, [record for record in records if record.facts["case"] == name]) for name in NAMES]
    return [(name, of) for name, of in grouped if of]


def tables(records: Sequence[Record]) -> str:
    """Motion by height and case, then velocity and positions."""
    motion = [
        "| height | what passes | share of the picture | motion measured | error added, median / p95 | along its way "
        "| whole patches: error added | along its way |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    velocity = [
        "| height | what passes | frames | velocity error, median / p95 of speed | within 68.27, 95.45, 99.73 % "
        "| availability after the first fix | error of fixes, p95 | false fixes |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for band, inside in _bands(records):
        plain = [record for record in inside if record.facts["case"] == PLAIN.name]
        for name, of in _cases(inside):
            if name != PLAIN.name:
                motion.append(f"| {band} | {name} | {_motion_cells(of, plain)} |")
            placed = [record for record in of if record.facts.get("positions", True)]
            if placed:
                velocity.append(f"| {band} | {name} | {_velocity_cells(placed)} |")
    return "\n".join(motion) + "\n\n" + "\n".join(velocity) + "\n"


def _motion_cells(records: Sequence[Record], plain: Sequence[Record]) -> str:
    here, whole = (Added.of(records, plain, key) for key in ("steps", "whole"))
    pulls = [f"{one.pull_mps.mean():+.2f} m/s" if len(one.pull_mps) else "–" for one in (here, whole)]
    share = float(np.mean([record.facts["share"] for record in records]))
    measured = f"{100.0 * here.measured / max(here.frames, 1):.1f} %"
    cells = [f"{100.0 * share:.1f} %", measured, f"{here.spread()} m/s", pulls[0], f"{whole.spread()} m/s", pulls[1]]
    return " | ".join(cells)


def _velocity_cells(records: Sequence[Record]) -> str:
    s, v = score([answer for record in records for answer in record.answers]), velocity_score(records)
    available = availability_after(records)
    return " | ".join(
        [
            str(s.frames),
            "–" if v is None else f"{100.0 * v.median_share:.1f} / {100.0 * v.p95_share:.1f} %",
            "–" if v is None else " / ".join(f"{100.0 * share:.1f}" for share in v.coverage) + " %",
            "–" if available is None else f"{100.0 * available:.1f} %",
            "–" if s.p95_error_m is None else f"{s.p95_error_m:.2f} m",
            str(s.false_fixes),
        ]
    )


# The picture

_LEFT, _TOP, _ROW, _PANEL, _GAP, _MOST_MPS = 232, 66, 26, 380, 36, 5.0


def picture(records: Sequence[Record]) -> str:
    """An SVG drawing: for each case, low flights left and high ones right, the 95th percentile of the error that is
    added to motion, of what parts agree on (filled) and of whole patches alone (hollow); cut off at `_MOST_MPS`."""
    bands = _bands(records)
    names = [name for name, _ in _cases(records) if name != PLAIN.name]
    wide, high = _LEFT + len(bands) * (_PANEL + _GAP), _TOP + _ROW * len(names) + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" '
        'aria-label="Error that passing shadows, traffic and water add to motion">',
        f"<style>{CSS}</style>",
        f'<rect width="{wide}" height="{high}" style="fill:var(--card)"/>',
        '<text x="24" y="24" style="font-size:15px;fill:var(--ink)">Error added to the motion between two frames,'
        " 95th percentile: hollow of whole patches, filled of what their parts agree on</text>",
    ]
    floor = _TOP + _ROW * len(names)
    for row, name in enumerate(names):
        y = _TOP + _ROW * (row + 0.5)
        parts.append(f'<text x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{html.escape(name)}</text>')
    for panel, (band, inside) in enumerate(bands):
        left = _LEFT + panel * (_PANEL + _GAP)
        parts.append(f'<text x="{left}" y="{_TOP - 12}" style="fill:var(--ink)">{band}</text>')
        for value in ticks(0.0, _MOST_MPS, 5):
            x = left + _PANEL * value / _MOST_MPS
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}"/>')
            parts.append(f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{value:g} m/s</text>')
        parts += _dots(inside, names, left)
    return "\n".join([*parts, "</svg>\n"])


def _dots(records: Sequence[Record], names: Sequence[str], left: float) -> list[str]:
    plain = [record for record in records if record.facts["case"] == PLAIN.name]
    parts = []
    for row, name in enumerate(names):
        of = [record for record in records if record.facts["case"] == name]
        found = [Added.of(of, plain, key).error_mps for key in ("whole", "steps")]
        if not all(len(errors) for errors in found):
            continue
        y = _TOP + _ROW * (row + 0.5)
        whole, here = (
            left + _PANEL * min(float(np.percentile(errors, 95.0)), _MOST_MPS) / _MOST_MPS for errors in found
        )
        parts.append(
            f'<line x1="{whole:.1f}" x2="{here:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            'style="stroke:var(--sigma);stroke-width:2"/>'
        )
        parts.append(
            f'<circle cx="{whole:.1f}" cy="{y:.1f}" r="5" style="fill:var(--card);stroke:var(--sigma);stroke-width:2"/>'
        )
        parts.append(f'<circle class="fix" cx="{here:.1f}" cy="{y:.1f}" r="5"/>')
    return parts
