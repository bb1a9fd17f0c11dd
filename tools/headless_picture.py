"""The picture of flights without a stated heading: how soon they have a fix, how far the headings found are off."""

from __future__ import annotations

from collections.abc import Sequence

from generated_figures import Record, first_fix
from panels import Panel, drawing, text

STATED_DEG = 2.0  # the least that the localizer states of a heading found, one standard deviation


def picture(records: Sequence[Record], errors_deg: Sequence[float]) -> str:
    """An SVG drawing. Left: frames until each flight's first fix, by height; a ring at the top for one that had none.
    Right: the share of fixes whose heading is off by less than so much, beside one and two stated standard deviations.
    """
    most = float(max(len(record.answers) for record in records))
    left = Panel(66, 560, 64, 330, (0.0, 520.0), (0.0, most))
    right = Panel(650, 1060, 64, 330, (0.0, max([6.0, *errors_deg])), (0.0, 1.0))
    parts = left.axes("{:g} m".format, "{:g}".format, "Frames until the first fix", "height above ground")
    never = 0
    for record in records:
        first = first_fix(record)
        never += first is None
        kind, frames, size = ("wrong", most, 6.0) if first is None else ("fix", float(first.frames), 4.0)
        parts.append(left.dot(record.facts["agl_m"], frames, kind, size))
    parts.append(text(66, 52, f"{len(records)} flights, {never} without any fix"))
    parts += right.axes("{:g}°".format, "{:.0%}".format, "Heading found: error", "less than that from the log's")
    for sigmas in (1.0, 2.0):
        at = sigmas * STATED_DEG
        parts.append(right.line([(at, 0.0), (at, 1.0)], "stroke:var(--sigma);stroke-dasharray:4 4"))
        parts.append(text(right.x(at) + 5, right.floor - 8, f"{sigmas:g} sigma"))
    if errors_deg:
        parts.append(right.grown(errors_deg, len(errors_deg), "stroke:var(--fix);stroke-width:2.5"))
    return drawing(
        1080, 390, "Flights without a heading: frames until the first fix, and the error of the heading", parts
    )
