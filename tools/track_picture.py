"""Pictures of replayed flights: the track of what was answered over the truth, and its errors over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from panels import Panel, bar, drawing, key, text
from tilefix.evaluation.scoring import Answer
from tilefix.geodesy import LocalFrame

KINDS = {"fix": "var(--fix)", "coast": "var(--coast)", "none": "var(--none)"}


def picture(answers: Sequence[Answer], local: LocalFrame, title: str) -> str:
    """An SVG drawing. Left: the true track and the positions answered, in metres. Right: their error, with the stated
    sigma as a line, over time, and below it a strip that tells each frame's kind."""
    parts = [*track(answers, local, (60, 430, 60, 400), title)]
    parts += error_chart(answers, Panel(510, 1060, 60, 350, _times(answers), (0.0, _most_m([answers]))), "Error (dots)")
    parts += key(510, 440, list(KINDS), list(KINDS.values()))
    parts.append(text(700, 440, "line: stated sigma"))
    return drawing(1080, 455, f"{title}: track and error", parts)


def rows_picture(flights: Mapping[str, Sequence[Answer]], title: str) -> str:
    """An SVG drawing of one error chart for each flight, one below the other on the same scale."""
    parts = [
        text(60, 24, title, style="font-size:15px;fill:var(--ink)"),
        *key(620, 24, list(KINDS), list(KINDS.values())),
    ]
    most_m, top = _most_m(list(flights.values())), 66.0
    for name, answers in flights.items():
        panel = Panel(60, 1060, top, top + 80, _times(answers), (0.0, most_m))
        parts += error_chart(answers, panel, name, lift=10.0)
        top += 154.0
    return drawing(1080, top - 20, title, parts)


def track(
    answers: Sequence[Answer], local: LocalFrame, edges: tuple[float, float, float, float], title: str
) -> list[str]:
    """The truth as a line, positions as dots in the colour of their kind. `edges`: left, right, top, bottom."""
    left, right, top, floor = edges
    truth = np.array([local.to_local(*answer.truth) for answer in answers if answer.truth is not None])
    middle = 0.5 * (truth.min(axis=0) + truth.max(axis=0))
    reach_m = 0.55 * max(float(np.ptp(truth[:, 0])) * (floor - top) / (right - left), float(np.ptp(truth[:, 1])), 10.0)
    wide_m = reach_m * (right - left) / (floor - top)
    panel = Panel(left, right, top, floor, (middle[0] - wide_m, middle[0] + wide_m),
                  (middle[1] - reach_m, middle[1] + reach_m))  # fmt: skip
    parts = panel.axes("{:g} m".format, "{:g}".format, title)
    parts.append(panel.line(truth.tolist(), "stroke:var(--sigma);stroke-width:6;opacity:.35"))
    for answer in answers:
        if answer.fix is not None:
            place = local.to_local(answer.fix.lat_deg, answer.fix.lon_deg)
            parts.append(panel.dot(*place, answer.kind, 2.6))
            if answer.false_fix:
                parts.append(panel.dot(*place, "wrong", 7.5))
    return parts


def error_chart(answers: Sequence[Answer], panel: Panel, title: str, lift: float = 34.0) -> list[str]:
    """Errors over time as dots, the stated sigma as a line, and a strip below that tells each frame's kind."""
    parts = panel.axes("{:g} s".format, "{:g} m".format, title, lift=lift)
    known = [answer for answer in answers if answer.fix is not None]
    sigmas = [(answer.time_s, answer.fix.sigma_m) for answer in known if answer.fix is not None]
    parts.append(panel.line(sigmas, "stroke:var(--sigma);stroke-width:1.5"))
    for answer in known:
        if answer.distance_m is not None:
            parts.append(panel.dot(answer.time_s, answer.distance_m, answer.kind))
            if answer.false_fix:
                parts.append(panel.dot(answer.time_s, answer.distance_m, "wrong", 7.5))
    step = (panel.right - panel.left) / max(len(answers), 1)
    for kind, run in groupby(answers, key=lambda one: one.kind):
        places = [panel.x(one.time_s) for one in run]
        parts.append(
            bar(places[0] - 0.5 * step, panel.floor + 28, places[-1] - places[0] + step - 1.0, 12, KINDS[kind])
        )
    return parts


def _times(answers: Sequence[Answer]) -> tuple[float, float]:
    return answers[0].time_s, max(answers[-1].time_s, answers[0].time_s + 1.0)


def _most_m(flights: Sequence[Sequence[Answer]]) -> float:
    """How far the scale of errors reaches."""
    known = [answer for answers in flights for answer in answers if answer.fix is not None]
    return 1.05 * max([4.0, *(one.distance_m or 0.0 for one in known), *(one.fix.sigma_m for one in known if one.fix)])
