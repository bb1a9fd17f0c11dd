"""Tables and the picture of `tools/evaluate_handover.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handover_trials import Attack, Outcome
from tilefix.evaluation.charts import ticks
from tilefix.evaluation.style import CSS

_WIDTH, _HEIGHT = 1080, 400
_LEFT, _RIGHT, _MIDDLE, _TOP, _FLOOR = 62, 1040, 520, 48, 330


@dataclass(frozen=True)
class Row:
    """One kind of attack and what came of it."""

    name: str
    attack: Attack
    outcomes: list[Outcome]

    @property
    def detected_s(self) -> list[float]:
        """Seconds after the start, of each trial in which it was called spoofing."""
        firsts = (next((at_s for at_s in one.spoofed_at_s if at_s >= 0.0), None) for one in self.outcomes)
        return [one for one in firsts if one is not None]

    @property
    def pulled_m(self) -> list[float]:
        """How far the receiver had been led away by then; infinite where it was not noticed."""
        pulls = [self.attack.pull_m(self.attack.start_s + one) for one in self.detected_s]
        return pulls + [math.inf] * (len(self.outcomes) - len(pulls))

    @property
    def caught_s(self) -> list[float]:
        """Seconds until vision was called biased, of each trial in which it was; infinite where not."""
        return [math.inf if one.biased_at_s is None else one.biased_at_s for one in self.outcomes]


def honest_table(groups: Mapping[str, Sequence[Outcome]]) -> str:
    """False alarms where nobody did anything."""
    lines = [
        "| nobody led astray | trials | hours | spoofing claimed, times in trials | vision called biased | "
        "called overconfident | highest level of a trial, median / max |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, outcomes in groups.items():
        if outcomes:
            hours = sum(one.seconds for one in outcomes) / 3600.0
            levels = [one.highest_level for one in outcomes]
            lines.append(
                f"| {name} | {len(outcomes)} | {hours:.1f} | {sum(len(one.spoofed_at_s) for one in outcomes)} in "
                f"{sum(bool(one.spoofed_at_s) for one in outcomes)} | "
                f"{sum(one.biased_at_s is not None for one in outcomes)} | "
                f"{sum(one.overconfident_at_s is not None for one in outcomes)} | "
                f"{np.median(levels):.2f} / {max(levels):.2f} |"
            )
    return "\n".join(lines) + "\n"


def attack_table(rows: Sequence[Row]) -> str:
    """How soon spoofing was noticed."""
    lines = [
        "| GNSS led away | trials | noticed | pulled until then, median / p95 / max | seconds, median / max | "
        "claimed before it began |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        early = sum(at_s < 0.0 for one in row.outcomes for at_s in one.spoofed_at_s)
        found = row.detected_s
        seconds = f"{np.median(found):.1f} / {max(found):.1f} s" if found else "–"
        lines.append(
            f"| {row.name} | {len(row.outcomes)} | {len(found)} | {_three(row.pulled_m, 'm')} | {seconds} | {early} |"
        )
    return "\n".join(lines) + "\n"


def canary_table(rows: Sequence[Row]) -> str:
    """How soon biased vision was noticed."""
    lines = [
        "| vision biased by | trials | called biased | seconds, median / p95 / max | called consistent after | "
        "spoofing claimed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        caught = row.caught_s
        lines.append(
            f"| {row.name} | {len(caught)} | {sum(map(math.isfinite, caught))} | {_three(caught, 's')} | "
            f"{sum(one.consistent_at_s is not None and one.consistent_at_s > 1.0 for one in row.outcomes)} | "
            f"{sum(any(at_s >= 0.0 for at_s in one.spoofed_at_s) for one in row.outcomes)} |"
        )
    return "\n".join(lines) + "\n"


def _three(values: Sequence[float], unit: str) -> str:
    """Median, 95th percentile and maximum; a dash for what lies among those that never came."""
    ordered = sorted(values)
    picked = (ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 1.0))
    return " / ".join(f"{one:.1f}" if math.isfinite(one) else "–" for one in picked) + f" {unit}"


# The picture


def picture(ramps: Sequence[Row], canaries: Sequence[Row]) -> str:
    """An SVG drawing. Left: share of ramps noticed by how far GNSS was pulled. Right: share of biases caught by time,
    of the smallest four rows."""
    left = _curves(
        [(row.name, row.pulled_m) for row in ramps], (_LEFT, _MIDDLE - 40), 40.0, "{:g} m", "GNSS led away, noticed by"
    )
    right = _curves(
        [(row.name, row.caught_s) for row in canaries[:4]],
        (_MIDDLE + 60, _RIGHT),
        60.0,
        "{:g} s",
        "Vision biased, caught by",
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            'aria-label="Share of ramps noticed by pull, and of biases caught by time">',
            f"<style>{CSS}</style>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" style="fill:var(--card)"/>',
            *left,
            *right,
            "</svg>\n",
        ]
    )


def _curves(
    rows: Sequence[tuple[str, Sequence[float]]], sides: tuple[float, float], most: float, unit: str, title: str
) -> list[str]:
    left, right = sides

    def x(value: float) -> float:
        return left + (right - left) * min(value, most) / most

    def y(share: float) -> float:
        return _FLOOR - (_FLOOR - _TOP) * share

    parts = [f'<text x="{left}" y="24" style="font-size:15px;fill:var(--ink)">{title}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for value in ticks(0.0, most, 6):
        parts.append(f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{_FLOOR}" y2="{_FLOOR + 5}"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{_FLOOR + 20}" text-anchor="middle">{unit.format(value)}</text>')
    for number, (name, values) in enumerate(rows):
        shade = f"stroke:hsl({210 + 150 * number / max(len(rows) - 1, 1):.0f} 65% 48%)"
        points = [(0.0, 0.0)]
        for rank, value in enumerate(sorted(one for one in values if one <= most), start=1):
            points += [(value, (rank - 1) / len(values)), (value, rank / len(values))]
        points.append((most, points[-1][1]))
        path = " ".join(f"{x(value):.1f},{y(share):.1f}" for value, share in points)
        parts.append(f'<polyline points="{path}" style="fill:none;stroke-width:2;{shade}"/>')
        at = _FLOOR + 42
        across = left + (number % 2) * (right - left) / 2.0
        below = at + 17 * (number // 2)
        parts.append(f'<line x1="{across:.0f}" x2="{across + 16:.0f}" y1="{below - 4}" y2="{below - 4}" '
                     f'style="stroke-width:2;{shade}"/>')  # fmt: skip
        parts.append(f'<text x="{across + 20:.0f}" y="{below}">{name}</text>')
    return parts
